package resolverstore

// lateDead is how many more removed media are remembered than a session can hold at one time.
const lateDead = 1024

// deadMedia remembers the ids of media that the receiver removed, so that a fact that comes late does not bring one back:
// the receiver never uses an id again. It has bounds: all media that a session can hold may be removed at once, and none
// of them is forgotten before lateDead more were removed.
type deadMedia struct {
	ids   map[string]struct{}
	order *ring[string]
}

func newDeadMedia(maxMedia int) *deadMedia {
	return &deadMedia{ids: map[string]struct{}{}, order: newRing[string](max(maxMedia, 0) + lateDead)}
}

func (d *deadMedia) add(id string) {
	if d.has(id) {
		return
	}
	d.ids[id] = struct{}{}
	if old, dropped := d.order.add(id); dropped {
		delete(d.ids, old)
	}
}

func (d *deadMedia) has(id string) bool {
	_, ok := d.ids[id]
	return ok
}
