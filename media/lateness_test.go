package media

import (
	"testing"
	"time"
)

// path delivers packets of 20 ms to a reorder buffer that learns; those that fate names come late by what it says, or never.
type path struct {
	b         *reorderBuffer
	now       time.Time
	seq       int64
	pending   []missing // to come, and when
	got, lost int
	held      time.Duration // the longest that a packet which came had to wait for others
}

func newPath() *path {
	p := &path{now: time.Unix(1_700_000_000, 0)}
	p.b = newReorderBuffer(audioReorderWait, audioReorderPackets, func(q *packet) {
		p.got++
		p.lost += q.lost
		if q.seq >= 0 {
			p.held = max(p.held, p.now.Sub(q.received))
		}
	})
	p.b.lateness = &lateness{}
	return p
}

const never = time.Hour

// send lets n packets go by. fate returns how late each is.
func (p *path) send(n int, fate func(seq int64) time.Duration) {
	for range n {
		p.seq++
		p.advance(p.now.Add(20 * time.Millisecond))
		if late := fate(p.seq); late > 0 {
			p.pending = append(p.pending, missing{p.seq, p.now.Add(late)})
			continue
		}
		p.push(p.seq)
	}
}

// advance lets time go on to t: what is late comes, and what waits too long is given up, each at its time.
func (p *path) advance(t time.Time) {
	for {
		next, which := t, -1
		for i, m := range p.pending {
			if !m.since.After(next) {
				next, which = m.since, i
			}
		}
		deadline := p.b.deadline()
		switch {
		case !deadline.IsZero() && deadline.Before(next):
			p.now = deadline
			p.b.expire(p.now)
		case which >= 0:
			seq := p.pending[which].seq
			p.pending = append(p.pending[:which], p.pending[which+1:]...)
			p.now = next
			p.push(seq)
		default:
			p.now = t
			p.b.expire(t)
			return
		}
	}
}

func (p *path) push(seq int64) {
	p.b.expire(p.now)
	p.b.push(&packet{seq: seq, timestamp: uint32(seq) * 960, received: p.now})
}

// TestF7_TheWaitFollowsThePath runs paths that behave differently, one after another, each for a while in which the buffer learns and for a while
// in which it is judged: it waits long enough for nearly all that come, and not longer than is useful.
func TestF7_TheWaitFollowsThePath(t *testing.T) {
	every := func(n int64, late time.Duration) func(int64) time.Duration {
		return func(seq int64) time.Duration {
			if seq%n == 0 {
				return late
			}
			return 0
		}
	}
	p := newPath()
	if w := p.b.wait(); w != audioReorderWait {
		t.Errorf("waits %v before it knows anything", w)
	}
	for _, phase := range []struct {
		name        string
		fate        func(int64) time.Duration
		least, most time.Duration // of the wait
		lost        int           // at most, of 1000
	}{
		{"nothing is late", every(1<<40, 0), audioReorderWait, audioReorderWait, 0},
		{"overtaken by little", every(10, 25*time.Millisecond), minLateWait, 50 * time.Millisecond, 0},
		{"sent again after 120 ms", every(10, 140*time.Millisecond), 120 * time.Millisecond, 150 * time.Millisecond, 3},
		{"later than a conversation bears", every(10, 500*time.Millisecond), minLateWait, minLateWait, 100},
		{"lost for good", every(10, never), minLateWait, minLateWait, 101},
		{"half comes after 80 ms", func(seq int64) time.Duration {
			if seq%10 == 0 {
				return []time.Duration{never, 100 * time.Millisecond}[seq/10%2]
			}
			return 0
		}, 80 * time.Millisecond, 110 * time.Millisecond, 51},
		{"overtaken by little again", every(10, 25*time.Millisecond), minLateWait, 50 * time.Millisecond, 0},
	} {
		p.send(4000, phase.fate) // what was before is forgotten
		p.got, p.lost, p.held = 0, 0, 0
		p.send(1000, phase.fate)
		w := p.b.wait()
		if w < phase.least || w > phase.most || p.held > phase.most || p.lost > phase.lost {
			t.Errorf("%s: waits %v, want %v to %v; %d lost, at most %d; held %v", phase.name, w, phase.least, phase.most, p.lost, phase.lost, p.held)
		}
	}
	if n := len(p.b.lateness.missing); n > maxMissing {
		t.Errorf("%d packets are watched", n)
	}
}

// TestLatenessIsBounded loses whole seconds, and looks at what is kept.
func TestLatenessIsBounded(t *testing.T) {
	var l lateness
	now := time.Unix(1_700_000_000, 0)
	for seq := int64(0); seq < 1_000_000; seq += 100_000 {
		l.noticed(seq, seq+100_000, now)
		now = now.Add(time.Second)
		if len(l.missing) > maxMissing {
			t.Fatalf("%d packets are watched", len(l.missing))
		}
	}
	l.came(5, now, false) // long forgotten
	if w := l.wait(time.Second); w != minLateWait {
		t.Errorf("waits %v", w)
	}
	l.reset()
	if len(l.missing) != 0 {
		t.Errorf("%d packets of another source are watched", len(l.missing))
	}
}
