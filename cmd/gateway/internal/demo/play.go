package demo

import (
	"context"
	"fmt"
	"time"
)

// step is one thing that happens in the call, and what must come of it.
type step struct {
	title   string
	command string // for the publisher
	// want is what must come of it, in words, for the report of a failure.
	want string
	// done compares the state with that before the step.
	done func(before, now view) bool
}

// script returns what happens in the call.
func script() []step {
	return []step{
		{
			title: "alice joins with camera and microphone", command: "publish " + aliceCamera + " " + aliceMicrophone,
			want: "both flow", done: playing(1.5, aliceCamera, aliceMicrophone),
		},
		{
			title: "bob joins: renegotiation adds a camera and a microphone", command: "publish " + bobCamera + " " + bobMicrophone,
			want: "all four flow", done: playing(1.5, aliceCamera, aliceMicrophone, bobCamera, bobMicrophone),
		},
		{
			title: "bob shares his screen: renegotiation adds a track", command: "publish " + bobScreen,
			want: "all five flow", done: playing(1.5, aliceCamera, aliceMicrophone, bobCamera, bobMicrophone, bobScreen),
		},
		{
			title: "alice mutes her microphone", command: "mute " + aliceMicrophone,
			want: "it pauses, the others flow", done: both(muted(aliceMicrophone), playing(1.6, aliceCamera, bobCamera, bobMicrophone, bobScreen)),
		},
		{
			title: "alice unmutes", command: "unmute " + aliceMicrophone,
			want: "it flows again", done: both(resumed(aliceMicrophone), playing(1.2, aliceMicrophone, aliceCamera)),
		},
		{
			title: "bob turns his camera off: renegotiation removes a track", command: "unpublish " + bobCamera,
			want: "its stream ends, the others flow", done: both(ended(bobCamera), playing(1.2, aliceCamera, aliceMicrophone, bobMicrophone, bobScreen)),
		},
	}
}

// playing holds when so many seconds more of each track have come.
func playing(seconds float64, names ...string) func(before, now view) bool {
	return func(before, now view) bool {
		for _, name := range names {
			if s := now[name]; float64(s.frames-before[name].frames) < seconds*s.role.perSecond() {
				return false
			}
		}
		return true
	}
}

func muted(name string) func(before, now view) bool {
	return func(_, now view) bool { return now[name].paused && now[name].state == "muted" }
}

func resumed(name string) func(before, now view) bool {
	return func(_, now view) bool { return !now[name].paused }
}

func ended(names ...string) func(before, now view) bool {
	return func(_, now view) bool {
		for _, name := range names {
			if !now[name].ended {
				return false
			}
		}
		return true
	}
}

func both(a, b func(before, now view) bool) func(before, now view) bool {
	return func(before, now view) bool { return a(before, now) && b(before, now) }
}

// play makes the publisher do the step and waits for what must come of it.
func (s step) play(ctx context.Context, p *process, b *board, limit time.Duration) error {
	before, _ := b.now()
	if err := p.tell(s.command); err != nil {
		return err
	}
	return s.await(ctx, before, b, limit)
}

func (s step) await(ctx context.Context, before view, b *board, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := b.wait(ctx, func(now view) bool { return s.done(before, now) }); err != nil {
		return fmt.Errorf("%s: not seen within %v that %s: %w", s.title, limit, s.want, err)
	}
	return nil
}
