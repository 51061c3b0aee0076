package rtcpool

import (
	"encoding/binary"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-media/penstock/rtcpool/internal/repair"
	"github.com/pion/transport/v4/packetio"
)

// Bounds on what the other side of one peer connection can make us keep by sending on ever new sources: pion itself has none.
const (
	// maxInlets is how many sources that no offer declares are listened to; of RTCP as many again. Beyond it a new generation
	// is asked for, and nothing is kept.
	maxInlets = 1536
	// maxSources is how many may come at all before the peer connection is closed.
	maxSources = 2 * maxInlets

	mediaBytes   = 1_000_000 // that wait to be read, of one source
	reportBytes  = 100_000
	unreadBytes  = 16 << 10 // of a source that nobody reads yet, when more than maxUnread are so
	maxUnread    = 64
	maxWithheld  = 64 // packets of unknown payload types at the beginning of a source
	heard        = 1 << 16
	inletsOfRTP  = 0
	inletsOfRTCP = 1
)

// inlets are the buffers between SRTP and who reads a source.
type inlets struct {
	came     [2]atomic.Int64 // and are open: undeclared sources of RTP and of RTCP
	unread   atomic.Int64    // of those
	crowded  atomic.Bool     // more than there may be
	flooded  atomic.Bool     // so many more that it must end
	overflow *packetio.Buffer

	mu   sync.Mutex
	open map[uint32]*inlet // of RTP, by SSRC
}

// inlet is a buffer. A source is read when it is read twice: pion looks at the first packet of an undeclared one.
type inlet struct {
	*packetio.Buffer
	of       *strays
	kind     int
	declared bool
	closed   atomic.Bool
	ssrc     uint32

	highest atomic.Uint32 // sequence number that was taken, with heard; 0: none
	reads   atomic.Int32  // two may read while one hands over to the other

	// Of the one who writes.
	withheld int
	begun    bool // a packet was taken in
}

// buffer makes the buffer of a source; it is pion's BufferFactory. It is called with a lock of pion's held.
func (s *strays) buffer(kind packetio.BufferPacketType, ssrc uint32) io.ReadWriteCloser {
	i := &inlet{of: s, kind: inletsOfRTP, ssrc: ssrc}
	limit := mediaBytes
	if kind == packetio.RTCPBufferPacket {
		i.kind, limit = inletsOfRTCP, reportBytes
	}
	if _, i.declared = s.offered.Load().Declared[ssrc]; !i.declared {
		n := s.inlets.came[i.kind].Add(1)
		if n > maxInlets {
			return s.tooMany(n)
		}
		if s.inlets.unread.Add(1) > maxUnread {
			limit = unreadBytes
		}
	}
	i.Buffer = packetio.NewBuffer()
	i.SetLimitSize(limit)
	if i.kind == inletsOfRTP {
		s.inlets.mu.Lock()
		s.inlets.open[ssrc] = i
		s.inlets.mu.Unlock()
	}
	return i
}

// tooMany returns a buffer that takes nothing in.
func (s *strays) tooMany(n int64) io.ReadWriteCloser {
	s.refused.Add(1)
	s.crowd()
	if n >= maxSources && s.inlets.flooded.CompareAndSwap(false, true) {
		s.changed()
	}
	return s.inlets.overflow
}

// crowd notes that there are more sources than can be received.
func (s *strays) crowd() {
	if s.inlets.crowded.CompareAndSwap(false, true) {
		s.changed()
	}
}

// Write takes a packet. pion gives up an undeclared source whose first packet has a payload type that it does not know (silence
// or a dialled digit before speech, say): it gets to see the source from the first one on that it knows.
func (i *inlet) Write(packet []byte) (int, error) {
	if !i.begun && !i.declared && i.kind == inletsOfRTP && i.withheld < maxWithheld && len(packet) >= repair.HeaderBytes {
		if !i.of.offered.Load().Formats[packet[1]&0x7f] {
			i.withheld++
			i.of.unbound.Add(1)
			return len(packet), nil
		}
	}
	i.begun = true
	if i.kind == inletsOfRTP && len(packet) >= repair.HeaderBytes {
		i.note(packet)
	}
	return i.Buffer.Write(packet)
}

// note takes note of what may wait to be read, and tells who watches the source: see cut.
func (i *inlet) note(packet []byte) {
	seq := binary.BigEndian.Uint16(packet[2:4])
	if before := i.highest.Load(); before == 0 || int16(seq-uint16(before)) > 0 { //nolint:gosec // sequence numbers wrap (RFC 3550 section 5.1)
		i.highest.Store(heard | uint32(seq))
	}
	if i.of.net != nil && i.of.net.Watching() {
		i.of.net.Arrived(packet, time.Now())
	}
}

// highest returns the highest sequence number of a source that came, read or not. ok is false when none is known.
func (in *inlets) highest(ssrc uint32) (seq uint16, ok bool) {
	in.mu.Lock()
	i := in.open[ssrc]
	in.mu.Unlock()
	if i == nil {
		return 0, false
	}
	n := i.highest.Load()
	return uint16(n), n != 0 //nolint:gosec // the low bits
}

// Read implements io.Reader.
func (i *inlet) Read(packet []byte) (int, error) {
	if i.reads.Add(1) == 2 && !i.declared {
		i.of.inlets.unread.Add(-1)
		if i.kind == inletsOfRTP {
			i.SetLimitSize(mediaBytes)
		}
	}
	return i.Buffer.Read(packet)
}

// Close implements io.Closer.
func (i *inlet) Close() error {
	in := &i.of.inlets
	in.mu.Lock()
	if in.open[i.ssrc] == i {
		delete(in.open, i.ssrc)
	}
	in.mu.Unlock()
	if !i.declared && i.closed.CompareAndSwap(false, true) {
		i.of.inlets.came[i.kind].Add(-1)
		if i.reads.Add(2) <= 3 { // it was not read twice, and does not count now
			i.of.inlets.unread.Add(-1)
		}
	}
	return i.Buffer.Close()
}

// checkSources meets the other side's sending on more sources than can be received: a new generation begins with none.
func (s *Session) checkSources(p *peer) {
	const reason = "the other side sends on too many sources that no offer declares"
	in := &p.strays.inlets
	if in.flooded.Load() && !p.flooded && p.ctx.Err() == nil {
		p.flooded = true
		s.log.Warn("closing the peer connection", "generation", p.generation, "reason", reason, "sources", maxSources)
		p.work.Go(func() { _ = p.pc.Close() }) // it may hang; who waits for work gives up in time
	}
	if in.crowded.Load() && p == s.current {
		s.needRestart(p, Restart{MinGeneration: p.generation + 1, Reason: reason})
	}
}
