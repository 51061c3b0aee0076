package media

import (
	"fmt"
	"time"

	"github.com/penstock-media/penstock/media/internal/swr"
)

// resampler brings one stream of interleaved s16 to another rate and number of channels, without seams. When both are
// right already it hands through. It is used by one goroutine at a time.
type resampler struct{ s *swr.Resampler }

// newResampler converts from rate and channels to those wanted.
func newResampler(fromRate, fromChannels, toRate, toChannels int) (*resampler, error) {
	if fromRate == toRate && fromChannels == toChannels {
		return &resampler{}, nil
	}
	s, err := swr.Open(swr.Format{Rate: fromRate, Channels: fromChannels}, swr.Format{Rate: toRate, Channels: toChannels})
	if err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	return &resampler{s: s}, nil
}

// process appends what src becomes to dst. Up to some milliseconds wait for the next call.
func (r *resampler) process(dst, src []int16) ([]int16, error) {
	if r.s == nil {
		return append(dst, src...), nil
	}
	dst, err := r.s.Process(dst, src)
	if err != nil {
		return dst, fmt.Errorf("media: resample: %w", err)
	}
	return dst, nil
}

// flush appends what waits inside, and begins anew.
func (r *resampler) flush(dst []int16) ([]int16, error) {
	if r.s == nil {
		return dst, nil
	}
	dst, err := r.s.Flush(dst)
	if err != nil {
		return dst, fmt.Errorf("media: resample: %w", err)
	}
	return dst, nil
}

// delay returns how long input waits inside.
func (r *resampler) delay() time.Duration {
	if r.s == nil {
		return 0
	}
	return r.s.Delay()
}

// close is idempotent.
func (r *resampler) close() {
	if r.s != nil {
		_ = r.s.Close() // never fails
	}
}
