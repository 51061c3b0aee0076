package rtcpool

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool/internal/network"
	"github.com/penstock-media/penstock/rtcpool/internal/offer"

	"github.com/penstock-media/penstock/rtcpool/internal/repair"
)

// reader reads one source into the media that it belongs to.
type reader struct {
	peer    *peer
	source  source
	kind    media.Kind
	sink    atomic.Pointer[entry] // nil: read and throw away
	ended   atomic.Bool
	nackDue atomic.Int64 // when the feedback looks for missing packets, since its start; 0: none is missing

	cut      atomic.Pointer[cut] // from the owner before; nil when nothing of it can be under way
	expected atomic.Pointer[cut] // what the offer that is being applied may make of it

	mu          sync.Mutex // taken by the reader, by the one of retransmissions, and by the feedback
	repair      repair.Holes
	reception   repair.Reception
	payloadType uint8
	rate        uint32 // of payloadType's clock

	stray *stray       // the source, when no offer declared it
	owner string       // id of the media that a stray belongs to; owned by the session's goroutine
	again atomic.Int64 // when its media are to be looked for again, by the feedback's clock; 0: not before the next offer
	spoke bool         // a stray was written to its media; owned by the reader
}

func newReader(p *peer, from source, kind media.Kind) *reader {
	r := &reader{peer: p, source: from, kind: kind}
	r.stray, _ = from.(*stray)
	r.repair.Patience = media.DefaultPatience(r.kind)
	return r
}

// rid is that of the encoding that a source is, or repairs; empty where none is known.
func (r *reader) rid() string {
	if r.stray == nil {
		return ""
	}
	return r.stray.rid
}

// startReader binds a source that has begun to send, and starts reading it.
func (s *Session) startReader(r *reader) {
	p := r.peer
	if p.ctx.Err() != nil {
		return
	}
	if r.stray != nil && !r.stray.known {
		p.work.Go(func() {
			if r.stray.learn() {
				p.found(r)
			}
		})
		return
	}
	r.sink.Store(s.sinkOf(r))
	p.readers = append(p.readers, r)
	if r.stray == nil || !r.stray.repair { // nothing is asked of a stream of repairs
		p.feedback.add(r)
	}
	p.work.Go(r.run)
	p.work.Go(r.runRTCP)
}

// sinkOf returns the media that a track belongs to, or nil while none is known. It never guesses between two.
func (s *Session) sinkOf(r *reader) *entry {
	if r.stray != nil {
		return s.sinkOfStray(r)
	}
	e := s.entryOf(r.peer, r.mid())
	if e == nil || e.facts.Kind != r.kind {
		return nil
	}
	ssrc := uint32(r.source.SSRC())
	if len(e.facts.SSRCs) > 0 && !slices.Contains(e.facts.SSRCs, ssrc) {
		return nil // of the sender who had the media description before
	}
	return e
}

// mid is that of the transceiver which still has the receiver; a replaced receiver has none.
func (r *reader) mid() string {
	from, ok := r.source.(*trackSource)
	for _, t := range r.peer.pc.GetTransceivers() {
		if ok && t.Receiver() == from.receiver {
			return t.Mid()
		}
	}
	return ""
}

func (p *peer) forgetReaders() {
	p.readers = slices.DeleteFunc(p.readers, func(r *reader) bool { return r.ended.Load() })
}

// run reads until the track ends. A payload type that was not negotiated makes pion return an error beside the packet;
// only the end of the stream ends the loop. Retransmissions do not come this way: see retransmissions.
func (r *reader) run() {
	defer r.peer.session.changed()
	defer r.ended.Store(true)
	defer r.cut.Store(nil)
	defer r.peer.feedback.remove(r)
	if r.stray != nil {
		defer r.stray.end()
	}
	buf := make([]byte, network.ReceiveMTU)
	for {
		n, err := r.source.read(buf)
		if n >= repair.HeaderBytes && n <= len(buf) {
			r.packet(buf[:n], time.Now())
		}
		if err != nil && n == 0 || endOfStream(err) {
			return
		}
	}
}

func endOfStream(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe)
}

// packet takes a packet of the source itself.
func (r *reader) packet(raw []byte, received time.Time) {
	e := r.sink.Load()
	if r.stray != nil && r.stray.repair {
		r.repairOf(e, raw, received)
		return
	}
	now := received.Sub(r.peer.feedback.start)
	var s *seat
	if e != nil {
		s = e.seat(r)
	}
	if s == nil || !s.admits(r, now) {
		r.waits(now)
		r.unbound(raw, received)
		return
	}
	profile, extensions, _, ok := repair.Parts(raw)
	if ok {
		r.account(e, raw, received)
		r.tellArrival(e, raw, profile, extensions, received)
	}
	if r.keepsOut(binary.BigEndian.Uint16(raw[2:4]), now) {
		r.peer.stats().unboundPackets.Add(1)
		return
	}
	s.write(raw, received)
	s.note(raw)
}

