package main

import (
	"context"
	"fmt"
	"time"
)

// sample is what was seen in one measured window.
type sample struct {
	cpu    time.Duration // of the process that is measured
	frames int64         // delivered in the window
	wall   time.Duration // length of the window
	// rate is how many frames a second were sent.
	rate float64
}

// perFrame is the CPU time of one frame.
func (s sample) perFrame() time.Duration {
	if s.frames == 0 {
		return 0
	}
	return time.Duration(float64(s.cpu) / float64(s.frames))
}

// plus adds a further window of the same load.
func (s sample) plus(other sample) sample {
	return sample{cpu: s.cpu + other.cpu, frames: s.frames + other.frames, wall: s.wall + other.wall, rate: other.rate}
}

// share is which part of what was sent was delivered.
func (s sample) share() float64 {
	sent := s.rate * s.wall.Seconds()
	if sent == 0 {
		return 0
	}
	return float64(s.frames) / sent
}

// reliable tells whether nearly all frames were delivered: one that drops frames would look cheap, one that catches up dear.
func (s sample) reliable() error {
	if share := s.share(); share < 0.97 || share > 1.03 {
		return fmt.Errorf("%w: %d frames came, %.1f %% of what was sent", errUnreliable, s.frames, 100*share)
	}
	return nil
}

// window is how long to warm up and to measure.
type window struct{ warmUp, measured time.Duration }

// probe reads what is counted so far.
type probe struct {
	cpu    func() (time.Duration, error)
	frames func() (int64, error)
}

// measure warms up, and then measures one window.
func measure(ctx context.Context, w window, p probe, rate float64) (sample, error) {
	if err := wait(ctx, w.warmUp); err != nil {
		return sample{}, err
	}
	before, start, err := p.read()
	if err != nil {
		return sample{}, err
	}
	if err := wait(ctx, w.measured); err != nil {
		return sample{}, err
	}
	after, end, err := p.read()
	if err != nil {
		return sample{}, err
	}
	return sample{cpu: after.cpu - before.cpu, frames: after.frames - before.frames, wall: end.Sub(start), rate: rate}, nil
}

// read reads frames first and CPU right after, at both ends alike.
func (p probe) read() (s sample, at time.Time, err error) {
	if s.frames, err = p.frames(); err != nil {
		return s, at, err
	}
	at = time.Now()
	s.cpu, err = p.cpu()
	return s, at, err
}

// wait waits for a time, which is what a measurement is made of.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
