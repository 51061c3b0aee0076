package rtcpool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"testing"

	"github.com/penstock-media/penstock/rtcpool/internal/offer"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// sprayer is a track that sends on any source.
type sprayer struct {
	*webrtc.TrackLocalStaticRTP
	bound  chan struct{}
	writer webrtc.TrackLocalWriter
	codec  webrtc.RTPCodecParameters
}

func (s *sprayer) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	codec, err := s.TrackLocalStaticRTP.Bind(c)
	s.writer, s.codec = c.WriteStream(), codec
	close(s.bound)
	return codec, err
}

// send writes one packet; payloadType 0 is the negotiated one.
func (s *sprayer) send(t *testing.T, ssrc uint32, payloadType uint8, seq uint16) {
	t.Helper()
	h := rtp.Header{Version: 2, SSRC: ssrc, PayloadType: payloadType, SequenceNumber: seq, Timestamp: uint32(seq) * 960}
	if payloadType == 0 {
		h.PayloadType = uint8(s.codec.PayloadType)
	}
	if _, err := s.writer.WriteRTP(&h, []byte{0xf8, 0xff, 0xfe}); err != nil && !errors.Is(err, io.ErrClosedPipe) { // the other side may have closed
		t.Fatal(err)
	}
}

var sourceLines = regexp.MustCompile(`(?m)^a=ssrc(-group)?:.*\r\n`)

// spray negotiates one sound of which the offer names no source.
func spray(t *testing.T, f *testSFU, s *Session, r *recorder) (*sprayer, Media) {
	t.Helper()
	track, err := webrtc.NewTrackLocalStaticRTP(opus, "mic", "alice")
	if err != nil {
		t.Fatal(err)
	}
	out := &sprayer{TrackLocalStaticRTP: track, bound: make(chan struct{})}
	transceiver, err := f.pc.AddTransceiverFromTrack(out, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		t.Fatal(err)
	}
	f.work.Go(func() { f.readRTCP(transceiver.Sender()) })
	f.exchange(s, 0, sourceLines.ReplaceAllString(f.offer(nil), ""))
	<-out.bound
	r.until(t, "connected", func() bool {
		states := r.states[1]
		return len(states) > 0 && states[len(states)-1] == StateConnected
	})
	waitFor(t, "the SFU is connected", func() bool { return f.pc.ConnectionState() == webrtc.PeerConnectionStateConnected })
	return out, r.byTrack(t, "mic")
}

// Sources of which only one packet ever comes do not keep others from being received: pion probes 24 at a time.
func TestS18_SourcesThatFallSilentKeepNoOthersOut(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	from, mic := spray(t, newTestSFU(t), s, r)
	for i := range uint32(100) {
		from.send(t, 1000+i, 0, 1)
		waitFor(t, "the source is taken over", func() bool { return len(liveStrays(t, s)) == int(i)+1 })
	}
	seq := uint16(0)
	waitFor(t, "sound", func() bool {
		seq++
		from.send(t, 7, 0, seq)
		return mic.Track.Stats().Packets > 20
	})
	if told := r.told(); len(told.restarts) != 0 || p.Stats().SourcesRefused != 0 {
		t.Errorf("restarts %+v, %+v", told.restarts, p.Stats())
	}
}

// A source that begins with packets of a payload type that was not negotiated is received from the first one on that was.
func TestS19_SourceThatBeginsWithAnUnknownPayloadType(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	from, mic := spray(t, newTestSFU(t), s, r)
	for seq := range uint16(20) {
		from.send(t, 7, 13, seq) // comfort noise
	}
	waitFor(t, "skipped packets are counted", func() bool { return p.Stats().UnboundPackets == 20 })
	for seq := range uint16(30) {
		from.send(t, 7, 0, 20+seq)
	}
	waitFor(t, "sound", func() bool { return mic.Track.Stats().Packets == 30 })
	r.until(t, "the source is told", func() bool { return r.media[mic.ID].SSRC == 7 })
	if st := mic.Track.Stats(); st.Lost != 0 || st.Packets != 30 {
		t.Errorf("%+v", st)
	}
}

