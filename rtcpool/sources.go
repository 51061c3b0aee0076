package rtcpool

import (
	"slices"
	"time"

	"github.com/pion/webrtc/v4"
)

// lateness is longer than packets are under way.
const lateness = 2 * time.Second

// maxRetired bounds the sources of one peer connection that are remembered after their media are gone.
const maxRetired = 1024

// trackSource is a source that pion receives.
type trackSource struct {
	*webrtc.TrackRemote
	receiver *webrtc.RTPReceiver
}

func (t *trackSource) read(b []byte) (int, error) {
	n, _, err := t.Read(b)
	return n, err
}

func (t *trackSource) readRTCP(b []byte) (int, error) {
	n, _, err := t.receiver.Read(b)
	return n, err
}

// sinkOfStray returns the media that a source belongs to which no offer declared when it began, or nil while none is known.
// What an offer declares now decides; then the mid of its packets, then their payload type when one media description
// alone has it. A source that belonged to media which are gone feeds others only when what was under way for those must have come.
func (s *Session) sinkOfStray(r *reader) *entry {
	p, st := r.peer, r.stray
	if p.last == nil {
		return nil
	}
	e := s.entryOfSource(p, st.ssrc)
	declared := e != nil
	if !declared && !p.last.DeclaresOther(st.ssrc) {
		if st.mid != "" {
			e = s.entryOf(p, st.mid)
		} else if e = s.entryByID(r.owner); e == nil { // what was decided once is not made doubtful by a new description
			e = s.onlyWithPayloadType(p, st)
		}
	}
	if e == nil || e.facts.Kind != st.kind || !e.facts.Sending || e.seat(r) == nil {
		return nil
	}
	another := r.owner != "" && r.owner != e.id || r.owner == "" && slices.Contains(p.retired, st.ssrc)
	if again := e.born + lateness; !declared && another && p.feedback.now() < again {
		r.again.Store(int64(again))
		return nil
	}
	r.owner = e.id
	return e
}

// lookAgain gives media to the strays that had to wait. A packet of theirs wakes the session.
func (s *Session) lookAgain(p *peer) {
	for _, r := range p.readers {
		if r.stray != nil && r.again.Load() != 0 && r.sink.Load() == nil {
			r.sink.Store(s.sinkOf(r))
		}
	}
}

// waits wakes the session when a stray without media has waited long enough.
func (r *reader) waits(received time.Duration) {
	if at := r.again.Load(); at != 0 && int64(received) >= at && r.again.CompareAndSwap(at, int64(received+lateness)) {
		r.peer.session.changed()
	}
}

// entryOfSource returns the media whose offer declares the source.
func (s *Session) entryOfSource(p *peer, ssrc uint32) *entry {
	for _, e := range s.entries {
		if e.peer == p && e.facts.Sending && slices.Contains(e.facts.SSRCs, ssrc) {
			return e
		}
	}
	return nil
}

func (s *Session) entryByID(id string) *entry {
	for _, e := range s.entries {
		if e.id == id {
			return e
		}
	}
	return nil
}

// onlyWithPayloadType returns the only media without a declared source that sends such packets.
func (s *Session) onlyWithPayloadType(p *peer, st *stray) *entry {
	var found *entry
	for _, e := range s.entries {
		if e.peer != p || !e.facts.Sending || len(e.facts.SSRCs) > 0 || e.facts.Kind != st.kind {
			continue
		}
		_, repairs := e.feedback().Original(st.payloadType)
		if e.clockRate(st.payloadType) == 0 && !repairs {
			continue
		}
		if found != nil {
			return nil
		}
		found = e
	}
	return found
}

// retire remembers the sources of media that are gone.
func (p *peer) retire(ssrcs []uint32) {
	p.retired = append(p.retired, ssrcs...)
	if over := len(p.retired) - maxRetired; over > 0 {
		p.retired = slices.Delete(p.retired, 0, over)
	}
}

// repairOf gives a packet of a stream of repairs to the reader of the source that it repairs.
func (r *reader) repairOf(e *entry, raw []byte, received time.Time) {
	var repaired *reader
	if e != nil {
		if s := e.seat(r); s != nil {
			repaired = s.voice.Load()
		}
		for _, other := range r.peer.feedback.list() {
			if repaired == nil && other.sink.Load() == e && other.rid() == r.rid() {
				repaired = other
			}
		}
	}
	if repaired == nil {
		r.unbound(raw, received)
		return
	}
	repaired.retransmission(raw, received)
}
