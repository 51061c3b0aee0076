package service

import (
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
)

// asked is what is wanted of one track: nothing, or the largest size and rate that anybody asks for. Of numbers 0 is no limit.
type asked struct {
	wanted        bool
	width, height int
	fps           float64
}

// shape is what one consumer asks of a track. Of numbers 0 is no limit.
type shape struct {
	width, height int
	fps           float64
	any           bool // it asks for the track in whatever size
}

// shapeOf returns what a consumer's format asks for. Audio and encoded media have no size to ask for.
func shapeOf(r media.Request) shape {
	if r.Video == nil {
		return shape{}
	}
	return shape{width: r.Video.Width, height: r.Video.Height, fps: r.Video.MaxFPS}
}

// want is one consumer's wish, from the moment it begins to wait for a track. It is guarded by its hub.
type want struct {
	hub      *hub
	selector resolverstore.Selector
	shape    shape
	capped   shape  // what this process can do of it, for now; 0 is no limit
	seeking  bool   // it waits for whatever the selector names
	track    string // the track that serves it, or served it last
}

// demand sums up what is wanted of each of a session's tracks. It is guarded by its hub.
type demand struct {
	wants   map[resolverstore.Selector]map[*want]struct{}
	holders map[string]map[*want]struct{} // by the track that serves them
	tracks  map[string]*wantable
	tell    func(resolverstore.Track, asked)
	forget  func(track string) // it has ended: what was not told of it need not be told
}

// wantable is a track and what was told of it last.
type wantable struct {
	track     resolverstore.Track
	published bool // at some time
	told      bool
	asked     asked // valid when told
}

// newDemand returns a demand of nothing. tell and forget are called while the hub is locked.
func newDemand(tell func(resolverstore.Track, asked), forget func(string)) *demand {
	return &demand{
		wants: make(map[resolverstore.Selector]map[*want]struct{}), holders: make(map[string]map[*want]struct{}),
		tracks: make(map[string]*wantable), tell: tell, forget: forget,
	}
}

// apply takes what changed of the session's tracks. Nothing is told of those that have ended: signalling knows, and what it publishes
// in their place is told of by itself. All is noted before anything is told, so that no state is told that never was.
func (d *demand) apply(changed []resolverstore.Track, removed []string) {
	left := make(map[*want]struct{}) // by what served them, perhaps
	note := func(id string) {
		for w := range d.holders[id] {
			left[w] = struct{}{}
		}
	}
	for _, id := range removed {
		delete(d.tracks, id)
		d.forget(id)
		note(id)
	}
	for _, t := range changed {
		d.put(t)
		note(t.ID)
	}
	for _, t := range changed {
		d.refresh(d.tracks[t.ID])
	}
	for w := range left {
		if w.selector.UserID != "" {
			d.refreshSelected(w.selector)
		}
	}
}

// put notes a track that is new or has changed.
func (d *demand) put(t resolverstore.Track) {
	w := d.tracks[t.ID]
	if w == nil {
		w = &wantable{}
		d.tracks[t.ID] = w
	}
	w.track = t
	switch {
	case t.Publication != nil:
		w.published = true
	case w.published:
		w.told = false // Published again it is news, whatever is wanted.
	}
}

// refreshSelected tells what is news of the tracks that a selector names.
func (d *demand) refreshSelected(sel resolverstore.Selector) {
	for _, t := range d.tracks {
		if selects(sel, t.track) {
			d.refresh(t)
		}
	}
}

// repeat tells again what is wanted of publications that were reported again.
func (d *demand) repeat(of func(resolverstore.PublicationRef) bool) {
	for _, w := range d.tracks {
		p := w.track.Publication
		if p != nil && of(resolverstore.PublicationRef{ParticipantID: p.Participant.ID, Source: p.Source}) {
			w.told = false
			d.refresh(w)
		}
	}
}

// repeatAll tells what is wanted of everything, to somebody who has not been told.
func (d *demand) repeatAll() {
	for _, w := range d.tracks {
		w.told = false
		d.refresh(w)
	}
}

