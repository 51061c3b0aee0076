package rtcpool

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool/internal/offer"
	"go.opentelemetry.io/otel/trace"
)

// entry is one received media: a media description for as long as it belongs to the same sender.
// Fields without a remark are owned by the session's goroutine.
type entry struct {
	id     string
	peer   *peer
	facts  offer.Section
	born   time.Duration    // by the feedback's clock
	codecs [128]media.Codec // by payload type
	track  *media.Track

	announced, negotiated trace.SpanContext // the first and the last negotiation that said so

	writing sync.Mutex    // one reader writes at a time, also while one takes over from another
	seen    atomic.Uint64 // the last packet's SSRC << 8 | payload type | 0x80; 0 before the first

	main   seat
	layers atomic.Pointer[[]*seat] // nil where the media have no encodings; copied on write

	declared atomic.Uint32 // the SSRC that the offer names first, to ask for a key frame before any packet
	terms    atomic.Pointer[offer.Terms]
}

// snapshot is what is reported of an entry.
func (e *entry) snapshot() Media {
	m := Media{
		ID: e.id, Generation: e.peer.generation, MID: e.facts.MID, StreamID: e.facts.StreamID, TrackID: e.facts.TrackID,
		Kind: e.facts.Kind, Active: e.facts.Sending, Track: e.track,
	}
	if seen := e.seen.Load(); seen != 0 {
		m.SSRC = uint32(seen >> 8) //nolint:gosec // 32 bits were put in
		m.Codec = e.codecs[seen&0x7f]
	}
	return m
}

// readFacts compares the media with the offer that was just applied: what goes on is left alone, what now belongs to
// another sender ends and begins anew.
func (s *Session) readFacts(p *peer) {
	var negotiated map[string]*offer.Terms
	if local := p.pc.LocalDescription(); local != nil {
		negotiated = offer.ReadTerms(local.SDP)
	}
	p.feedback.transportCC.Store(uint32(offer.TransportCC(negotiated)))
	var now []*offer.Section
	for i := range p.last.Sections {
		f := &p.last.Sections[i]
		if _, taken := negotiated[f.MID]; taken && f.Accepted() && f.Kind != media.KindUnknown {
			now = append(now, f)
		}
	}
	before := p.sinks()
	s.removeEntries(func(e *entry) bool {
		if e.peer != p {
			return false
		}
		return !slices.ContainsFunc(now, func(f *offer.Section) bool { return f.MID == e.facts.MID && e.goesOn(f) })
	})
	for _, f := range now {
		e := s.entryOf(p, f.MID)
		switch {
		case e != nil:
			e.update(f)
		case f.Sending:
			e = s.addEntry(p, f)
		default:
			continue // a media description that never sent announces nothing
		}
		if e != nil {
			e.negotiated = p.negotiated
			e.setTerms(negotiated[f.MID])
		}
	}
	p.bindReaders(before)
	s.report()
}

// goesOn tells whether a media description still belongs to the same sender: it pauses, or has the msid that it had, or the source,
// under a new name.
func (e *entry) goesOn(f *offer.Section) bool {
	if f.Kind != e.facts.Kind {
		return false
	}
	if !f.Sending {
		return true
	}
	if f.StreamID == e.facts.StreamID && f.TrackID == e.facts.TrackID {
		return true
	}
	return e.renamed(f) && slices.ContainsFunc(f.SSRCs, func(n uint32) bool { return slices.Contains(e.facts.SSRCs, n) })
}

// renamed tells whether another msid on the same source can be a new name of the same track: it was nameless, or is, or the track id is
// kept. Another track id is another track (RFC 8830), whose frames must not be taken for those of this one; without
// track ids the stream id decides.
func (e *entry) renamed(f *offer.Section) bool {
	was, is := &e.facts, f
	switch {
	case was.StreamID == "" && was.TrackID == "", is.StreamID == "" && is.TrackID == "":
		return true
	case was.TrackID == "" || is.TrackID == "":
		return was.StreamID == is.StreamID || was.StreamID == "" || is.StreamID == ""
	}
	return was.TrackID == is.TrackID
}

