package rtcpool

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
)

// layeredVideo is a video in two encodings with repairs.
const layeredVideo = "video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtcp-fb:96 nack\r\n" +
	"a=rtcp-fb:96 nack pli\r\na=sendonly\r\na=rtcp-mux\r\na=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n" +
	"a=extmap:5 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\na=rid:f send\r\na=rid:q send\r\na=simulcast:send f;q\r\n"

// layeredSession is a session that was offered a video of two encodings, and readers of their sources.
func layeredSession(t *testing.T) (*Session, map[string]*reader) {
	t.Helper()
	live := newIdle(t)
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	if r, err := live.session.Negotiate(ctx, Offer{Generation: 2, SDP: offertest.Of(layeredVideo)}); err != nil || r.Answer == nil || len(r.Answer.Rejected) != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	readers := map[string]*reader{}
	inSession(t, live.session, func() {
		p := live.session.current
		for i, name := range []string{"f", "q", "f repair", "q repair", "none", "x"} {
			rid, _, _ := strings.Cut(name, " ")
			st := &stray{of: p.strays, ssrc: uint32(100 + i), kind: media.KindVideo, mid: "0", rid: rid, repair: name != rid, known: true}
			if name == "none" {
				st.rid, st.repair = "", false
			}
			r := newReader(p, st, media.KindVideo)
			r.sink.Store(live.session.sinkOf(r))
			p.feedback.add(r)
			readers[name] = r
		}
	})
	return live.session, readers
}

// inSession has the session's goroutine do something.
func inSession(t *testing.T, s *Session, do func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	done := make(chan struct{})
	if _, err := s.do(ctx, func() { do(); close(done) }); err != nil {
		t.Fatal(err)
	}
	<-done
}

// vp8Packet is a packet of a delta picture; of a repair it says which sequence number it repairs.
func vp8Packet(r *reader, seq uint16, repairs ...byte) []byte {
	raw := make([]byte, 12, 32)
	raw[0], raw[1] = 0x80, 96|0x80
	binary.BigEndian.PutUint16(raw[2:], seq)
	binary.BigEndian.PutUint32(raw[4:], uint32(seq)*6000)
	binary.BigEndian.PutUint32(raw[8:], uint32(r.source.SSRC()))
	if len(repairs) > 0 {
		raw[1] = 97
		raw = append(raw, repairs...)
	}
	return append(raw, 0x10, 0x11, 0, 0, 0, 0, 0)
}

// TestF20_EachEncodingHasItsSourceAndItsRepairs gives packets of two encodings, of the repairs of each, and of sources that name none or an unknown
// one: each encoding gets its own, a new source takes the place of an old one, and the media are one.
func TestF20_EachEncodingHasItsSourceAndItsRepairs(t *testing.T) {
	s, r := layeredSession(t)
	now := time.Now()
	for _, name := range []string{"f", "q"} {
		r[name].packet(vp8Packet(r[name], 1), now)
		r[name].packet(vp8Packet(r[name], 3), now)
	}
	if r["none"].sink.Load() != nil || r["x"].sink.Load() != nil {
		t.Error("a source that names no encoding, or an unknown one, has media")
	}
	e := r["f"].sink.Load()
	counts := func() (f, q uint64) {
		l := e.track.Layers()
		if len(l) != 2 || l[0].ID != "f" || l[1].ID != "q" {
			t.Fatalf("layers are %+v", l)
		}
		return l[0].Packets, l[1].Packets
	}
	if f, q := counts(); f != 2 || q != 2 {
		t.Errorf("%d and %d packets, want 2 and 2", f, q)
	}
	if ssrc := e.seen.Load() >> 8; ssrc != 100 {
		t.Errorf("told of the media is source %d, not that of the encoding that goes to consumers", ssrc)
	}
	r["q repair"].packet(vp8Packet(r["q repair"], 1, 0, 2), now.Add(20*time.Millisecond))
	if f, q := counts(); f != 2 || q != 3 {
		t.Errorf("after a repair of the small one %d and %d packets, want 2 and 3", f, q)
	}
	r["f repair"].packet(vp8Packet(r["f repair"], 1, 0, 2), now.Add(20*time.Millisecond))
	if f, q := counts(); f != 3 || q != 3 {
		t.Errorf("after one of the large one too %d and %d packets, want 3 and 3", f, q)
	}
	var again *reader
	inSession(t, s, func() {
		again = newReader(s.current, &stray{of: s.current.strays, ssrc: 200, kind: media.KindVideo, mid: "0", rid: "f", known: true}, media.KindVideo)
		again.sink.Store(s.sinkOf(again))
	})
	again.packet(vp8Packet(again, 500), now)
	r["f"].packet(vp8Packet(r["f"], 4), now) // it comes not back while the other sends
	if f, _ := counts(); f != 4 || e.seat(again).ssrc() != 200 {
		t.Errorf("another source: %d packets, asked of is %d", f, e.seat(again).ssrc())
	}
	inSession(t, s, func() {
		n := 0
		for _, e := range s.entries {
			if e.peer == s.current {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d media", n)
		}
	})
}

// A repair of an encoding that has not sent itself is not taken for one of another encoding.
func TestF20_RepairsDoNotStray(t *testing.T) {
	_, r := layeredSession(t)
	now := time.Now()
	r["f"].packet(vp8Packet(r["f"], 1), now)
	r["f"].packet(vp8Packet(r["f"], 3), now)
	r["q repair"].packet(vp8Packet(r["q repair"], 1, 0, 2), now.Add(20*time.Millisecond))
	e := r["f"].sink.Load()
	if l := e.track.Layers(); l[0].Packets != 2 || l[1].Packets != 0 {
		t.Errorf("layers are %+v, want two packets of the first", l)
	}
	r["f repair"].packet(vp8Packet(r["f repair"], 1, 0, 2), now.Add(20*time.Millisecond))
	if l := e.track.Layers(); l[0].Packets != 3 {
		t.Errorf("the repair of the first is not taken: %+v", l)
	}
}
