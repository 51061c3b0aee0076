package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

// compareMain measures two gateways under one load, in turns, so that the machine's noise meets both alike.
func compareMain(ctx context.Context, args []string, out io.Writer) (err error) {
	var l load
	w := window{}
	var rounds int
	var secure, elsewhere bool
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	l.flags(flags)
	flags.DurationVar(&w.warmUp, "warm-up", 3*time.Second, "time before each measured window")
	flags.DurationVar(&w.measured, "window", 10*time.Second, "length of each measured window")
	flags.IntVar(&rounds, "rounds", 3, "turns")
	flags.BoolVar(&secure, "tls", false, "the gateway is a pod beside a Redis, and all calls go over TLS")
	flags.BoolVar(&elsewhere, "forwarded", false, "the worker is at another pod than the sessions' owner, and both count")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := l.validate(); err != nil {
		return err
	}
	if flags.NArg() != 2 || rounds < 1 || w.measured <= 0 {
		return fmt.Errorf("%w: compare [flags] OLD NEW", errUsage)
	}
	b := &bench{window: w, padding: true, rounds: 1, log: os.Stderr}
	if b.self, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	through := func(program string) (sample, error) {
		if !secure && !elsewhere {
			return b.throughGateway(ctx, program, l)
		}
		b.gateway = program
		return b.throughPods(ctx, l, secure, elsewhere)
	}
	var sums [2]sample
	for turn := range rounds {
		var now [2]sample
		for k := range 2 {
			i := (turn + k) % 2 // who was second is first in the next turn
			if now[i], err = through(flags.Arg(i)); err != nil {
				return err
			}
			if err := now[i].reliable(); err != nil {
				fmt.Fprintf(out, "turn %d: %s: %v\n", turn+1, flags.Arg(i), err)
			}
			sums[i] = sums[i].plus(now[i])
		}
		fmt.Fprintf(out, "turn %d: old %s, new %s a frame: %+.1f %%\n", turn+1, perFrame(now[0]), perFrame(now[1]), change(now))
	}
	_, err = fmt.Fprintf(out, "all: old %s, new %s a frame: %+.1f %%\n", perFrame(sums[0]), perFrame(sums[1]), change(sums))
	return errors.Join(err, ctx.Err())
}

// change is how much more the second costs, in percent.
func change(s [2]sample) float64 {
	if s[0].perFrame() == 0 {
		return 0
	}
	return 100 * (float64(s[1].perFrame())/float64(s[0].perFrame()) - 1)
}