// update takes over new facts, and tells consumers of a pause. A pause leaves out the msid and the sources (RFC 9429 section 5.2.1): they are remembered.
func (e *entry) update(f *offer.Section) {
	next := *f
	if !f.Sending {
		if next.StreamID == "" && next.TrackID == "" {
			next.StreamID, next.TrackID = e.facts.StreamID, e.facts.TrackID
		}
		if len(next.SSRCs) == 0 {
			next.SSRCs = e.facts.SSRCs
		}
	}
	e.facts = next
	e.declare()
	e.setLayers()
	e.track.SetPaused(!next.Sending, false)
}

func (e *entry) declare() {
	ssrc := uint32(0)
	if len(e.facts.SSRCs) > 0 {
		ssrc = e.facts.SSRCs[0]
	}
	e.declared.Store(ssrc)
}

func (e *entry) setTerms(t *offer.Terms) {
	e.codecs = [128]media.Codec{}
	for _, c := range t.Receive.Codecs {
		e.codecs[c.PayloadType&0x7f], _ = t.Carried(c.PayloadType)
	}
	e.terms.Store(t)
	e.track.SetParameters(t.Receive)
}

func (s *Session) addEntry(p *peer, f *offer.Section) *entry {
	e := &entry{id: s.pool.newMediaID(), peer: p, facts: *f, born: p.feedback.now(), announced: p.negotiated}
	e.main.begin(e)
	e.track = media.NewTrack(media.TrackConfig{
		Kind: f.Kind, Pool: s.pool.cfg.Decoders, RequestKeyFrame: e.main.requestKeyFrame,
		MaxPicturePixels: s.pool.cfg.MaxPicturePixels, Logger: s.log.With("media", e.id),
	})
	e.declare()
	e.setLayers()
	s.entries = append(s.entries, e)
	return e
}

func (s *Session) entryOf(p *peer, mid string) *entry {
	for _, e := range s.entries {
		if e.peer == p && e.facts.MID == mid {
			return e
		}
	}
	return nil
}

// removeEntries ends the media that are gone. Their readers go on to read, and throw away.
func (s *Session) removeEntries(gone func(*entry) bool) {
	s.entries = slices.DeleteFunc(s.entries, func(e *entry) bool {
		if !gone(e) {
			return false
		}
		for _, r := range e.peer.readers {
			r.sink.CompareAndSwap(e, nil)
		}
		e.peer.retire(e.facts.SSRCs)
		reason := media.EndMediaGone
		if e.peer.ctx.Err() != nil || e.peer.state == StateClosed || s.ctx.Err() != nil {
			reason = media.EndClosed
		}
		e.track.End(reason)
		return true
	})
}

// report tells the observer what has changed since the last report.
func (s *Session) report() {
	var d MediaDiff
	next := make(map[string]Media, len(s.entries))
	var spans map[string][]trace.SpanContext
	for _, e := range s.entries {
		m := e.snapshot()
		next[m.ID] = m
		if e.announced.IsSampled() || e.negotiated.IsSampled() {
			if spans == nil {
				spans = make(map[string][]trace.SpanContext)
			}
			spans[m.ID] = []trace.SpanContext{e.announced, e.negotiated}
		}
		switch old, known := s.view[m.ID]; {
		case !known:
			d.Added = append(d.Added, m)
		case old != m:
			d.Updated = append(d.Updated, m)
		}
	}
	for id, m := range s.view {
		if _, still := next[id]; !still {
			d.Removed = append(d.Removed, m)
		}
	}
	s.mu.Lock()
	s.view, s.spans = next, spans
	s.mu.Unlock()
	if len(d.Added)+len(d.Updated)+len(d.Removed) == 0 {
		return
	}
	s.observer.MediaChanged(d)
}
