package resolverstore

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// This file is the values of a session's hash, in the form of wire.go.

func encodeRecord(s *Session) string {
	w := newWriter().text(s.Key.Tenant).text(s.Key.ID).uint(uint64(s.State)).uint(uint64(s.Source)).text(s.RequestHash).
		uint(s.Generation).uint(s.MinGeneration).text(s.OwnerAddress).uint(uint64(s.EndReason)).uint(uint64(s.Grace)).
		time(s.Created).time(s.Expires).uint(uint64(len(s.Labels)))
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		w.text(k).text(s.Labels[k])
	}
	return w.flag(s.contested).done()
}

// decodeRecord reads a record. The fence, what is sealed, and the revision are stored apart.
func decodeRecord(v string) (s Session, err error) {
	r := newReader(v)
	s.Key = SessionKey{Tenant: r.text(), ID: r.text()}
	s.State, s.Source, s.RequestHash = SessionState(r.uint()), SourceKind(r.uint()), r.text()
	s.Generation, s.MinGeneration, s.OwnerAddress = r.uint(), r.uint(), r.text()
	s.EndReason, s.Grace = SessionEndReason(r.uint()), time.Duration(r.uint())
	s.Created, s.Expires = r.time(), r.time()
	for n := r.count(); n > 0; n-- {
		if s.Labels == nil {
			s.Labels = map[string]string{}
		}
		k := r.text()
		s.Labels[k] = r.text()
	}
	s.contested = r.flag()
	if r.err == nil && (s.State == 0 || s.State > SessionEnded) {
		r.err = errWire
	}
	return s, r.err
}

func encodeFence(f Fence) string { return strconv.FormatUint(f.Epoch, 10) + "." + f.Owner }

func decodeFence(v string) (f Fence, err error) {
	epoch, owner, ok := strings.Cut(v, ".")
	if !ok {
		return f, errWire
	}
	f.Owner = owner
	if f.Epoch, err = strconv.ParseUint(epoch, 10, 64); err != nil {
		return f, errWire
	}
	return f, nil
}

// counters are the numbers of a call.
type counters struct {
	generation, order, snapshot, revision, floor uint64
	// firstDead and firstRemoval number what the histories begin with.
	firstDead, firstRemoval uint64
}

func (c *call) counters() counters {
	return counters{c.generation, c.order, c.snapshot, c.revision, c.floor, c.dead.order.first, c.removals.first}
}

func (c counters) encode() string {
	return newWriter().uint(c.generation).uint(c.order).uint(c.snapshot).uint(c.revision).uint(c.floor).
		uint(c.firstDead).uint(c.firstRemoval).done()
}

func decodeCounters(v string) (c counters, err error) {
	r := newReader(v)
	c.generation, c.order, c.snapshot, c.revision, c.floor = r.uint(), r.uint(), r.uint(), r.uint(), r.uint()
	c.firstDead, c.firstRemoval = r.uint(), r.uint()
	return c, r.err
}

// set takes over counters; histories that are empty begin where the counters say.
func (c *call) set(n counters) {
	c.generation, c.order, c.snapshot, c.revision, c.floor = n.generation, n.order, n.snapshot, n.revision, n.floor
}

func (p *participant) encode() string {
	return newWriter().text(p.ID).text(p.UserID).text(p.DisplayName).text(p.LookupPrefix).uint(p.sequence).done()
}

func decodeParticipant(v string) (p participant, err error) {
	r := newReader(v)
	p.Participant = Participant{ID: r.text(), UserID: r.text(), DisplayName: r.text(), LookupPrefix: r.text()}
	p.sequence = r.uint()
	return p, r.err
}

// encode writes all of a publication but its participant, who is a field of its own.
func (p *publication) encode() string {
	return newWriter().text(p.TrackID).text(p.MID).flag(p.Muted).uint(p.order).uint(uint64(p.rule)).flag(p.strict).
		time(p.since).done()
}

func decodePublication(v string) (p publication, err error) {
	r := newReader(v)
	p.TrackID, p.MID, p.Muted = r.text(), r.text(), r.flag()
	p.order, p.rule, p.strict, p.since = r.uint(), rule(r.uint()), r.flag(), r.time()
	return p, r.err
}

func (w *writer) media(m *Media) *writer {
	return w.text(m.ID).text(m.MID).text(m.StreamID).text(m.TrackID).uint(uint64(m.Kind)).uint(uint64(m.Codec)).
		uint(uint64(m.SSRC)).uint(m.Generation).flag(m.Active)
}

func (r *reader) media() Media {
	return Media{
		ID: r.text(), MID: r.text(), StreamID: r.text(), TrackID: r.text(), Kind: Kind(r.uint()), Codec: uint8(r.uint()),
		SSRC: uint32(r.uint()), Generation: r.uint(), Active: r.flag(),
	}
}

