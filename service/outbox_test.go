package service

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/rtcpool"
)

// drained returns what an outbox holds, and closes it.
func drained(o *outbox) []*penstockv1.SignalResponse {
	o.close()
	var out []*penstockv1.SignalResponse
	for {
		m, ok := o.next(context.Background())
		if !ok {
			return out
		}
		out = append(out, m)
	}
}

// TestOutboxMerges puts a million states of a few subjects: each is sent once, in the order in which they first came, with the last state.
func TestOutboxMerges(t *testing.T) {
	o := newOutbox()
	const subjects = 3
	for i := range 1_000_000 {
		g := uint64(i % subjects)
		o.put(subject{kind: aboutState, generation: g}, protoState(g, rtcpool.State(i%4)))
	}
	o.put(subject{kind: aboutTrack, id: "gone"}, &penstockv1.SignalResponse{})
	if o.take(subject{kind: aboutTrack, id: "gone"}) == nil || o.take(subject{kind: aboutTrack, id: "gone"}) != nil {
		t.Error("what was taken is there, or was not")
	}
	got := drained(o)
	if len(got) != subjects {
		t.Fatalf("%d messages of %d subjects", len(got), subjects)
	}
	for g, m := range got {
		last := (1_000_000 - subjects) + (g+2)%subjects // 999 999 is of subject 0
		want := protoState(uint64(g), rtcpool.State(last%4))
		if fmt.Sprint(m) != fmt.Sprint(want) {
			t.Errorf("message %d is %v, want %v", g, m, want)
		}
	}
	o.put(subject{kind: aboutDrain}, &penstockv1.SignalResponse{})
	if len(drained(o)) != 0 {
		t.Error("a closed outbox takes more")
	}
}

// TestOutboxDrops drops some subjects and keeps the order of the others.
func TestOutboxDrops(t *testing.T) {
	o := newOutbox()
	for g := range uint64(10) {
		o.put(subject{kind: aboutState, generation: g}, protoState(g, rtcpool.StateNew))
	}
	o.drop(func(s subject) bool { return s.generation%2 == 0 })
	var got []uint64
	for _, m := range drained(o) {
		got = append(got, m.GetConnectionState().GetGeneration())
	}
	if fmt.Sprint(got) != "[1 3 5 7 9]" {
		t.Errorf("left are %v", got)
	}
}

// TestOutboxBoundsReplies lets ten goroutines reply to a caller that does not read: no more than the bound wait, the others are held up, and all
// come through, each goroutine's in order, when it reads.
func TestOutboxBoundsReplies(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	o := newOutbox()
	const lanes, each = 10, 50
	var working sync.WaitGroup
	for l := range uint64(lanes) {
		working.Go(func() {
			for i := range uint64(each) {
				if err := o.reply(ctx, &penstockv1.SignalResponse{RequestId: l*each + i}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	next := map[uint64]uint64{}
	for range lanes * each {
		if n := len(o.slots); n > maxReplies {
			t.Fatalf("%d replies wait", n)
		}
		m, ok := o.next(ctx)
		if !ok {
			t.Fatal("no more")
		}
		l, i := m.GetRequestId()/each, m.GetRequestId()%each
		if next[l] != i {
			t.Fatalf("lane %d: reply %d, want %d", l, i, next[l])
		}
		next[l]++
	}
	working.Wait()
	for range maxReplies {
		must(t, o.reply(ctx, &penstockv1.SignalResponse{}))
	}
	over, stop := context.WithCancelCause(ctx)
	stop(errSignalReplaced)
	if err := o.reply(over, &penstockv1.SignalResponse{}); !errors.Is(err, errSignalReplaced) {
		t.Errorf("a reply beyond the bound: %v", err)
	}
	if _, ok := o.next(over); ok {
		t.Error("a conversation that is over sends")
	}
}
