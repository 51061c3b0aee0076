package resolverstore

import (
	"fmt"
	"testing"
	"time"
)

// A removal may overtake the fact that it takes back: what was removed is dead, whatever comes after.
func TestR18_RemovedBeforeItWasPut(t *testing.T) {
	f := newFixture(t, newTestMemory(t, atOnce))
	f.mustApply(joined("ann1"), published("ann1", Camera))
	f.remove("m1")
	f.put(of("m1", "ann1", Camera))
	f.want(nil)
	m2 := of("m2", "ann1", Camera)
	if err := f.store.ApplyMedia(f.ctx, f.key, f.fence, MediaDiff{Put: []Media{m2}, Removed: []string{"m2"}}); err != nil {
		t.Fatal(err)
	}
	f.want(nil)
	f.put(of("m3", "ann1", Camera))
	f.want(map[string]string{name("ann1", Camera): "m3"})
}

// All that a session can hold may be removed at once, and each of it told late.
func TestR18_EveryRemovedMediaStaysDead(t *testing.T) {
	const most = 3 * lateDead
	f := newFixture(t, newTestMemory(t, Config{Settle: -1, MaxMedia: most, MaxTombstones: 1}))
	f.mustApply(joined("ann1"), published("ann1", Camera))
	all, ids := make([]Media, most), make([]string, most)
	for i := range all {
		all[i] = of(fmt.Sprint("m", i), "nobody", Camera)
		ids[i] = all[i].ID
	}
	f.put(all...)
	f.remove(ids...)
	for i := range all {
		all[i].StreamID = of("", "ann1", Camera).StreamID
		f.put(all[i])
		if i%512 == 0 {
			f.want(nil)
		}
	}
	f.want(nil)
}

// The memory of removed media has bounds, and an id that is removed twice takes one place.
func TestDeadMediaHasBounds(t *testing.T) {
	d, now := newDeadMedia(2), time.Now()
	for range 3 * lateDead {
		d.add("twice", now)
	}
	for i := range lateDead + 1 {
		d.add(fmt.Sprint(i), now)
	}
	if !d.has("twice") || !d.has("0") {
		t.Error("forgotten early")
	}
	for i := range 10 * lateDead {
		d.add(fmt.Sprint("more", i), now)
	}
	if len(d.ids) != lateDead+2 || len(d.order.items) != lateDead+2 || d.has("twice") {
		t.Errorf("%d ids, %d in order", len(d.ids), len(d.order.items))
	}
}
