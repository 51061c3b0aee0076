package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// startTimeout bounds how long processes may take to get ready.
const startTimeout = 90 * time.Second

// setting is a gateway under a load, and a worker that takes the frames; without a worker nobody does.
type setting struct {
	gateway, generator, worker *child
	address                    string // of the gateway's gRPC API
	http                       string // and of its HTTP server
}

func (s *setting) stop() {
	for _, c := range []*child{s.worker, s.generator, s.gateway} {
		if c != nil {
			c.stop()
		}
	}
}

// set starts gateway and generator, and a worker if there is one, and waits until all frames flow. The caller must stop it.
func (b *bench) set(ctx context.Context, program string, l load, work bool) (out *setting, err error) {
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s := &setting{}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if s.gateway, err = start("the gateway", program, append([]string{
		"serve", "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--log-level", "warn",
	}, b.args...)...); err != nil {
		return nil, err
	}
	where, err := s.gateway.await(starting, "gateway serves gRPC on ")
	if err != nil {
		return nil, err
	}
	s.address, s.http, _ = strings.Cut(where, " and HTTP on ")
	if s.generator, err = b.generator(starting, l, "-gateway", s.address); err != nil || !work {
		return s, err
	}
	if s.worker, err = start("the worker", b.self, append([]string{
		"work", "-gateway", s.address, "-row-padding=" + strconv.FormatBool(b.padding),
	}, l.args()...)...); err != nil {
		return nil, err
	}
	_, err = s.worker.await(starting, "ready")
	return s, err
}

// throughGateway measures the gateway under a load that a worker takes in whole.
func (b *bench) throughGateway(ctx context.Context, program string, l load) (sample, error) {
	s, err := b.set(ctx, program, l, true)
	if err != nil {
		return sample{}, err
	}
	defer s.stop()
	return measure(ctx, b.window, probe{
		cpu:    s.gateway.cpu,
		frames: func() (int64, error) { return s.worker.count(ctx) },
	}, l.delivery())
}

// received measures the gateway by the frames that it is sent, of which few or none are delivered.
func (b *bench) received(ctx context.Context, l load, work bool) (sample, error) {
	s, err := b.set(ctx, b.gateway, l, work)
	if err != nil {
		return sample{}, err
	}
	defer s.stop()
	begin := time.Now()
	out, err := measure(ctx, b.window, probe{cpu: s.gateway.cpu, frames: func() (int64, error) { return paced(begin, l), nil }}, l.rate())
	if err != nil || !work {
		return out, err
	}
	n, err := s.worker.count(ctx)
	if want := l.delivery() * time.Since(begin).Seconds(); err == nil && math.Abs(float64(n)-want) > 0.1*want+l.delivery() {
		err = fmt.Errorf("%w: the worker got %d frames, not about %.0f", errUnreliable, n, want)
	}
	return out, err
}

// paced is how many frames a load has sent by now: what cannot be asked is what the pace says.
func paced(begin time.Time, l load) int64 { return int64(time.Since(begin).Seconds() * l.rate()) }

// delays measures how long after its last packet a picture reaches the worker: median and 99th percentile.
func (b *bench) delays(ctx context.Context, l load) (median, late time.Duration, err error) {
	s, err := b.set(ctx, b.gateway, l, true)
	if err != nil {
		return 0, 0, err
	}
	defer s.stop()
	if err := wait(ctx, b.window.warmUp); err != nil {
		return 0, 0, err
	}
	if _, err := s.worker.ask(ctx, "reset"); err != nil {
		return 0, 0, err
	}
	if err := wait(ctx, b.window.measured); err != nil {
		return 0, 0, err
	}
	answer, err := s.worker.ask(ctx, "delay")
	if err != nil {
		return 0, 0, err
	}
	if _, err := fmt.Sscan(answer, (*int64)(&median), (*int64)(&late)); err != nil || median == 0 {
		return 0, 0, fmt.Errorf("%w: the worker answered %q", errChild, answer)
	}
	return median, late, nil
}

// resident measures the gateway's memory under a load that nobody takes, in bytes.
func (b *bench) resident(ctx context.Context, l load) (int64, error) {
	s, err := b.set(ctx, b.gateway, l, false)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	if err := wait(ctx, b.window.warmUp+b.window.measured/2); err != nil {
		return 0, err
	}
	return residentBytes(s.gateway.cmd.Process.Pid)
}

