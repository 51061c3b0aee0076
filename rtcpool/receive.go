package rtcpool

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/penstock-media/penstock/media"
	"github.com/pion/webrtc/v4"
)

const rtpHeaderBytes = 12

// reader reads one track of pion's into the media that it belongs to.
type reader struct {
	peer     *peer
	track    *webrtc.TrackRemote
	receiver *webrtc.RTPReceiver
	sink     atomic.Pointer[entry] // nil: read and throw away
	ended    atomic.Bool
}

// startReader binds a track that pion has begun to receive, and starts reading it.
func (s *Session) startReader(r *reader) {
	p := r.peer
	if p.ctx.Err() != nil {
		return
	}
	r.sink.Store(s.sinkOf(r))
	p.readers = append(p.readers, r)
	p.work.Go(r.run)
	p.work.Go(r.runRTCP)
}

// sinkOf returns the media that a track belongs to, or nil while none is known. It never guesses between two.
func (s *Session) sinkOf(r *reader) *entry {
	kind := media.KindAudio
	if r.track.Kind() == webrtc.RTPCodecTypeVideo {
		kind = media.KindVideo
	}
	e := s.entryOf(r.peer, r.mid())
	if e == nil {
		e = s.onlyUndeclared(r.peer)
	}
	if e == nil || e.facts.kind != kind {
		return nil
	}
	ssrc := uint32(r.track.SSRC())
	if r.track.RID() == "" && len(e.facts.ssrcs) > 0 && !contains(e.facts.ssrcs, ssrc) {
		return nil // of the sender who had the media description before
	}
	for _, other := range r.peer.readers {
		if other != r && other.track.RID() != r.track.RID() && other.sink.Load() == e && !other.ended.Load() {
			return nil // another layer of a simulcast is received already
		}
	}
	return e
}

// onlyUndeclared returns the media of an offer with a single media description that names no source: pion then
// reports packets on a transceiver without a mid.
func (s *Session) onlyUndeclared(p *peer) *entry {
	if p.last == nil || len(p.last.desc.MediaDescriptions) != 1 {
		return nil
	}
	for _, e := range s.entries {
		if e.peer == p && e.facts.sending && len(e.facts.ssrcs) == 0 {
			return e
		}
	}
	return nil
}

// mid is that of the transceiver which still has the receiver; a replaced receiver has none.
func (r *reader) mid() string {
	for _, t := range r.peer.pc.GetTransceivers() {
		if t.Receiver() == r.receiver {
			return t.Mid()
		}
	}
	return ""
}

func (p *peer) forgetReaders() {
	p.readers = slices.DeleteFunc(p.readers, func(r *reader) bool { return r.ended.Load() })
}

// run reads until the track ends. A payload type that was not negotiated makes pion return an error beside the packet;
// only the end of the stream ends the loop. pion hands out a retransmission only when Read is called: while packets are
// missing, Read returns every repairPoll.
func (r *reader) run() {
	defer r.peer.session.changed()
	defer r.ended.Store(true)
	buf := make([]byte, receiveMTU)
	var lost missing
	polling := false
	for {
		n, _, err := r.track.Read(buf)
		now := time.Now()
		if n >= rtpHeaderBytes && n <= len(buf) {
			lost.received(binary.BigEndian.Uint16(buf[2:4]), now)
			r.deliver(buf[:n], now)
		}
		if err != nil && n == 0 && !timedOut(err) || endOfStream(err) {
			return
		}
		if wait := lost.any(now) && r.track.HasRTX(); wait || polling {
			polling = wait
			r.setDeadline(wait, now)
		}
	}
}

// setDeadline makes Read return in time to look for retransmissions, or block.
func (r *reader) setDeadline(wait bool, now time.Time) {
	var deadline time.Time
	if wait {
		deadline = now.Add(repairPoll)
	}
	if err := r.track.SetReadDeadline(deadline); err != nil {
		r.peer.session.log.Debug("setting a read deadline", "error", err)
	}
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func endOfStream(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe)
}

func (r *reader) deliver(packet []byte, received time.Time) {
	e := r.sink.Load()
	if e == nil {
		r.peer.session.pool.stats.unboundPackets.Add(1)
		return
	}
	e.writing.Lock()
	e.track.WriteRTP(packet, received)
	e.writing.Unlock()
	e.note(packet)
}

// note remembers the source and the payload type of a packet, and wakes the session when either is new.
func (e *entry) note(packet []byte) {
	now := uint64(binary.BigEndian.Uint32(packet[8:12]))<<8 | uint64(packet[1]&0x7f) | 0x80
	before := e.seen.Load()
	if before == now {
		return
	}
	e.seen.Store(now)
	e.peer.session.changed()
}
