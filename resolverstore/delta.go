package resolverstore

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// state is all that is known of a session: what a process holds of it, and what Redis stores.
type state struct {
	record Session
	call   *call
}

// delta is how a session's hash changes.
type delta struct {
	sets []string // field, value, field, value, …
	dels []string
}

func (d *delta) set(field, value string) { d.sets = append(d.sets, field, value) }

func (d *delta) empty() bool { return len(d.sets) == 0 && len(d.dels) == 0 }

// diff returns what changes the hash of old into that of s. A nil old is an empty hash.
func (s *state) diff(old *state) delta {
	var d delta
	was := old
	if was == nil {
		was = &state{call: newCall(s.call.cfg, 0)}
	}
	if rec := encodeRecord(&s.record); old == nil || rec != encodeRecord(&was.record) {
		d.set(fieldRecord, rec)
	}
	if f := encodeFence(s.record.Fence); old == nil || f != encodeFence(was.record.Fence) {
		d.set(fieldFence, f)
	}
	switch now, before := s.record.Sealed, was.record.Sealed; {
	case bytes.Equal(now, before):
	case len(now) == 0:
		d.dels = append(d.dels, fieldSealed)
	default:
		d.set(fieldSealed, string(now))
	}
	if c := s.call.counters(); old == nil || c != was.call.counters() {
		d.set(fieldCounters, c.encode())
	}
	a, b := was.call, s.call
	diffMap(&d, a.participants, b.participants, func(id string) string { return string(fieldParticipant) + id }, sameParticipant)
	diffMap(&d, a.publications, b.publications, fieldOf, samePublication)
	diffMap(&d, a.media, b.media, func(id string) string { return string(fieldMedia) + id }, sameMedium)
	diffMap(&d, a.tracks, b.tracks, func(id string) string { return string(fieldTrack) + id }, sameStoredTrack)
	diffTombstones(&d, a.tombstones.left, b.tombstones.left)
	diffHistory(&d, fieldDead, a.dead.order, b.dead.order, encodeDead)
	diffHistory(&d, fieldRemoval, a.removals, b.removals, encodeRemoval)
	diffProposals(&d, a.proposed, b.proposed)
	return d
}

func diffMap[K comparable, V any, P interface {
	*V
	encode() string
}](d *delta, old, now map[K]P, field func(K) string, same func(a, b P) bool) {
	for k, v := range now {
		if was, known := old[k]; !known || !same(was, v) {
			d.set(field(k), v.encode())
		}
	}
	for k := range old {
		if _, still := now[k]; !still {
			d.dels = append(d.dels, field(k))
		}
	}
}

func sameParticipant(a, b *participant) bool { return *a == *b }

func samePublication(a, b *publication) bool {
	return a.TrackID == b.TrackID && a.MID == b.MID && a.Muted == b.Muted && a.order == b.order && a.rule == b.rule &&
		a.strict == b.strict && a.since.Equal(b.since)
}

func sameMedium(a, b *medium) bool {
	return a.Media == b.Media && a.former == b.former && a.since.Equal(b.since) && a.arrive.Equal(b.arrive) &&
		a.orphanOf == b.orphanOf && a.heldUntil.Equal(b.heldUntil)
}

func sameStoredTrack(a, b *track) bool {
	refA, mediaA := a.joins()
	refB, mediaB := b.joins()
	return refA == refB && mediaA == mediaB && a.kind == b.kind && a.lingerUntil.Equal(b.lingerUntil) &&
		a.lingerEnd == b.lingerEnd && a.former == b.former && a.shown.Revision == b.shown.Revision
}

func diffTombstones(d *delta, old, now map[string]tombstone) {
	for id, t := range now {
		if was, known := old[id]; !known || was.sequence != t.sequence || !was.until.Equal(t.until) {
			d.set(string(fieldTombstone)+id, t.encode())
		}
	}
	for id := range old {
		if _, still := now[id]; !still {
			d.dels = append(d.dels, string(fieldTombstone)+id)
		}
	}
}

func diffHistory[T any](d *delta, kind byte, old, now *history[T], encode func(past[T]) string) {
	for n := old.first; n < min(now.first, old.next()); n++ {
		d.dels = append(d.dels, numbered(kind, n))
	}
	for n := max(old.next(), now.first); n < now.next(); n++ {
		d.set(numbered(kind, n), encode(now.items[n-now.first]))
	}
}

