package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// startTimeout bounds how long processes may take to get ready.
const startTimeout = 90 * time.Second

// throughGateway measures the gateway under a load that a worker takes in whole.
func (b *bench) throughGateway(ctx context.Context, l load) (sample, error) {
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	gateway, err := start("the gateway", b.gateway, "serve",
		"--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--log-level", "warn")
	if err != nil {
		return sample{}, err
	}
	defer gateway.stop()
	where, err := gateway.await(starting, "gateway serves gRPC on ")
	if err != nil {
		return sample{}, err
	}
	address, _, _ := strings.Cut(where, " ")
	generator, err := b.generator(starting, l, "-gateway", address)
	if err != nil {
		return sample{}, err
	}
	defer generator.stop()
	worker, err := start("the worker", b.self, append([]string{
		"work", "-gateway", address, "-row-padding=" + strconv.FormatBool(b.padding),
	}, l.args()...)...)
	if err != nil {
		return sample{}, err
	}
	defer worker.stop()
	if _, err := worker.await(starting, "ready"); err != nil {
		return sample{}, err
	}
	return measure(ctx, b.window, probe{
		cpu:    gateway.cpu,
		frames: func() (int64, error) { return worker.count(ctx) },
	}, l.rate())
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
	var decoders []*child
	defer func() {
		for _, d := range decoders {
			d.stop()
		}
	}()
	var started []time.Time
	for range l.tracks {
		d, err := start("ffmpeg", program, "-v", "error", "-nostats", "-progress", "pipe:1", "-stats_period", "1",
			"-re", "-stream_loop", "-1", "-threads", "1", "-i", b.clip, "-fps_mode", "passthrough", "-f", "null", "-")
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