func (w *writer) publication(p *Publication) *writer {
	q := &p.Participant
	return w.text(q.ID).text(q.UserID).text(q.DisplayName).text(q.LookupPrefix).uint(uint64(p.Source)).text(p.TrackID).
		text(p.MID).flag(p.Muted)
}

func (r *reader) publication() Publication {
	return Publication{
		Participant: Participant{ID: r.text(), UserID: r.text(), DisplayName: r.text(), LookupPrefix: r.text()},
		Source:      Source(r.uint()), TrackID: r.text(), MID: r.text(), Muted: r.flag(),
	}
}

func (m *medium) encode() string {
	return newWriter().media(&m.Media).text(m.former.ParticipantID).uint(uint64(m.former.Source)).time(m.since).
		time(m.arrive).text(m.orphanOf).time(m.heldUntil).done()
}

func decodeMedium(v string) (m medium, err error) {
	r := newReader(v)
	m.Media = r.media()
	m.former = PublicationRef{ParticipantID: r.text(), Source: Source(r.uint())}
	m.since, m.arrive, m.orphanOf, m.heldUntil = r.time(), r.time(), r.text(), r.time()
	return m, r.err
}

// trackValue is a track with names in place of what it points at. How it was last told follows from those, but for the revision.
type trackValue struct {
	track
	ref      PublicationRef
	mediaID  string
	revision uint64
}

func (t *track) encode() string {
	ref, media := t.joins()
	return newWriter().text(t.id).uint(uint64(t.kind)).text(ref.ParticipantID).uint(uint64(ref.Source)).text(media).
		time(t.lingerUntil).uint(uint64(t.lingerEnd)).publication(&t.former).uint(t.shown.Revision).done()
}

func decodeTrack(v string) (t trackValue, err error) {
	r := newReader(v)
	t.id, t.kind = r.text(), Kind(r.uint())
	t.ref, t.mediaID = PublicationRef{ParticipantID: r.text(), Source: Source(r.uint())}, r.text()
	t.lingerUntil, t.lingerEnd, t.former, t.revision = r.time(), TrackEndReason(r.uint()), r.publication(), r.uint()
	return t, r.err
}

func (t tombstone) encode() string { return newWriter().time(t.until).uint(t.sequence).done() }

func decodeTombstone(v string) (t tombstone, err error) {
	r := newReader(v)
	t.until, t.sequence = r.time(), r.uint()
	return t, r.err
}

func encodeDead(p past[string]) string { return newWriter().time(p.at).text(p.value).done() }

func decodeDead(v string) (p past[string], err error) {
	r := newReader(v)
	p.at, p.value = r.time(), r.text()
	return p, r.err
}

func encodeRemoval(p past[removal]) string {
	t := &p.value.track
	w := newWriter().time(p.at).text(t.ID).uint(uint64(t.Kind)).uint(uint64(t.EndReason)).uint(p.value.revision).
		flag(t.Publication != nil).flag(t.Media != nil)
	if t.Publication != nil {
		w.publication(t.Publication)
	}
	if t.Media != nil {
		w.media(t.Media)
	}
	return w.done()
}

func decodeRemoval(v string) (p past[removal], err error) {
	r := newReader(v)
	p.at = r.time()
	t := Track{ID: r.text(), Kind: Kind(r.uint()), State: TrackEnded, EndReason: TrackEndReason(r.uint()), Revision: r.uint()}
	hasPublication, hasMedia := r.flag(), r.flag()
	if hasPublication {
		pub := r.publication()
		t.Publication = &pub
	}
	if hasMedia {
		m := r.media()
		t.Media = &m
	}
	p.value = removal{track: t, revision: t.Revision}
	return p, r.err
}

func encodeProposals(all map[proposal]time.Time) []string {
	out := make([]string, 0, len(all))
	for p, since := range all {
		out = append(out, newWriter().text(p.ref.ParticipantID).uint(uint64(p.ref.Source)).text(p.media).time(since).done())
	}
	slices.Sort(out)
	return out
}

func decodeProposal(v string) (p proposal, since time.Time, err error) {
	r := newReader(v)
	p.ref, p.media = PublicationRef{ParticipantID: r.text(), Source: Source(r.uint())}, r.text()
	return p, r.time(), r.err
}

// fieldOf names a publication's field.
func fieldOf(ref PublicationRef) string {
	return string([]byte{fieldPublication, byte(ref.Source)}) + ref.ParticipantID
}

// refOf reads the name of a publication's field.
func refOf(field string) (PublicationRef, error) {
	if len(field) < 3 {
		return PublicationRef{}, fmt.Errorf("field %q: %w", field, errWire)
	}
	return PublicationRef{ParticipantID: field[2:], Source: Source(field[1])}, nil
}

// numbered names a field by a number.
func numbered(kind byte, n uint64) string { return string(kind) + strconv.FormatUint(n, 10) }
