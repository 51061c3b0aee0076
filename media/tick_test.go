package media

import (
	"testing"
	"time"
)

func TestUntilTick(t *testing.T) {
	for ns, want := range map[int64]time.Duration{
		int64(tickPhase): tick, int64(tickPhase) + 1: tick - 1, int64(tick): tickPhase, 9*int64(tick) + int64(tickPhase) - 1: 1,
	} {
		if got := (untilTick(time.Unix(0, ns))-1)%tick + 1; got != want {
			t.Errorf("%d ns: %v, want %v", ns, got, want)
		}
	}
}

func TestDensity(t *testing.T) {
	var d density
	now := time.Unix(1000, 0)
	d.note(1, now)
	for range 100 { // 100 a second
		now = now.Add(10 * time.Millisecond)
		if d.note(1, now); d.much {
			t.Fatal("100 a second are much")
		}
	}
	for range 100 { // 1000 a second
		now = now.Add(5 * time.Millisecond)
		d.note(5, now)
	}
	if !d.much {
		t.Fatal("1000 a second are not much")
	}
	if d.note(1, now.Add(time.Second)); d.much {
		t.Error("still much after a second of silence")
	}
}

// What waits is served in one go, and only then are the consumers woken, every one of them.
func TestPoolWakesConsumersTogether(t *testing.T) {
	p := &DecodePool{}
	p.wakeA.L, p.wakeV.L = &p.mu, &p.mu
	var w wakes
	consumers := make([]*Consumer, 20)
	served := 0
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range consumers {
		consumers[i] = &Consumer{wake: make(chan struct{}, 1)}
		p.enqueue(&task{kind: KindAudio, step: func(w *wakes) bool {
			served++
			w.add(consumers[i])
			for _, c := range consumers {
				if c != nil && len(c.wake) > 0 {
					t.Error("a consumer is woken while others wait for their turn")
				}
			}
			return false
		}})
	}
	if n := p.serveAudio(&w); n != len(consumers) || served != n {
		t.Errorf("%d served, %d ran", n, served)
	}
	w.flush()
	for i, c := range consumers {
		if len(c.wake) != 1 {
			t.Errorf("consumer %d sleeps on", i)
		}
	}
	if len(w.consumers) != 0 {
		t.Error("they would be woken again")
	}
}

// A worker that rests between ticks serves what comes meanwhile, loses nobody, and ends with the pool.
func TestPoolServesMuchAudioInACadence(t *testing.T) {
	p := NewDecodePool(1)
	p.mu.Lock()
	p.dense = density{much: true, since: time.Now().Add(time.Hour)} // for the whole test
	p.mu.Unlock()
	const tracks, units = 30, 10
	done := make(chan struct{}, tracks)
	for range tracks {
		left := units
		p.schedule(&task{kind: KindAudio, step: func(*wakes) bool {
			if left--; left == 0 {
				done <- struct{}{}
			}
			return left > 0
		}})
	}
	for range tracks {
		within(t, done)
	}
	p.Close()
}
