package rtcpool

import (
	"context"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool/internal/network"
	"github.com/penstock-media/penstock/rtcpool/internal/offer"
	"github.com/penstock-media/penstock/rtcpool/internal/repair"
	"github.com/pion/interceptor"
	"github.com/pion/transport/v4/packetio"
	"github.com/pion/webrtc/v4"
)

const (
	// maxStrays bounds the sources of one peer connection that no offer has declared: each costs two goroutines.
	maxStrays = 1024
	// probePackets is how many packets of a source are looked at for a mid. pion gives a source up after 10.
	probePackets = 8
	// sourceSilence is how long a source must have been silent for another to take its place, where that is in doubt.
	sourceSilence = 500 * time.Millisecond
)

// strays finds the sources (RFC 3550 section 3) that send without being declared by an a=ssrc line, and takes them from
// pion. Which media description each belongs to its packets say by the mid header extension (RFC 9143 section 15), or its payload
// type when only one description has it; which encoding of it, by the rid (RFC 8852).
//
// It is pion's interceptor factory and the interceptor of one peer connection. pion binds the RTP and then the
// RTCP of a source, on one goroutine: the slot keeps the two together.
type strays struct {
	interceptor.NoOp
	ctx     context.Context // the peer connection's
	changed func()          // wakes the session; it never blocks
	offered atomic.Pointer[offer.Sources]
	refused *atomic.Uint64
	unbound *atomic.Uint64 // packets
	inlets  inlets
	net     *network.Peer // told of what comes, when it watches; nil in tests

	slot    chan struct{} // taken from one BindRemoteStream to the BindRTCPReader that follows
	binding *stray        // of the slot's holder; nil for a source that is declared

	mu    sync.Mutex
	live  map[uint32]*stray // taken over and still read, by SSRC
	found []*stray          // of live, those that the session has not fetched yet
}

func newStrays(ctx context.Context, c *counters, changed func()) *strays {
	s := &strays{
		ctx: ctx, changed: changed, refused: &c.sourcesRefused, unbound: &c.unboundPackets,
		slot: make(chan struct{}, 1), live: make(map[uint32]*stray),
	}
	s.offered.Store(&offer.Sources{})
	s.inlets.open = make(map[uint32]*inlet)
	s.inlets.overflow = packetio.NewBuffer()
	_ = s.inlets.overflow.Close()
	return s
}

// NewInterceptor implements interceptor.Factory.
func (s *strays) NewInterceptor(string) (interceptor.Interceptor, error) { return s, nil }

// BindRemoteStream implements interceptor.Interceptor.
func (s *strays) BindRemoteStream(info *interceptor.StreamInfo, reader interceptor.RTPReader) interceptor.RTPReader {
	select {
	case s.slot <- struct{}{}:
	case <-s.ctx.Done():
		return reader
	}
	s.binding = nil
	_, declared := s.offered.Load().Declared[info.SSRC]
	switch looked := info.PayloadType != 0; { // pion has looked at a packet, or (PCMU) none is declared
	case info.SSRC == 0: // nothing is sent on it but padding that probes the path
		return reader
	case declared && looked: // it was declared meanwhile, and is received as such
		return interceptor.RTPReaderFunc(noPackets)
	case declared:
		return s.yielded(info.SSRC, reader)
	}
	st := &stray{
		of: s, ssrc: info.SSRC, kind: kindOf(info.MimeType), repair: strings.EqualFold(info.MimeType, webrtc.MimeTypeRTX),
		rtp: reader, handover: make(chan [][]byte), done: make(chan struct{}),
	}
	if !s.take(st) {
		return interceptor.RTPReaderFunc(noPackets)
	}
	s.binding = st
	return interceptor.RTPReaderFunc(st.probe)
}

// yielded returns the reader of a source that is declared. If it was a stray before, its reader hands over the packet that
// it waits for, and ends.
func (s *strays) yielded(ssrc uint32, reader interceptor.RTPReader) interceptor.RTPReader {
	s.mu.Lock()
	st := s.live[ssrc]
	s.mu.Unlock()
	if st == nil {
		return reader
	}
	st.yields.Store(true)
	var packets [][]byte
	over := false
	return interceptor.RTPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		if !over {
			select {
			case packets = <-st.handover:
			case <-st.done:
			case <-s.ctx.Done():
				return noPackets(b, a)
			}
			over = true
		}
		if len(packets) > 0 {
			n := copy(b, packets[0])
			packets = packets[1:]
			return n, a, nil
		}
		return reader.Read(b, a)
	})
}

// noPackets is a reader that has ended.
func noPackets([]byte, interceptor.Attributes) (int, interceptor.Attributes, error) {
	return 0, nil, io.EOF
}

// BindRTCPReader implements interceptor.Interceptor.
func (s *strays) BindRTCPReader(reader interceptor.RTCPReader) interceptor.RTCPReader {
	if s.binding != nil {
		s.binding.rtcp = reader
		s.binding = nil
	}
	select {
	case <-s.slot:
	default: // after the end of the peer connection nobody takes it
	}
	return reader
}

