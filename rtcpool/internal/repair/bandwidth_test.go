package repair

import (
	"math/rand/v2"
	"testing"
	"time"
)

// bottleneck carries packets in simulated time: a bottleneck with a queue, and jitter.
type bottleneck struct {
	bits   float64       // a second
	jitter time.Duration // at the most
	free   time.Duration // when the bottleneck has sent all it has
	random *rand.Rand
}

func newBottleneck(bits float64, jitter time.Duration) *bottleneck {
	return &bottleneck{bits: bits, jitter: jitter, random: rand.New(rand.NewPCG(1, 2))}
}

// arrival is when a packet that leaves at a time arrives.
func (p *bottleneck) arrival(at time.Duration, size int) time.Duration {
	p.free = max(p.free, at) + time.Duration(float64(8*size)/p.bits*float64(time.Second))
	if p.jitter == 0 {
		return p.free
	}
	return p.free + time.Duration(p.random.Int64N(int64(p.jitter)))
}

// absSendTime is the header extension of a packet that leaves at a time.
func absSendTime(at time.Duration) []byte {
	v := uint32(at.Seconds()*(1<<18)) & 0xffffff
	return []byte{byte(v >> 16), byte(v >> 8), byte(v)}
}

// overuses counts how often the detector tells of a growing queue, while packets of 1000 bytes leave at a rate.
func overuses(p *bottleneck, bits float64, length time.Duration) (n int) {
	var o overuse
	gap := time.Duration(8000 / bits * float64(time.Second))
	for at := 60 * time.Second; at < 60*time.Second+length; at += gap { // over the wrap at 64 s
		if o.packet(sendTime(absSendTime(at)), p.arrival(at, 1000)) {
			n++
		}
	}
	return n
}

func TestOveruseIsSeenWhenAQueueGrows(t *testing.T) {
	for _, jitter := range []time.Duration{0, 5 * ms, 30 * ms} {
		if n := overuses(newBottleneck(1e6, jitter), 0.8e6, 30*time.Second); n > 0 {
			t.Errorf("jitter %v: %d times without a queue", jitter, n)
		}
		if n := overuses(newBottleneck(1e6, jitter), 1.2e6, 10*time.Second); n == 0 {
			t.Errorf("jitter %v: a queue that grows is not seen", jitter)
		}
	}
	var o overuse
	for _, sent := range []uint32{0, 1, 0xffffff, 0x800000, 5, 0x7fffff} { // nonsense does no harm
		o.packet(sent, 0)
	}
}

// A sender that sets its clock back, as one does that is replaced, is compared with itself again soon.
func TestOveruseIsSeenAfterTheClockWasSetBack(t *testing.T) {
	var o overuse
	for i := range 100 {
		o.packet(sendTime(absSendTime(30*time.Second+time.Duration(i)*10*ms)), time.Duration(i)*10*ms)
	}
	p, n := newBottleneck(1e6, 0), 0
	for at := time.Second; at < 20*time.Second; at += 6 * ms { // 1.3 Mbit/s
		if o.packet(sendTime(absSendTime(at)), p.arrival(at, 1000)) {
			n++
		}
	}
	if n == 0 {
		t.Error("a queue that grows is not seen")
	}
}

// drive sends at what was told last over a path that loses some, and returns what was told.
func drive(b *Bandwidth, from, length time.Duration, start float64, p *bottleneck, loss float64, stamped bool) (told []float64) {
	rate, carry := start, 0.0
	var expected, received uint32
	expected, received = b.expected, b.received
	for at := from; at < from+length; at += 10 * ms {
		for carry += rate / 100; carry >= 8000; carry -= 8000 {
			expected++
			if p.random.Float64() < loss {
				continue
			}
			received++
			var sent []byte
			if stamped {
				sent = absSendTime(at)
			}
			b.Packet(sent, 1000, p.arrival(at, 1000))
		}
		b.mu.Lock()
		if at-b.updated >= time.Second {
			b.update(expected, received, at)
		}
		if bits, ok := b.due(at); ok {
			told = append(told, bits)
			rate = min(bits, 5e6)
		}
		b.mu.Unlock()
	}
	return told
}

func TestBandwidthFollowsThePath(t *testing.T) {
	var b Bandwidth
	up := drive(&b, 10*time.Second, 10*time.Second, 300e3, newBottleneck(10e6, 0), 0, true)
	if len(up) < 9 || up[0] < 300e3 || up[len(up)-1] < 3e6 {
		t.Errorf("on a free path: %.0f", up)
	}
	down := drive(&b, 20*time.Second, 20*time.Second, up[len(up)-1], newBottleneck(1e6, 0), 0, true)
	if last := down[len(down)-1]; last > 1.3e6 || last < 0.4e6 {
		t.Errorf("on a path of 1 Mbit/s: %.0f", down)
	}
	again := drive(&b, 40*time.Second, 20*time.Second, down[len(down)-1], newBottleneck(10e6, 0), 0, true)
	if last := again[len(again)-1]; last < 3e6 {
		t.Errorf("on a free path again: %.0f", again)
	}
}

func TestBandwidthFallsByLossAlone(t *testing.T) {
	var b Bandwidth
	up := drive(&b, 10*time.Second, 10*time.Second, 300e3, newBottleneck(10e6, 0), 0, false)
	held := drive(&b, 20*time.Second, 5*time.Second, up[len(up)-1], newBottleneck(10e6, 0), 0.05, false)
	down := drive(&b, 25*time.Second, 5*time.Second, held[len(held)-1], newBottleneck(10e6, 0), 0.3, false)
	if held[len(held)-1] != held[0] || down[len(down)-1] > 0.5*held[len(held)-1] {
		t.Errorf("without loss %.0f, with 5 %% %.0f, with 30 %% %.0f", up, held, down)
	}
	for range 100 {
		b.update(b.expected+100, b.received, 40*time.Second)
	}
	if b.estimate != lowestEstimate {
		t.Errorf("when all is lost: %.0f", b.estimate)
	}
}
