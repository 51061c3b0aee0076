package rtcpool

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/penstock-media/penstock/media"
)

// seat is where the packets of one source go: the media, or one of its encodings (simulcast, RFC 8853). One source has it at a
// time.
type seat struct {
	of    *entry
	rid   string       // empty where the media have no encodings
	layer *media.Layer // nil where the media have no encodings

	voice       atomic.Pointer[reader] // the stray that is heard; nil when it is a source that was declared
	heard       atomic.Int64           // when the last packet came, by the feedback's clock; long ago before the first
	nextRequest atomic.Int64           // when a key frame may be asked for again, since the feedback's start
	fullIntra   atomic.Uint32          // how many FIR were sent
}

// begin must be called first.
func (s *seat) begin(e *entry) {
	s.of = e
	s.heard.Store(-int64(sourceSilence) - 1)
}

// seat returns the one of a source, or nil where there is none: media with encodings are received by these only.
func (e *entry) seat(r *reader) *seat {
	layers := e.layers.Load()
	if layers == nil {
		return &e.main
	}
	for _, s := range *layers {
		if s.rid == r.rid() {
			return s
		}
	}
	return nil
}

// setLayers gives the media the encodings that their description has now.
func (e *entry) setLayers() {
	var before, now []*seat
	if layers := e.layers.Load(); layers != nil {
		before = *layers
	}
	if !e.facts.Sending || len(e.facts.Layers) == 0 && before == nil {
		return
	}
	for _, s := range before {
		if !slices.Contains(e.facts.Layers, s.rid) {
			s.layer.End()
			continue
		}
		now = append(now, s)
	}
	for _, rid := range e.facts.Layers {
		if slices.ContainsFunc(now, func(s *seat) bool { return s.rid == rid }) {
			continue
		}
		s := &seat{rid: rid}
		s.begin(e)
		if s.layer = e.track.AddLayer(rid, s.requestKeyFrame); s.layer != nil {
			now = append(now, s)
		}
	}
	if len(now) == 0 {
		e.layers.Store(nil)
		return
	}
	e.layers.Store(&now)
}

// ssrc returns the source that has the seat, or the one that the offer names first; 0 while none is known.
func (s *seat) ssrc() uint32 {
	if s.layer != nil {
		if r := s.voice.Load(); r != nil {
			return uint32(r.source.SSRC())
		}
		return 0
	}
	if seen := s.of.seen.Load(); seen != 0 {
		return uint32(seen >> 8) //nolint:gosec // 32 bits were put in
	}
	return s.of.declared.Load()
}

// write hands a packet on. One reader writes at a time.
func (s *seat) write(packet []byte, received time.Time) {
	s.of.writing.Lock()
	defer s.of.writing.Unlock()
	s.heard.Store(int64(received.Sub(s.of.peer.feedback.start)))
	if s.layer != nil {
		s.layer.WriteRTP(packet, received)
		return
	}
	s.of.track.WriteRTP(packet, received)
}

// report hands on what a sender report says.
func (s *seat) report(ntp uint64, timestamp uint32) {
	if s.layer != nil {
		s.layer.WriteSenderReport(ntp, timestamp)
		return
	}
	s.of.track.WriteSenderReport(ntp, timestamp)
}

// admits tells whether a source may be heard now. One that no offer declares takes the place of another such one at once,
// since the sender has put it there; but it does not push out a declared one that still sends, nor come back while another sends.
func (s *seat) admits(r *reader, received time.Duration) bool {
	voice := s.voice.Load()
	switch {
	case voice == r:
		return true
	case r.stray == nil:
		if voice != nil {
			s.voice.Store(nil)
		}
		return true
	case int64(received)-s.heard.Load() > int64(sourceSilence): // also when none was heard at all
	case r.spoke, s.of.declared.Load() != 0:
		return false
	}
	r.spoke = true
	s.voice.Store(r)
	return true
}
