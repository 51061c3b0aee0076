package demo

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// maxFaults bounds what is kept of one track's faults: the rest would say the same.
const maxFaults = 4

// status is what is known of one track. It is a value: a copy does not change.
type status struct {
	role role
	// state is for people: "waiting", "live", "muted", "ended".
	state  string
	codec  clips.Codec
	format string // as the header says it is sent

	frames       int
	first, last  time.Time // when the first and the last frame came
	delaySum     time.Duration
	delayMax     time.Duration
	lost         int // by the network
	dropped      int // from the queue
	holes        int // numbers missing in the sequence
	lastSequence uint64

	width, height int // of the last picture

	paused, ended bool
	pausedAt      time.Time     // when the last pause was told
	pauses        time.Duration // the length of those that are over
	endReason     string
	rightMarks    int    // watermarks or tones found as expected
	mark          string // the last one found, in words
	faults        []string
}

// fps is the mean rate of frames over what has come, pauses left out.
func (s status) fps() float64 {
	span := (s.last.Sub(s.first) - s.pauses).Seconds()
	if s.frames < 2 || span <= 0 {
		return 0
	}
	return float64(s.frames-1) / span
}

// delivered is what the worker gets, in words.
func (s status) delivered() string {
	if s.width == 0 {
		return s.format
	}
	return fmt.Sprintf("%s %d×%d", s.format, s.width, s.height)
}

// delay is the mean time from the gateway's receipt of a frame's last packet until the worker had the frame.
func (s status) delay() time.Duration {
	if s.frames == 0 {
		return 0
	}
	return s.delaySum / time.Duration(s.frames)
}

// verdict says in a word whether the content is what it should be.
func (s status) verdict() string {
	switch {
	case len(s.faults) > 0:
		return "WRONG"
	case s.rightMarks > 0:
		return "proved"
	default:
		return ""
	}
}

// fault notes something wrong, once.
func (s *status) fault(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if len(s.faults) < maxFaults && !slices.Contains(s.faults, text) {
		s.faults = append(slices.Clone(s.faults), text)
	}
}

// view is the state of all tracks at one moment, by name.
type view map[string]status

// board holds what workers report. It is safe for concurrent use.
type board struct {
	mu      sync.Mutex
	tracks  []status
	changed chan struct{} // closed at the next change
}

func newBoard() *board {
	b := &board{changed: make(chan struct{})}
	for _, r := range cast() {
		b.tracks = append(b.tracks, status{role: r, state: "waiting"})
	}
	return b
}

// update changes one track's status and wakes who waits. change must be quick and must not use the board.
func (b *board) update(name string, change func(*status)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.tracks, func(s status) bool { return s.role.name == name })
	change(&b.tracks[i])
	close(b.changed)
	b.changed = make(chan struct{})
}

// list returns all tracks in order, and a channel that is closed at the next change.
func (b *board) list() ([]status, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.tracks), b.changed
}

// now returns all tracks by name, and a channel that is closed at the next change.
func (b *board) now() (view, <-chan struct{}) {
	all, changed := b.list()
	v := make(view, len(all))
	for _, s := range all {
		v[s.role.name] = s
	}
	return v, changed
}

// wait returns nil when the condition holds, ctx's error when that comes first, and ErrFailed as soon as any track is at fault.
func (b *board) wait(ctx context.Context, condition func(view) bool) error {
	for {
		v, changed := b.now()
		for _, s := range v {
			if len(s.faults) > 0 {
				return ErrFailed
			}
		}
		if condition(v) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
