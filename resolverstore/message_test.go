package resolverstore

import (
	"slices"
	"strings"
	"testing"
)

// FuzzMessage: junk on a channel is a fault or a message, never a panic, and what is written is read.
func FuzzMessage(f *testing.F) {
	for _, m := range []message{
		{kind: messageDelta, from: "1.a.b", to: "2.a.c", delta: delta{sets: []string{"v", "x", "m\x00", ""}, dels: []string{"t1"}}},
		{kind: messageLook}, {kind: messageDoubt, to: "x"},
	} {
		f.Add(m.encode())
	}
	f.Add("\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := decodeMessage(s)
		if err != nil {
			return
		}
		again, err := decodeMessage(m.encode())
		if err != nil || again.kind != m.kind || again.from != m.from || again.to != m.to {
			t.Fatalf("%+v is read as %+v, %v", m, again, err)
		}
		if m.kind == messageDelta && (!slices.Equal(again.delta.sets, m.delta.sets) || !slices.Equal(again.delta.dels, m.delta.dels)) {
			t.Fatalf("%+v is read as %+v", m.delta, again.delta)
		}
	})
}

// TestLargeChangesAreOnlyAnnounced: a message has a bound, beyond which whoever hears it reads the session.
func TestLargeChangesAreOnlyAnnounced(t *testing.T) {
	m := message{kind: messageDelta, from: "1.a.b", to: "2.a.c", delta: delta{sets: []string{"p", strings.Repeat("x", maxMessage)}}}
	got, err := decodeMessage(m.encode())
	if err != nil || got.kind != messageLook || got.to != "2.a.c" || len(got.delta.sets) != 0 {
		t.Errorf("%+v %v", got, err)
	}
}
