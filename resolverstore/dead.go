package resolverstore

import "time"

// lateDead is how many more removed media are remembered than a session can hold at one time.
const lateDead = 1024

// deadMedia remembers the ids of media that the receiver removed, so that a fact that comes late does not bring one back:
// the receiver never uses an id again. It has bounds: all media that a session can hold may be removed at once, and none
// of them is forgotten before lateDead more were removed, or HistoryTTL has passed.
type deadMedia struct {
	order *history[string]
	ids   map[string]struct{} // of order; nil until it is needed, since a clone often does without
}

func newDeadMedia(maxMedia int) *deadMedia {
	return &deadMedia{order: newHistory[string](max(maxMedia, 0) + lateDead)}
}

func (d *deadMedia) add(id string, now time.Time) {
	if d.has(id) {
		return
	}
	d.ids[id] = struct{}{}
	if old, dropped := d.order.add(id, now); dropped {
		delete(d.ids, old)
	}
}

func (d *deadMedia) has(id string) bool {
	if d.ids == nil {
		d.ids = make(map[string]struct{}, len(d.order.items))
		d.order.all(func(id string) { d.ids[id] = struct{}{} })
	}
	_, ok := d.ids[id]
	return ok
}

// expire forgets what was removed before a time.
func (d *deadMedia) expire(before time.Time) {
	for at, some := d.order.oldest(); some && !at.After(before); at, some = d.order.oldest() {
		if old := d.order.drop(); d.ids != nil {
			delete(d.ids, old)
		}
	}
}

func (d *deadMedia) clone() *deadMedia { return &deadMedia{order: d.order.clone()} }