func diffProposals(d *delta, old, now map[proposal]time.Time) {
	if len(old) == 0 && len(now) == 0 {
		return
	}
	before, after := encodeProposals(old), encodeProposals(now)
	for i, v := range after {
		if i >= len(before) || before[i] != v {
			d.set(numbered(fieldProposal, uint64(i)), v)
		}
	}
	for i := len(after); i < len(before); i++ {
		d.dels = append(d.dels, numbered(fieldProposal, uint64(i)))
	}
}

// parse reads a whole hash.
func parse(cfg *Config, key SessionKey, fields map[string]string) (*state, error) {
	s := &state{call: newCall(cfg, 0)}
	sets := make([]string, 0, 2*len(fields))
	for _, must := range []string{fieldRecord, fieldFence, fieldCounters} {
		if fields[must] == "" {
			return nil, fmt.Errorf("field %q: %w", must, errWire)
		}
	}
	for f, v := range fields {
		sets = append(sets, f, v)
	}
	if err := s.apply(delta{sets: sets}); err != nil {
		return nil, err
	}
	if s.record.Key != key {
		return nil, fmt.Errorf("it is the session %q: %w", s.record.Key.ID, errWire)
	}
	return s, nil
}

// apply changes s by a delta that leads from it. After an error s is of no use.
func (s *state) apply(d delta) error {
	c := s.call
	p := patch{state: s, publications: map[PublicationRef]publication{}}
	for _, f := range d.dels {
		if err := p.del(f); err != nil {
			return err
		}
	}
	for i := 0; i+1 < len(d.sets); i += 2 {
		if err := p.set(d.sets[i], d.sets[i+1]); err != nil {
			return fmt.Errorf("field %q: %w", d.sets[i], err)
		}
	}
	if err := p.finish(); err != nil {
		return err
	}
	s.record.Revision = c.revision
	return nil
}

// patch is an apply that is under way.
type patch struct {
	*state
	publications map[PublicationRef]publication
	participants []string // that were set
	tracks       []trackValue
	dead         []numberedPast[string]
	removals     []numberedPast[removal]
	counters     *counters
	// proposals by number are only kept in the hash: which number a proposal has follows from their order.
	proposals map[uint64]string
	lost      map[uint64]bool
}

type numberedPast[T any] struct {
	n uint64
	past[T]
}

func (p *patch) del(f string) error {
	c := p.call
	if f == "" {
		return errWire
	}
	switch id := f[1:]; f[0] {
	case fieldParticipant:
		delete(c.participants, id)
	case fieldPublication:
		ref, err := refOf(f)
		if err != nil {
			return err
		}
		delete(c.publications, ref)
	case fieldMedia:
		delete(c.media, id)
	case fieldTrack:
		if t := c.tracks[id]; t != nil {
			t.unlink()
			delete(c.tracks, id)
		}
	case fieldTombstone:
		delete(c.tombstones.left, id)
	case fieldSealed[0]:
		p.record.Sealed = nil
	case fieldProposal:
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return errWire
		}
		if p.lost == nil {
			p.lost = map[uint64]bool{}
		}
		p.lost[n] = true
	}
	return nil // What is dropped from a history follows from the counters.
}

func (p *patch) set(f, v string) (err error) {
	c := p.call
	if f == "" {
		return errWire
	}
	id := f[1:]
	switch f[0] {
	case fieldVersion[0]:
	case fieldRecord[0]:
		fence, sealed := p.record.Fence, p.record.Sealed
		p.record, err = decodeRecord(v)
		p.record.Fence, p.record.Sealed = fence, sealed
	case fieldFence[0]:
		p.record.Fence, err = decodeFence(v)
	case fieldSealed[0]:
		p.record.Sealed = []byte(v)
	case fieldCounters[0]:
		var n counters
		n, err = decodeCounters(v)
		p.counters = &n
	case fieldParticipant:
		var one participant
		if one, err = decodeParticipant(v); err == nil && one.ID != id {
			err = errWire
		}
		c.participants[id] = &one
		p.participants = append(p.participants, id)
	case fieldPublication:
		return p.setPublication(f, v)
	case fieldMedia:
		return p.setMedium(id, v)
	case fieldTrack:
		var t trackValue
		if t, err = decodeTrack(v); err == nil && t.id != id {
			err = errWire
		}
		p.tracks = append(p.tracks, t)
	case fieldTombstone:
		c.tombstones.left[id], err = decodeTombstone(v)
	default:
		return p.setNumbered(f[0], id, v)
	}
	return err
}

