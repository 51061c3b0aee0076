package rtcpool

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pion/sdp/v3"
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

func (t *trackSource) readRTCP(b []byte) (n int, err error) {
	if rid := t.RID(); rid != "" {
		n, _, err = t.receiver.ReadSimulcast(b, rid)
	} else {
		n, _, err = t.receiver.Read(b)
	}
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
	if !declared && !p.last.declaresOther(st.ssrc) {
		if st.mid != "" {
			e = s.entryOf(p, st.mid)
		} else if e = s.entryByID(r.owner); e == nil { // what was decided once is not made doubtful by a new description
			e = s.onlyWithPayloadType(p, st)
		}
	}
	if e == nil || e.facts.kind != st.kind || !e.facts.sending {
		return nil
	}
	another := r.owner != "" && r.owner != e.id || r.owner == "" && contains(p.retired, st.ssrc)
	if again := e.born.Add(lateness); !declared && another && time.Now().Before(again) {
		r.again.Store(again.UnixNano())
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
func (r *reader) waits(received time.Time) {
	if at := r.again.Load(); at != 0 && received.UnixNano() >= at && r.again.CompareAndSwap(at, received.Add(lateness).UnixNano()) {
		r.peer.session.changed()
	}
}

// entryOfSource returns the media whose offer declares the source.
func (s *Session) entryOfSource(p *peer, ssrc uint32) *entry {
	for _, e := range s.entries {
		if e.peer == p && e.facts.sending && contains(e.facts.ssrcs, ssrc) {
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
		if e.peer != p || !e.facts.sending || len(e.facts.ssrcs) > 0 || e.facts.kind != st.kind {
			continue
		}
		_, repairs := e.feedback().original(st.payloadType)
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

// declaresOther tells whether a source is one that the offer declares beside the one that is received.
func (o *offer) declaresOther(ssrc uint32) bool {
	return slices.ContainsFunc(o.sections, func(s section) bool { return contains(s.otherSSRCs, ssrc) })
}

// retire remembers the sources of media that are gone.
func (p *peer) retire(ssrcs []uint32) {
	p.retired = append(p.retired, ssrcs...)
	if over := len(p.retired) - maxRetired; over > 0 {
		p.retired = slices.Delete(p.retired, 0, over)
	}
}

// admits tells whether a source may be heard now. One that no offer declares takes the place of another such one at once,
// since the sender has put it there; but it does not push out a declared one that still sends, nor come back while another sends.
func (e *entry) admits(r *reader, received time.Time) bool {
	voice := e.voice.Load()
	switch {
	case voice == r:
		return true
	case r.stray == nil:
		if voice != nil {
			e.voice.Store(nil)
		}
		return true
	case received.UnixNano()-e.heard.Load() > int64(sourceSilence): // also when none was heard at all
	case r.spoke, e.declared.Load() != 0:
		return false
	}
	r.spoke = true
	e.voice.Store(r)
	return true
}

// repairOf gives a packet of a stream of repairs to the reader of the source that it repairs.
func (r *reader) repairOf(e *entry, raw []byte, received time.Time) {
	var repaired *reader
	if e != nil {
		repaired = e.voice.Load()
		for _, other := range r.peer.feedback.list() {
			if repaired == nil && other.sink.Load() == e {
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

// readSources notes what the accepted media descriptions say of sources.
func (o *offer) readSources() {
	out := &offeredSources{declared: make(map[uint32]struct{})}
	for _, m := range o.desc.MediaDescriptions {
		for _, a := range m.Attributes {
			switch a.Key {
			case sdp.AttrKeySSRC:
				word, _, _ := strings.Cut(a.Value, " ")
				if n, err := strconv.ParseUint(word, 10, 32); err == nil {
					out.declared[uint32(n)] = struct{}{}
				}
			case "rid":
				out.layers = true
			case sdp.AttrKeyExtMap:
				switch id, uri := readExtMap(a.Value); uri {
				case sdp.SDESMidURI:
					out.mid = id
				case sdp.SDESRTPStreamIDURI:
					out.rids[0] = id
				case sdp.SDESRepairRTPStreamIDURI:
					out.rids[1] = id
				}
			}
		}
	}
	o.sources = out
}

// readExtMap takes apart the value of an a=extmap line (RFC 8285 section 5) that can be read.
func readExtMap(value string) (id uint8, uri string) {
	words := strings.Fields(value)
	if len(words) < 2 {
		return 0, ""
	}
	number, _, _ := strings.Cut(words[0], "/")
	n, err := strconv.ParseUint(number, 10, 8)
	if err != nil {
		return 0, ""
	}
	return uint8(n), words[1]
}

// exposeStrays makes pion show the sources that are not declared: it looks at them when it believes
// that the header extensions of mid and rid were offered.
func (o *offer) exposeStrays() {
	var media []*sdp.MediaDescription
	used := make(map[uint8]struct{})
	for _, m := range o.desc.MediaDescriptions {
		if m.MediaName.Media != applicationMedia {
			media = append(media, m)
		}
		for _, a := range m.Attributes {
			if a.Key == sdp.AttrKeyExtMap {
				id, _ := readExtMap(a.Value)
				used[id] = struct{}{}
			}
		}
	}
	if len(media) == 0 {
		return
	}
	if o.sources.mid == 0 {
		o.invent(media, used, sdp.SDESMidURI)
	}
	if o.sources.rids[0] == 0 {
		o.invent(media, used, sdp.SDESRTPStreamIDURI)
	}
}

// notAlone returns a description for pion that does not have one media description only: of such a one pion takes every
// source for its own. Media of a type that it does not know it passes over, and the answer has no trace of them.
func notAlone(d *sdp.SessionDescription) *sdp.SessionDescription {
	if len(d.MediaDescriptions) != 1 {
		return d
	}
	only := d.MediaDescriptions[0]
	mid, _ := only.Attribute(sdp.AttrKeyMID)
	two := *d
	two.MediaDescriptions = []*sdp.MediaDescription{only, {
		MediaName:  sdp.MediaName{Media: "text", Protos: only.MediaName.Protos, Formats: []string{"0"}},
		Attributes: []sdp.Attribute{{Key: sdp.AttrKeyMID, Value: mid + "-"}, {Key: directionInactive}},
	}}
	return &two
}

// invent adds an a=extmap line with an id that is free.
func (o *offer) invent(media []*sdp.MediaDescription, used map[uint8]struct{}, uri string) {
	for id := uint8(246); id > 0; id-- { // the highest that pion reads
		if _, taken := used[id]; taken {
			continue
		}
		used[id] = struct{}{}
		value := fmt.Sprintf("%d %s", id, uri)
		o.invented = append(o.invented, value)
		for _, m := range media {
			m.WithValueAttribute(sdp.AttrKeyExtMap, value)
		}
		return
	}
}

// forgetInvented takes out of an answer what nobody offered.
func (o *offer) forgetInvented(m *sdp.MediaDescription) {
	if len(o.invented) == 0 {
		return
	}
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
		return a.Key == sdp.AttrKeyExtMap && slices.Contains(o.invented, a.Value)
	})
}
