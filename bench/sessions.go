package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// makers is how many calls make sessions at one time.
const makers = 32

// sessionsMain measures what sessions without media cost while nothing happens: the commands that Redis gets in a heartbeat, the CPU time of
// pods and of Redis, and their memory; without a session, and with many.
func sessionsMain(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("sessions", flag.ContinueOnError)
	sessions := flags.Int("sessions", 10_000, "how many sessions")
	pods := flags.Int("pods", 3, "how many pods")
	rest := flags.Duration("window", 20*time.Second, "how long to look at them at rest, each time")
	gateway := flags.String("gateway", "", "the built gateway; empty builds it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *sessions < 1 || *pods < 1 || *rest <= 0 || flags.NArg() > 0 {
		return fmt.Errorf("%w: -sessions, -pods and -window must be above 0, and nothing follows", errUsage)
	}
	work, err := os.MkdirTemp("", "penstock-sessions-")
	if err != nil {
		return fmt.Errorf("make a working directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	b := &bench{gateway: *gateway, log: os.Stderr}
	if err := b.prepare(ctx, work); err != nil {
		return err
	}
	f, err := b.fleet(ctx, false, "--max-sessions", fmt.Sprint(*sessions))
	defer f.stop()
	if err != nil {
		return err
	}
	for range *pods {
		if _, err := f.add(ctx); err != nil {
			return err
		}
	}
	before, err := f.atRest(ctx, *rest)
	if err != nil {
		return err
	}
	took, err := f.makeSessions(ctx, *sessions)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.log, "%d sessions were made in %v\n", *sessions, took.Round(time.Millisecond))
	after, err := f.atRest(ctx, *rest)
	if err != nil {
		return err
	}
	return writeAtRest(out, *sessions, *pods, *rest, before, after)
}

// resting is what processes used while nothing happened.
type resting struct {
	commands int64
	podCPU   time.Duration // of all pods
	redisCPU time.Duration
	podRSS   int64 // of all pods
	redisRSS int64
}

// atRest lets things come to rest, and measures a window.
func (f *fleet) atRest(ctx context.Context, d time.Duration) (r resting, err error) {
	if err := wait(ctx, d/4); err != nil {
		return r, err
	}
	before, err := f.used(ctx)
	if err != nil {
		return r, err
	}
	if err := wait(ctx, d); err != nil {
		return r, err
	}
	if r, err = f.used(ctx); err != nil {
		return r, err
	}
	r.commands -= before.commands
	r.podCPU -= before.podCPU
	r.redisCPU -= before.redisCPU
	return r, nil
}

// used reads what processes have used so far.
func (f *fleet) used(ctx context.Context) (r resting, err error) {
	if r.commands, err = f.commands(ctx); err != nil {
		return r, err
	}
	for _, p := range f.pods {
		cpu, err := p.cpu()
		if err != nil {
			return r, err
		}
		rss, err := residentBytes(p.cmd.Process.Pid)
		if err != nil {
			return r, err
		}
		r.podCPU, r.podRSS = r.podCPU+cpu, r.podRSS+rss
	}
	if r.redisCPU, err = f.redis.cpu(); err != nil {
		return r, err
	}
	r.redisRSS, err = residentBytes(f.redis.cmd.Process.Pid)
	return r, err
}

// makeSessions makes sessions by way of all pods, and tells how long that took.
func (f *fleet) makeSessions(ctx context.Context, n int) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var next atomic.Int64
	var making sync.WaitGroup
	errs := make(chan error, makers)
	begin := time.Now()
	for m := range makers {
		conn, err := f.dial(m % len(f.pods))
		if err != nil {
			return 0, err
		}
		defer func() { _ = conn.Close() }()
		client := penstockv1.NewSessionServiceClient(conn)
		making.Go(func() {
			for i := next.Add(1); int(i) <= n; i = next.Add(1) {
				_, err := client.CreateSession(ctx, &penstockv1.CreateSessionRequest{
					SessionId: fmt.Sprintf("session-%06d", i), Grace: durationpb.New(time.Hour), Labels: map[string]string{"made-by": "bench"},
				})
				if err != nil {
					errs <- fmt.Errorf("make session %d: %w", i, err)
					cancel()
					return
				}
			}
		})
	}
	making.Wait()
	select {
	case err := <-errs:
		return 0, err
	default:
		return time.Since(begin), nil
	}
}

// writeAtRest prints what was used without and with sessions.
func writeAtRest(out io.Writer, sessions, pods int, d time.Duration, before, after resting) error {
	w := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%d pods at rest for %v, %s\n\n", pods, d, machine())
	fmt.Fprintf(w, "what\twithout a session\twith %d\n", sessions)
	beats := d.Seconds() * float64(pods) // one heartbeat a second
	for _, r := range []struct {
		what string
		of   func(resting) string
	}{
		{"Redis commands a heartbeat of a pod", func(r resting) string { return fmt.Sprintf("%.2f", float64(r.commands)/beats) }},
		{"CPU of a pod, % of a core", func(r resting) string {
			return fmt.Sprintf("%.2f", 100*r.podCPU.Seconds()/d.Seconds()/float64(pods))
		}},
		{"CPU of Redis, % of a core", func(r resting) string { return fmt.Sprintf("%.2f", 100*r.redisCPU.Seconds()/d.Seconds()) }},
		{"resident memory of a pod, MB", func(r resting) string { return fmt.Sprintf("%.1f", float64(r.podRSS)/1e6/float64(pods)) }},
		{"resident memory of Redis, MB", func(r resting) string { return fmt.Sprintf("%.1f", float64(r.redisRSS)/1e6) }},
	} {
		fmt.Fprintf(w, "%s\t%s\t%s\n", r.what, r.of(before), r.of(after))
	}
	return w.Flush()
}