func (p *patch) setPublication(f, v string) error {
	ref, err := refOf(f)
	if err != nil || ref.Source.Kind() == 0 {
		return errWire
	}
	p.publications[ref], err = decodePublication(v)
	return err
}

func (p *patch) setMedium(id, v string) error {
	m, err := decodeMedium(v)
	if err != nil || m.ID != id {
		return errWire
	}
	if known := p.call.media[id]; known != nil {
		m.pub, m.track = known.pub, known.track
		*known = m
		return nil
	}
	p.call.media[id] = &m
	return nil
}

func (p *patch) setNumbered(kind byte, id, v string) error {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return errWire
	}
	switch kind {
	case fieldDead:
		one, err := decodeDead(v)
		p.dead = append(p.dead, numberedPast[string]{n, one})
		return err
	case fieldRemoval:
		one, err := decodeRemoval(v)
		p.removals = append(p.removals, numberedPast[removal]{n, one})
		return err
	case fieldProposal:
		_, _, err := decodeProposal(v)
		if p.proposals == nil {
			p.proposals = map[uint64]string{}
		}
		p.proposals[n] = v
		return err
	default:
		return nil // of a later version
	}
}

// finish puts together what only fits once all fields are read.
func (p *patch) finish() error {
	c := p.call
	for ref, pub := range p.publications {
		who := c.participants[ref.ParticipantID]
		if who == nil {
			return fmt.Errorf("a publication of nobody: %w", errWire)
		}
		pub.Source, pub.Participant = ref.Source, who.Participant
		if known := c.publications[ref]; known != nil {
			pub.track, pub.media = known.track, known.media
			*known = pub
		} else {
			c.publications[ref] = &pub
		}
	}
	for _, id := range p.participants {
		for source := Camera; source <= ScreenShareAudio; source++ {
			if pub := c.publications[PublicationRef{id, source}]; pub != nil {
				pub.Participant = c.participants[id].Participant
			}
		}
	}
	if err := p.finishTracks(); err != nil {
		return err
	}
	n := c.counters()
	if p.counters != nil {
		n = *p.counters
		c.set(n)
	}
	c.dead.ids = nil
	if err := finishHistory(c.dead.order, n.firstDead, p.dead); err != nil {
		return err
	}
	if err := finishHistory(c.removals, n.firstRemoval, p.removals); err != nil {
		return err
	}
	return p.finishProposals()
}

func (p *patch) finishTracks() error {
	c := p.call
	fresh := make([]*track, len(p.tracks))
	for i, v := range p.tracks {
		if known := c.tracks[v.id]; known != nil {
			known.unlink()
			*known = v.track
			fresh[i] = known
		} else {
			t := v.track
			c.tracks[v.id] = &t
			fresh[i] = &t
		}
	}
	for i, v := range p.tracks {
		if !c.link(fresh[i], v.ref, v.mediaID) {
			return fmt.Errorf("a track of nothing: %w", errWire)
		}
	}
	for i, v := range p.tracks {
		fresh[i].shown = fresh[i].view()
		fresh[i].shown.Revision = v.revision
	}
	return nil
}

// finishHistory drops what is before first, and adds what follows; a gap is a fault.
func finishHistory[T any](h *history[T], first uint64, added []numberedPast[T]) error {
	slices.SortFunc(added, func(a, b numberedPast[T]) int { return cmp.Compare(a.n, b.n) })
	if len(h.items) == 0 {
		h.first = first
	}
	for h.first < first && len(h.items) > 0 {
		h.drop()
	}
	h.first = max(h.first, first)
	for _, one := range added {
		if one.n != h.next() {
			return fmt.Errorf("a gap in a history: %w", errWire)
		}
		h.items = append(h.items, one.past)
	}
	return nil
}

func (p *patch) finishProposals() error {
	if p.proposals == nil && p.lost == nil {
		return nil
	}
	now := map[uint64]string{}
	for i, v := range encodeProposals(p.call.proposed) {
		now[uint64(i)] = v
	}
	for n := range p.lost {
		delete(now, n)
	}
	for n, v := range p.proposals {
		now[n] = v
	}
	p.call.proposed = map[proposal]time.Time{}
	for _, v := range now {
		one, since, err := decodeProposal(v)
		if err != nil {
			return err
		}
		p.call.proposed[one] = since
	}
	return nil
}