// throughPion measures pion alone, which receives the load and throws it away.
func (b *bench) throughPion(ctx context.Context, l load) (sample, error) {
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	receiver, err := start("the pion receiver", b.self, "receive")
	if err != nil {
		return sample{}, err
	}
	defer receiver.stop()
	url, err := receiver.await(starting, "listening ")
	if err != nil {
		return sample{}, err
	}
	generator, err := b.generator(starting, l, "-receiver", url)
	if err != nil {
		return sample{}, err
	}
	defer generator.stop()
	begin := time.Now()
	s, err := measure(ctx, b.window, probe{cpu: receiver.cpu, frames: func() (int64, error) { return paced(begin, l), nil }}, l.rate())
	if n, countErr := receiver.count(ctx); err == nil && countErr == nil && n == 0 {
		err = fmt.Errorf("%w: the pion receiver got nothing", errUnreliable)
	}
	return s, err
}

// generator starts the generator and waits until it sends.
func (b *bench) generator(ctx context.Context, l load, target ...string) (*child, error) {
	g, err := start("the generator", b.self, append(append([]string{"generate"}, target...), l.args()...)...)
	if err != nil {
		return nil, err
	}
	if _, err := g.await(ctx, "ready"); err != nil {
		g.stop()
		return nil, err
	}
	return g, nil
}

// throughAiortc measures aiortc's receiver under the same load.
func (b *bench) throughAiortc(ctx context.Context, l load) (sample, error) {
	if output, err := exec.CommandContext(ctx, b.python, "-c", "import aiortc, aiohttp").CombinedOutput(); err != nil {
		return sample{}, fmt.Errorf("%w: %s has no aiortc and aiohttp: %w: %s", errNotRun, b.python, err, lastLine(output))
	}
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	receiver, err := start("the aiortc receiver", b.python, b.script)
	if err != nil {
		return sample{}, err
	}
	defer receiver.stop()
	url, err := receiver.await(starting, "listening ")
	if err != nil {
		return sample{}, err
	}
	generator, err := b.generator(starting, l, "-receiver", url)
	if err != nil {
		return sample{}, err
	}
	defer generator.stop()
	return measure(ctx, b.window, probe{
		cpu:    receiver.cpu,
		frames: func() (int64, error) { return receiver.count(ctx) },
	}, l.rate())
}

func lastLine(output []byte) string {
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	return lines[len(lines)-1]
}

// pacedDecode measures one ffmpeg a track that decodes the clip in real time and throws the pictures away.
func (b *bench) pacedDecode(ctx context.Context, l load) (sample, error) {
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		return sample{}, fmt.Errorf("%w: there is no ffmpeg program: %w", errNotRun, err)
	}
	input := b.clip
	if l.file != "" {
		input = seekable(l.file)
	}
	var decoders []*child
	defer func() {
		for _, d := range decoders {
			d.stop()
		}
	}()
	var started []time.Time
	for range l.tracks {
		d, err := start("ffmpeg", program, "-v", "error", "-nostats", "-progress", "pipe:1", "-stats_period", "1",
			"-re", "-stream_loop", "-1", "-threads", "1", "-i", input, "-fps_mode", "passthrough", "-f", "null", "-")
		if err != nil {
			return sample{}, err
		}
		decoders, started = append(decoders, d), append(started, time.Now())
	}
	pace := float64(l.clip().UnitsPerSecond())
	begin := time.Now()
	s, err := measure(ctx, b.window, probe{
		cpu: func() (total time.Duration, err error) {
			for _, d := range decoders {
				one, err := d.cpu()
				if err != nil {
					return 0, err
				}
				total += one
			}
			return total, nil
		},
		// A paced decoder cannot be asked; what it should have done by now is checked below.
		frames: func() (int64, error) { return int64(time.Since(begin).Seconds() * l.rate()), nil },
	}, l.rate())
	if err != nil {
		return sample{}, err
	}
	for i, d := range decoders {
		if err := kept(d, pace*time.Since(started[i]).Seconds(), pace); err != nil {
			return sample{}, err
		}
	}
	return s, nil
}

// kept ends a decoder and checks that it decoded about as many pictures as its pace says.
func kept(d *child, want, pace float64) error {
	if _, err := io.WriteString(d.in, "q"); err != nil {
		return fmt.Errorf("%w: ffmpeg: %w", errChild, err)
	}
	var last float64
	for line := range d.lines { // until it ends
		if n, ok := strings.CutPrefix(line, "frame="); ok {
			last, _ = strconv.ParseFloat(strings.TrimSpace(n), 64)
		}
	}
	if slack := 0.03*want + pace; last < want-slack || last > want+slack {
		return fmt.Errorf("%w: ffmpeg decoded %.0f pictures, not about %.0f", errUnreliable, last, want)
	}
	return nil
}