// stray is a source that was taken from pion. Until it is handed over it is pion's goroutine's, then its fields do not
// change but by the methods of source.
type stray struct {
	of     *strays
	ssrc   uint32
	kind   media.Kind
	repair bool // it sends again what another sends (RFC 4588)
	rtp    interceptor.RTPReader
	rtcp   interceptor.RTCPReader

	mid, rid    string // empty when its packets do not tell
	payloadType uint8
	first       [][]byte // packets that were read to learn it
	known       bool     // what its packets tell

	yields   atomic.Bool   // it has been declared: the next packet is pion's
	handover chan [][]byte // for what was read and not delivered
	done     chan struct{} // closed when nothing reads it any more
}

// probe is what pion reads from. It ends: the source is taken over. pion probes few sources at a time, and gives up those
// beyond, so that it must not wait here.
func (st *stray) probe(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
	st.of.find(st)
	return noPackets(b, a)
}

// learn reads until it is known what the packets of a source tell of it. ok is false when there is nothing more to read.
func (st *stray) learn() (ok bool) {
	b := make([]byte, network.ReceiveMTU)
	for !st.known {
		n, _, err := st.rtp.Read(b, nil)
		if err != nil {
			st.end()
			return false
		}
		if n > len(b) || n < repair.HeaderBytes {
			continue
		}
		st.look(b[:n], st.of.offered.Load())
		if st.yields.Load() {
			st.handOver()
			st.end()
			return false
		}
		st.known = st.told() || len(st.first) >= probePackets
	}
	return true
}

// told tells whether its packets have said which media description, and which encoding in it, the source is of.
func (st *stray) told() bool {
	_, layered := st.of.offered.Load().Layered[st.mid]
	return st.mid != "" && (st.rid != "" || !layered)
}

// find leaves a source for the session to fetch. It never blocks.
func (s *strays) find(st *stray) {
	s.mu.Lock()
	s.found = append(s.found, st)
	s.mu.Unlock()
	s.changed()
}

// fetch returns the sources that were found since the last call.
func (s *strays) fetch() []*stray {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.found
	s.found = nil
	return found
}

// handOver gives away what was read and not delivered.
func (st *stray) handOver() {
	select {
	case st.handover <- st.first:
	case <-st.of.ctx.Done():
	}
}

// take notes a source as taken over, if there are not too many.
func (s *strays) take(st *stray) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.live) >= maxStrays {
		s.refused.Add(1)
		s.crowd()
		return false
	}
	s.live[st.ssrc] = st
	return true
}

// end notes that nothing reads the source any more.
func (st *stray) end() {
	st.of.mu.Lock()
	defer st.of.mu.Unlock()
	if st.of.live[st.ssrc] == st {
		delete(st.of.live, st.ssrc)
	}
	close(st.done)
}

// look takes a packet, and what it tells of its source.
func (st *stray) look(packet []byte, offered *offer.Sources) {
	profile, extensions, _, ok := repair.Parts(packet)
	if !ok {
		return
	}
	for _, id := range offered.RIDs {
		if rid := repair.Extension(profile, extensions, id); len(rid) > 0 {
			st.rid = string(rid)
		}
	}
	if mid := repair.Extension(profile, extensions, offered.MID); len(mid) > 0 {
		st.mid = string(mid)
	}
	st.payloadType = packet[1] & 0x7f
	st.first = append(st.first, append([]byte(nil), packet...))
}

// source is where a reader reads from.
type source interface {
	SSRC() webrtc.SSRC
	RtxSSRC() webrtc.SSRC
	read(b []byte) (int, error)
	readRTCP(b []byte) (int, error)
}

// SSRC implements source.
func (st *stray) SSRC() webrtc.SSRC { return webrtc.SSRC(st.ssrc) }

// RtxSSRC implements source: a source that repairs it is a stray of its own.
func (st *stray) RtxSSRC() webrtc.SSRC { return 0 }

func (st *stray) read(b []byte) (int, error) {
	if st.yields.Load() && len(st.first) > 0 {
		st.handOver()
		return 0, io.EOF
	}
	if len(st.first) > 0 {
		n := copy(b, st.first[0])
		st.first = st.first[1:]
		return n, nil
	}
	n, _, err := st.rtp.Read(b, nil)
	if err == nil && n <= len(b) && st.yields.Load() {
		st.first = [][]byte{b[:n]}
		st.handOver()
		return 0, io.EOF
	}
	return n, err
}

func (st *stray) readRTCP(b []byte) (int, error) {
	if st.rtcp == nil {
		return 0, io.EOF
	}
	n, _, err := st.rtcp.Read(b, nil)
	if st.yields.Load() {
		return 0, io.EOF // reports come often
	}
	return n, err
}

// kindOf returns the kind of media of a codec's name for pion.
func kindOf(mimeType string) media.Kind {
	if strings.HasPrefix(strings.ToLower(mimeType), "video/") {
		return media.KindVideo
	}
	return media.KindAudio
}
