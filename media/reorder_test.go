package media

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// ordered collects what a reorder buffer delivers.
type ordered struct {
	seqs []int64
	lost int
	data []byte
}

func (o *ordered) take(p *packet) {
	o.seqs = append(o.seqs, p.seq)
	o.lost += p.lost
	o.data = append(o.data, p.payload...)
}

func TestReorderBufferPutsPacketsIntoOrder(t *testing.T) {
	var got ordered
	b := newReorderBuffer(time.Second, 16, got.take)
	now := time.Now()
	scratch := []byte{0} // one buffer for all, as the reader has
	for _, seq := range []int64{10, 12, 13, 11, 15, 14, 16} {
		scratch[0] = byte(seq)
		b.push(&packet{seq: seq, payload: scratch, received: now})
	}
	if want := []int64{10, 11, 12, 13, 14, 15, 16}; !slices.Equal(got.seqs, want) || got.lost != 0 {
		t.Fatalf("delivered %v with %d lost, want %v", got.seqs, got.lost, want)
	}
	if want := []byte{10, 11, 12, 13, 14, 15, 16}; !slices.Equal(got.data, want) {
		t.Fatalf("payloads %v, want %v: a packet that waits must be copied", got.data, want)
	}
}

func TestReorderBufferGivesUpAfterItsWait(t *testing.T) {
	var got ordered
	b := newReorderBuffer(100*time.Millisecond, 16, got.take)
	now := time.Now()
	b.push(&packet{seq: 1, received: now})
	b.push(&packet{seq: 4, received: now})
	b.push(&packet{seq: 7, received: now.Add(60 * time.Millisecond)})
	b.expire(now.Add(99 * time.Millisecond))
	if !slices.Equal(got.seqs, []int64{1}) {
		t.Fatalf("gave up before its time: %v", got.seqs)
	}
	b.expire(now.Add(100 * time.Millisecond))
	if !slices.Equal(got.seqs, []int64{1, 4}) || got.lost != 2 {
		t.Fatalf("delivered %v with %d lost, want 1 4 with 2", got.seqs, got.lost)
	}
	if want := now.Add(160 * time.Millisecond); !b.deadline().Equal(want) {
		t.Fatalf("the next gap expires at %v, want %v: its wait begins with the packet behind it", b.deadline(), want)
	}
	b.push(&packet{seq: 3, received: now})
	if b.late != 1 || b.lost != 2 {
		t.Fatalf("late %d lost %d, want 1 and 2", b.late, b.lost)
	}
}

func TestReorderBufferIsBounded(t *testing.T) {
	var got ordered
	b := newReorderBuffer(time.Hour, 16, got.take)
	now := time.Now()
	b.push(&packet{seq: 1, received: now})
	for seq := int64(3); seq < 1000; seq += 2 {
		b.push(&packet{seq: seq, received: now})
		if len(b.waiting) > 16 {
			t.Fatalf("%d packets wait, want at most 16", len(b.waiting))
		}
	}
}

// As many as can be asked for again are waited for, and not one more.
func TestReorderBufferSkipsALongHole(t *testing.T) {
	for missing, waits := range map[int64]bool{maxHole: true, maxHole + 1: false} {
		var got ordered
		b := newReorderBuffer(time.Hour, 512, got.take)
		for _, seq := range []int64{1, 3, 4 + missing} {
			b.push(&packet{seq: seq})
		}
		if want := []int64{1, 3, 4 + missing}; slices.Equal(got.seqs, want) == waits || waits && got.lost != 0 || !waits && got.lost != 1+int(missing) {
			t.Errorf("%d missing: delivered %v, %d lost", missing, got.seqs, got.lost)
		}
	}
}

func TestReorderBufferFollowsASourceThatBeganAnew(t *testing.T) {
	var got ordered
	b := newReorderBuffer(time.Hour, 16, got.take)
	for _, seq := range []int64{50000, 50001, 100, 101, 102, 103} {
		b.push(&packet{seq: seq, received: time.Now()})
	}
	if want := []int64{50000, 50001, 101, 102, 103}; !slices.Equal(got.seqs, want) || got.lost != 1 {
		t.Fatalf("delivered %v with %d lost, want %v with 1", got.seqs, got.lost, want)
	}
}

// Whatever comes, what is delivered is strictly ascending, and every packet of a window that fits is delivered.
func TestReorderBufferProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var got ordered
		b := newReorderBuffer(time.Hour, 32, got.take)
		n := rapid.IntRange(1, 200).Draw(t, "n")
		seqs := make([]int64, n)
		for i := range seqs {
			seqs[i] = int64(i)
		}
		for i := 1; i+1 < n; i++ { // displaced by at most a few places; the first stays first
			if j := min(n-1, i+rapid.IntRange(0, 8).Draw(t, "shift")); j != i {
				seqs[i], seqs[j] = seqs[j], seqs[i]
			}
		}
		for _, seq := range seqs {
			b.push(&packet{seq: seq, received: time.Time{}.Add(1)})
		}
		if !slices.IsSorted(got.seqs) || len(slices.Compact(slices.Clone(got.seqs))) != len(got.seqs) {
			t.Fatalf("not ascending: %v", got.seqs)
		}
		if len(got.seqs)+got.lost+len(b.waiting) < n-int(b.late) {
			t.Fatalf("%d of %d unaccounted for", n-len(got.seqs)-got.lost, n)
		}
	})
}

func TestUnwrapperGoesOnOverTheWrap(t *testing.T) {
	u := unwrapper{bits: 16}
	first := u.next(65534)
	for i, v := range []uint32{65535, 0, 1, 65535, 2, 3} {
		want := []int64{1, 2, 3, 1, 4, 5}[i]
		if got := u.next(v) - first; got != want {
			t.Errorf("%d after 65534: %d on, want %d", v, got, want)
		}
	}
}