// unbound takes a packet that belongs to no media.
func (r *reader) unbound(raw []byte, received time.Time) {
	r.peer.stats().unboundPackets.Add(1)
	r.peer.feedback.stranger(raw, received)
}

// account takes note of what was received, and of what is missing.
func (r *reader) account(e *entry, raw []byte, received time.Time) {
	f := r.peer.feedback
	now := received.Sub(f.start)
	seq := binary.BigEndian.Uint16(raw[2:4])
	r.mu.Lock()
	r.repair.Separate = e.feedback().Separate
	pt := raw[1] & 0x7f
	if pt != r.payloadType || r.rate == 0 {
		r.payloadType, r.rate = pt, e.clockRate(pt)
	}
	r.reception.Packet(seq, binary.BigEndian.Uint32(raw[4:8]), r.rate, now)
	r.repair.Carries(pt, seq)
	opened, repaired := r.repair.Received(seq, now)
	opened = opened && e.feedback().NACK
	ask := now + r.repair.Tolerance()
	if due := r.nackDue.Load(); opened && (due == 0 || due > int64(ask)) {
		r.nackDue.Store(int64(ask))
	}
	r.mu.Unlock()
	if repaired {
		r.peer.stats().repaired.Add(1)
	}
	if opened {
		f.by(ask)
	}
	f.heard(now)
}

// tellArrival takes note of when a packet came, for the sender's congestion control or for our own estimate.
func (r *reader) tellArrival(e *entry, raw []byte, profile uint16, extensions []byte, received time.Time) {
	f, terms := r.peer.feedback, e.feedback()
	now := received.Sub(f.start)
	if number := repair.Extension(profile, extensions, terms.TransportCC); len(number) == 2 {
		f.arrived(binary.BigEndian.Uint32(raw[8:12]), binary.BigEndian.Uint16(number), now)
	}
	if terms.REMB {
		f.estimate(repair.Extension(profile, extensions, terms.AbsSendTime), len(raw), now)
	}
}

// retransmission takes a packet of the source's repair stream (RFC 4588), which it overwrites. What nobody waits for is not
// handed on: senders probe the path with padding, and with packets that have come.
func (r *reader) retransmission(raw []byte, received time.Time) {
	e, f := r.sink.Load(), r.peer.feedback
	profile, extensions, payload, ok := repair.Parts(raw)
	var s *seat
	if e != nil {
		s = e.seat(r)
	}
	if s == nil || !ok {
		r.unbound(raw, received)
		return
	}
	r.tellArrival(e, raw, profile, extensions, received)
	original, known := e.feedback().Original(raw[1])
	if len(payload) < 2 || !known {
		r.peer.stats().unwanted.Add(1)
		return
	}
	seq := binary.BigEndian.Uint16(payload)
	now := received.Sub(f.start)
	if r.keepsOut(seq, now) {
		r.peer.stats().unboundPackets.Add(1)
		return
	}
	r.mu.Lock()
	carried, sure := r.repair.Carried(seq)
	wanted, roundTrip := r.repair.Retransmitted(seq, now)
	r.mu.Unlock()
	if !wanted {
		r.peer.stats().unwanted.Add(1)
		return
	}
	if sure && carried != original && e.clockRate(carried) != 0 {
		original = carried // some senders keep the type of their retransmissions when the codec changes
	}
	r.peer.stats().repaired.Add(1)
	f.roundTrip.Sample(roundTrip)
	s.write(repair.Restore(raw, payload, original, seq, uint32(r.source.SSRC())), received)
}

// noFeedback is what a sender understands of which nothing is known. Nobody writes to it.
var noFeedback offer.Feedback

// feedback returns what the sender understands; never nil.
func (e *entry) feedback() *offer.Feedback {
	if t := e.terms.Load(); t != nil {
		return &t.Feedback
	}
	return &noFeedback
}

// clockRate returns that of a payload type, 0 when it was not negotiated.
func (e *entry) clockRate(payloadType uint8) uint32 {
	if t := e.terms.Load(); t != nil {
		for _, c := range t.Receive.Codecs {
			if c.PayloadType == payloadType {
				return c.ClockRate
			}
		}
	}
	return 0
}

// note remembers the source and the payload type of a packet that goes to consumers, and wakes the session when either is new.
func (s *seat) note(packet []byte) {
	e := s.of
	if s.layer != nil && !s.layer.Chosen() {
		return
	}
	now := uint64(binary.BigEndian.Uint32(packet[8:12]))<<8 | uint64(packet[1]&0x7f) | 0x80
	before := e.seen.Load()
	if before == now {
		return
	}
	if t := e.terms.Load(); t != nil && before != 0 {
		if _, media := t.Carried(packet[1] & 0x7f); !media {
			return // a key between packets of speech changes nothing
		}
	}
	e.seen.Store(now)
	e.peer.session.changed()
}