// refresh tells what is wanted of a track if that is news. Of a track that is not published at the moment nothing is told,
// unless it never was and somebody wants it all the same.
func (d *demand) refresh(w *wantable) {
	now := d.sum(w.track)
	if w.track.Publication == nil && (w.published || !w.told && !now.wanted) {
		return
	}
	if w.told && w.asked == now {
		return
	}
	w.told, w.asked = true, now
	d.tell(w.track, now)
}

// sum returns what is wanted of a track.
func (d *demand) sum(t resolverstore.Track) asked {
	var out asked
	sized := false
	add := func(wants map[*want]struct{}) {
		for w := range wants {
			if w.track != t.ID && d.served(w) {
				continue
			}
			out.wanted = true
			if w.shape.any {
				continue
			}
			out.width = larger(out.width, smaller(w.shape.width, w.capped.width), sized)
			out.height = larger(out.height, smaller(w.shape.height, w.capped.height), sized)
			out.fps = larger(out.fps, w.shape.fps, sized)
			sized = true
		}
	}
	add(d.holders[t.ID])
	for _, sel := range selectorsOf(t) {
		add(d.wants[sel])
	}
	return out
}

// served tells whether a want has a track that is published and serves it, and so has no need of another one. A participant's source
// is published but once: another track of it is what will serve.
func (d *demand) served(w *want) bool {
	if w.seeking || w.selector.UserID == "" {
		return false
	}
	t := d.tracks[w.track]
	return t != nil && selects(w.selector, t.track)
}

// larger returns the larger limit, 0 being none; the first one counts as it is.
func larger[N int | float64](a, b N, known bool) N {
	switch {
	case !known:
		return b
	case a == 0 || b == 0:
		return 0
	}
	return max(a, b)
}

// smaller returns the smaller limit, 0 being none.
func smaller(a, b int) int {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// selectorsOf returns every selector that names a track.
func selectorsOf(t resolverstore.Track) []resolverstore.Selector {
	out := []resolverstore.Selector{{TrackID: t.ID}}
	if p := t.Publication; p != nil {
		out = append(out, resolverstore.Selector{ParticipantID: p.Participant.ID, Source: p.Source})
		if p.Participant.UserID != "" {
			out = append(out, resolverstore.Selector{UserID: p.Participant.UserID, Source: p.Source})
		}
	}
	return out
}

// change changes a want and tells what that changes. A want that is over is on no list.
func (d *demand) change(w *want, seeking bool, track string, over bool) {
	before := w.track
	if before != "" {
		release(d.holders, before, w)
	}
	w.seeking, w.track = seeking, track
	if track != "" {
		hold(d.holders, track, w)
	}
	if over {
		release(d.wants, w.selector, w)
	} else {
		hold(d.wants, w.selector, w)
	}
	for _, id := range []string{before, track} {
		if t := d.tracks[id]; t != nil {
			d.refresh(t)
		}
	}
	d.refreshSelected(w.selector)
}

// selects tells whether a selector names a track.
func selects(sel resolverstore.Selector, t resolverstore.Track) bool {
	for _, s := range selectorsOf(t) {
		if s == sel {
			return true
		}
	}
	return false
}

// hold notes a want under a key.
func hold[K comparable](in map[K]map[*want]struct{}, key K, w *want) {
	if in[key] == nil {
		in[key] = make(map[*want]struct{})
	}
	in[key][w] = struct{}{}
}

// release takes it out again.
func release[K comparable](in map[K]map[*want]struct{}, key K, w *want) {
	delete(in[key], w)
	if len(in[key]) == 0 {
		delete(in, key)
	}
}

// seek says that the consumer waits for whatever its selector names. What served it last stays wanted until it ends or
// something else serves: a publication that comes back at once is never unwanted in between.
func (w *want) seek() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.hub.demand.change(w, true, w.track, false)
}

// found says which track serves the consumer.
func (w *want) found(track string) {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.hub.demand.change(w, false, track, false)
}

// limit says what size, in pixels, this process can decode for the consumer at the moment; 0 is no limit.
func (w *want) limit(width, height int) {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if w.capped.width == width && w.capped.height == height {
		return
	}
	w.capped = shape{width: width, height: height}
	if t := w.hub.demand.tracks[w.track]; t != nil {
		w.hub.demand.refresh(t)
	}
}

// close says that the consumer has left. It is idempotent.
func (w *want) close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.hub.demand.change(w, false, "", true)
}