// Whoever sends on ever new sources, known payload type or not, RTP or RTCP, is asked for a new generation, and when that goes on
// the connection is closed; nothing is kept of the sources beyond. Another session is not disturbed.
func TestSourcesWithoutEnd(t *testing.T) {
	for _, row := range []struct {
		name string
		send func(t *testing.T, f *testSFU, from *sprayer, ssrc uint32)
	}{
		{"audio", func(t *testing.T, _ *testSFU, from *sprayer, ssrc uint32) { from.send(t, ssrc, 0, 1) }},
		{"unknown", func(t *testing.T, _ *testSFU, from *sprayer, ssrc uint32) { from.send(t, ssrc, 99, 1) }},
		{"reports", func(t *testing.T, f *testSFU, _ *sprayer, ssrc uint32) {
			if err := f.pc.WriteRTCP([]rtcp.Packet{&rtcp.SenderReport{SSRC: ssrc}}); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := newTestPool(t, nil)
			s, r := open(t, p, "s")
			bystander, other := open(t, p, "other")
			quietSFU := newTestSFU(t)
			quietSFU.add(opus, "mic", "bob")
			quietSFU.negotiate(bystander, 0)
			bob := other.flowing(t, "mic")
			f := newTestSFU(t)
			from, _ := spray(t, f, s, r)
			strays := current(t, s).strays
			closed := func() bool {
				states := r.told().states[1]
				return states[len(states)-1] == StateClosed
			}
			ssrc := uint32(1000)
			waitFor(t, "the end of the connection", func() bool {
				for range 100 {
					if ssrc++; f.pc.ConnectionState() == webrtc.PeerConnectionStateConnected && !closed() {
						row.send(t, f, from, ssrc)
					}
				}
				return closed()
			})
			restarts := r.told().restarts
			if len(restarts) != 1 || restarts[0].ICE || restarts[0].MinGeneration != 2 {
				t.Errorf("asked for %+v", restarts)
			}
			strays.mu.Lock()
			live := len(strays.live)
			strays.mu.Unlock()
			if n := p.Stats().SourcesRefused; n == 0 || live > maxStrays {
				t.Errorf("%d refused, %d received", n, live)
			}
			morePackets(t, bob.Track, 20)
			f2 := newTestSFU(t)
			f2.add(opus, "mic2", "alice")
			f2.negotiate(s, 2)
			r.flowing(t, "mic2")
		})
	}
}

// What a connection keeps of sources that nobody reads is bounded.
func TestInletsAreBounded(t *testing.T) {
	s := newStrays(t.Context(), &counters{}, func() {})
	kept := 0
	packet := make([]byte, 1200)
	for ssrc := range uint32(maxSources) {
		b := s.buffer(0, ssrc)
		for {
			before := kept
			if n, err := b.Write(packet); err == nil && n > 0 && ssrc >= maxUnread && ssrc < maxUnread+4 {
				kept += n
			}
			if kept == before || kept > 10*unreadBytes {
				break
			}
		}
		if _, err := b.Write(packet); ssrc >= maxInlets && err == nil {
			t.Fatalf("source %d is kept", ssrc)
		}
	}
	if kept > 4*(unreadBytes+maxWithheld*len(packet)) {
		t.Errorf("%d bytes of 4 sources", kept)
	}
	if s.refused.Load() != maxSources-maxInlets || !s.inlets.crowded.Load() || !s.inlets.flooded.Load() {
		t.Errorf("%d refused, crowded %v, flooded %v", s.refused.Load(), s.inlets.crowded.Load(), s.inlets.flooded.Load())
	}
	declared := newStrays(t.Context(), &counters{}, func() {})
	declared.offered.Store(&offer.Sources{Declared: map[uint32]struct{}{1: {}}})
	b := declared.buffer(0, 1)
	for i := range 500 {
		if _, err := b.Write(packet); err != nil {
			t.Fatalf("packet %d of a declared source: %v", i, err)
		}
	}
}

func current(t *testing.T, s *Session) *peer {
	t.Helper()
	out := make(chan *peer, 1)
	if taken, err := s.do(context.Background(), func() { out <- s.current }); err != nil || !taken {
		t.Fatal(fmt.Errorf("taken: %v, %w", taken, err))
	}
	return <-out
}

func liveStrays(t *testing.T, s *Session) map[uint32]*stray {
	t.Helper()
	p := current(t, s).strays
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[uint32]*stray, len(p.live))
	for ssrc, st := range p.live {
		out[ssrc] = st
	}
	return out
}
