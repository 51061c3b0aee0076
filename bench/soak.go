package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const (
	// soakSamples is how often memory is looked at.
	soakSamples = 120
	// soakGrowth is how much more memory a gateway may have in the last quarter than in the second; the first is warm-up.
	soakGrowth = 1.05
	// soakWhole is the least length of a soak for which that holds: in a shorter one caches are still being filled, and soakStart is
	// allowed.
	soakWhole = 10 * time.Minute
	soakStart = 1.5
	// stallFor is how long the stalled worker does not read: what HTTP/2's windows hold (some seconds of audio), and then the gateway's
	// stall-timeout of 10 s.
	stallFor = 22 * time.Second
	// churnFrames is how many frames the worker that comes and goes takes each time.
	churnFrames = 3
)

// soakMain runs a gateway under video and audio of which one track each has a worker that reads, one a worker that never reads, one a
// worker that comes and goes, and one nobody, and fails if the gateway's resident memory grows.
func soakMain(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	length := flags.Duration("for", 30*time.Minute, "how long")
	gateway := flags.String("gateway", "", "the built gateway; empty builds it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *length < 2*stallFor || flags.NArg() > 0 {
		return fmt.Errorf("%w: -for must be at least %v, and nothing follows", errUsage, 2*stallFor)
	}
	work, err := os.MkdirTemp("", "penstock-soak-")
	if err != nil {
		return fmt.Errorf("make a working directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	b := &bench{gateway: *gateway, log: os.Stderr}
	if err := b.prepare(ctx, work); err != nil {
		return err
	}
	resident, workers, err := b.soak(ctx, *length)
	if err != nil {
		return err
	}
	for _, w := range workers {
		fmt.Fprintln(out, w)
	}
	second, last, err := grown(resident, *length)
	fmt.Fprintf(out, "resident memory in the second and the last quarter of %v: %.1f and %.1f MB (%+.1f %%)\n",
		*length, float64(second)/1e6, float64(last)/1e6, 100*(float64(last)/float64(second)-1))
	return err
}

// grown compares the medians of the second and the last quarter.
func grown(resident []int64, length time.Duration) (second, last int64, err error) {
	quarter := len(resident) / 4
	if quarter == 0 {
		return 0, 0, fmt.Errorf("%w: %d samples of memory", errUnreliable, len(resident))
	}
	median := func(of []int64) int64 {
		of = slices.Sorted(slices.Values(of))
		return of[len(of)/2]
	}
	second, last = median(resident[quarter:2*quarter]), median(resident[len(resident)-quarter:])
	bound := soakGrowth
	if length < soakWhole {
		bound = soakStart
	}
	if float64(last) > bound*float64(second) {
		err = fmt.Errorf("%w: from %d to %d bytes", errGrows, second, last)
	}
	return second, last, err
}

// soak starts everything, and looks at the gateway's memory until the time is over.
func (b *bench) soak(ctx context.Context, length time.Duration) (resident []int64, all []*soaker, err error) {
	loads := []load{{kind: "video", sessions: 1, tracks: 4}, {kind: "audio", sessions: 1, tracks: 4}}
	s, err := b.set(ctx, b.gateway, loads[0], false)
	if err != nil {
		return nil, nil, err
	}
	defer s.stop()
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	audio, err := b.generator(starting, loads[1], "-gateway", s.address)
	if err != nil {
		return nil, nil, err
	}
	defer audio.stop()

	working, stop := context.WithCancel(ctx)
	var workers sync.WaitGroup
	for _, l := range loads {
		for track, do := range []func(*soaker, context.Context) error{(*soaker).read, (*soaker).stall, (*soaker).churn} {
			w := &soaker{load: l, track: track, gateway: s.address, ended: make(chan error, 1)}
			all = append(all, w)
			workers.Go(func() {
				if err := do(w, working); working.Err() == nil {
					w.ended <- err
				}
			})
		}
	}
	defer workers.Wait()
	defer stop()
	for i := range soakSamples {
		if err := wait(ctx, length/soakSamples); err != nil {
			return nil, nil, err
		}
		now, err := s.memoryOf(ctx)
		if err != nil {
			return nil, nil, err
		}
		resident = append(resident, now.resident)
		fmt.Fprintf(b.log, "%v: %v\n", (time.Duration(i+1) * length / soakSamples).Round(time.Second), now)
		for _, w := range all {
			if err := w.failed(); err != nil {
				return nil, nil, err
			}
		}
	}
	for _, w := range all {
		if w.turns.Load() == 0 {
			return nil, nil, fmt.Errorf("%w: %v", errUnreliable, w)
		}
	}
	return resident, all, nil
}

// soaker is a worker that takes one track, well or badly.
type soaker struct {
	load    load
	track   int
	gateway string
	turns   atomic.Int64
	ended   chan error
}

func (w *soaker) String() string {
	return fmt.Sprintf("%s track %d: %d %s", w.load.kind, w.track, w.turns.Load(), [...]string{"frames read", "stalls ended", "times come and gone"}[w.track])
}

// failed tells why the worker ended, if it did.
func (w *soaker) failed() error {
	select {
	case err := <-w.ended:
		return fmt.Errorf("%w: %v: %w", errChild, w, err)
	default:
		return nil
	}
}

// open opens a stream on a connection of its own; both end with the context.
func (w *soaker) open(ctx context.Context) (grpc.ClientStream, func(), error) {
	conn, err := grpc.NewClient(w.gateway, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(discardCodec{})))
	if err != nil {
		return nil, nil, err
	}
	stream, err := w.load.open(ctx, conn, w.load.sessionID(0), participantID(w.track), w.load.wanted(false))
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return stream, func() { _ = conn.Close() }, nil
}

// read takes every frame.
func (w *soaker) read(ctx context.Context) error {
	stream, end, err := w.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	for {
		if err := frame(stream); err != nil {
			return err
		}
		w.turns.Add(1)
	}
}

// stall takes one frame, reads no more until the gateway must have ended the stream, and starts again.
func (w *soaker) stall(ctx context.Context) error {
	once := func() error {
		stream, end, err := w.open(ctx)
		if err != nil {
			return err
		}
		defer end()
		if err := frame(stream); err != nil {
			return err
		}
		if err := wait(ctx, stallFor); err != nil {
			return err
		}
		for err == nil {
			err = stream.RecvMsg(&message{})
		}
		if status.Code(err) != codes.ResourceExhausted {
			return fmt.Errorf("a stalled stream ended otherwise: %w", err)
		}
		w.turns.Add(1)
		return nil
	}
	for {
		if err := once(); err != nil {
			return err
		}
	}
}

// churn takes some frames and goes, again and again.
func (w *soaker) churn(ctx context.Context) error {
	once := func() error {
		stream, end, err := w.open(ctx)
		if err != nil {
			return err
		}
		defer end()
		for range churnFrames {
			if err := frame(stream); err != nil {
				return err
			}
		}
		w.turns.Add(1)
		return nil
	}
	for {
		if err := once(); err != nil {
			return err
		}
	}
}

// frame waits for the next frame of a stream.
func frame(stream grpc.ClientStream) error {
	for {
		var m message
		if err := stream.RecvMsg(&m); err != nil {
			return err
		}
		if m.field == fieldAudio || m.field == fieldVideo {
			return nil
		}
	}
}
