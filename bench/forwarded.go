package main

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// forwardBudget is what forwarding one picture of 1.38 MB may cost over both pods, in milliseconds.
const forwardBudget = 0.5

// forwarded measures X11: what a picture costs both pods when its worker is at another pod than the owner, less what it costs the owner
// when its worker is there.
func (b *bench) forwarded(ctx context.Context) []row {
	var rows []row
	for _, secure := range []bool{false, true} {
		what, name := "forwarding a 1.38 MB picture, both pods, on top of X1, ms", "plaintext"
		if secure {
			what, name = "the same over TLS, ms", "TLS"
		}
		o := b.inTurn([]measurement{
			{"a worker at the owner, " + name, func() (sample, error) { return b.throughPods(ctx, fourCameras(), secure, false) }},
			{"a worker at another pod, " + name, func() (sample, error) { return b.throughPods(ctx, fourCameras(), secure, true) }},
		})
		r := difference("X11", what, forwardBudget, o[1], o[0])
		if secure {
			r.Budget, r.Met = 0, nil // the figure beside it
		}
		rows = append(rows, r, plain("a picture of X1 at its owner, "+name+": its value alone", o[0]))
	}
	o := b.inTurn([]measurement{{"the bare sender that passes on", func() (sample, error) { return b.barePass(ctx, fourCameras()) }}})
	return append(rows, plain("its pictures only read from one TCP connection and written to another: its value alone", o[0]))
}

// difference makes the row of a budget that is a time, from a measurement and what it holds beside.
func difference(id, what string, budget float64, value, reference outcome) row {
	r := compare(id, what, budget, value, reference)
	if r.Missing == "" {
		r.judge(float64(value.sample.perFrame()-reference.sample.perFrame()) / float64(time.Millisecond))
	}
	return r
}

// throughPods measures two pods of which one owns the load's sessions. The worker is at the owner, which alone is counted, or at the other
// one, and then both are.
func (b *bench) throughPods(ctx context.Context, l load, secure, elsewhere bool) (sample, error) {
	f, err := b.fleet(ctx, secure)
	defer f.stop()
	if err != nil {
		return sample{}, err
	}
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	owner, err := f.add(starting) // alone, so that it gets the sessions
	if err != nil {
		return sample{}, err
	}
	generator, err := b.generator(starting, l, "-gateway", f.addrs[owner], "-ca", f.ca)
	if err != nil {
		return sample{}, err
	}
	defer generator.stop()
	at, counted := owner, f.pods[:1]
	if elsewhere {
		if at, err = f.add(starting); err != nil {
			return sample{}, err
		}
		counted = f.pods
	}
	worker, err := start("the worker", b.self, append([]string{
		"work", "-gateway", f.addrs[at], "-ca", f.ca, "-row-padding=" + strconv.FormatBool(b.padding),
	}, l.args()...)...)
	if err != nil {
		return sample{}, err
	}
	defer worker.stop()
	if _, err := worker.await(starting, "ready"); err != nil {
		return sample{}, err
	}
	return measure(ctx, b.window, probe{
		cpu: func() (total time.Duration, err error) {
			for _, p := range counted {
				one, err := p.cpu()
				if err != nil {
					return 0, fmt.Errorf("%s: %w", p.name, err)
				}
				total += one
			}
			return total, nil
		},
		frames: func() (int64, error) { return worker.count(ctx) },
	}, l.delivery())
}
