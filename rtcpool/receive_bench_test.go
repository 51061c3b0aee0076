package rtcpool

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/penstock-media/penstock/rtcpool/internal/network"
	"github.com/penstock-media/penstock/rtcpool/internal/repair"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// speech is a packet of sound with what senders put beside it.
func speech(b testing.TB) []byte {
	b.Helper()
	p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 111, SSRC: 1, Extension: true, ExtensionProfile: repair.OneByteProfile}, Payload: make([]byte, 120)}
	p.Payload[0] = 0xf8
	for id, value := range map[uint8][]byte{1: {0x85}, 2: {0, 0}} {
		if err := p.SetExtension(id, value); err != nil {
			b.Fatal(err)
		}
	}
	return rtpBytes(b, &p)
}

// number gives a packet its sequence numbers and its timestamp.
func number(raw []byte, n int) {
	binary.BigEndian.PutUint16(raw[2:], uint16(n))
	binary.BigEndian.PutUint32(raw[4:], uint32(960*n))
	_, elements, _, _ := repair.Parts(raw)
	binary.BigEndian.PutUint16(repair.Extension(repair.OneByteProfile, elements, 2), uint16(n))
}

// BenchmarkReceivePacket is one packet of an undisturbed stream, from SRTP's hands into a media that nobody consumes, with all
// the feedback that is owed for it: by our own path, and by pion's interceptors.
func BenchmarkReceivePacket(b *testing.B) {
	b.Run("own", func(b *testing.B) {
		live, raw := newIdle(b), speech(b)
		now := time.Now()
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			number(raw, i)
			live.audio.packet(raw, now.Add(time.Duration(i)*20*time.Millisecond))
		}
	})
	b.Run("pion", func(b *testing.B) {
		live, raw := newIdle(b), speech(b)
		read := pionReader(b, raw)
		buf := make([]byte, network.ReceiveMTU)
		now := time.Now()
		e := live.audio.sink.Load()
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			number(raw, i)
			n, _, err := read.Read(buf, nil)
			if err != nil {
				b.Fatal(err)
			}
			e.main.write(buf[:n], now.Add(time.Duration(i)*20*time.Millisecond))
			e.main.note(buf[:n])
		}
	})
}

// pionReader is a stream that always has the same packet, behind pion's interceptors.
func pionReader(b *testing.B, raw []byte) interceptor.RTPReader {
	b.Helper()
	info := &interceptor.StreamInfo{
		SSRC: 1, ClockRate: 48000, RTCPFeedback: []interceptor.RTCPFeedback{{Type: "nack"}, {Type: "transport-cc"}},
		RTPHeaderExtensions: []interceptor.RTPHeaderExtension{{URI: "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01", ID: 2}},
	}
	var read interceptor.RTPReader = interceptor.RTPReaderFunc(func(p []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		return copy(p, raw), a, nil
	})
	generator, err := nack.NewGeneratorInterceptor()
	if err != nil {
		b.Fatal(err)
	}
	reports, err := report.NewReceiverInterceptor()
	if err != nil {
		b.Fatal(err)
	}
	feedback, err := twcc.NewSenderInterceptor()
	if err != nil {
		b.Fatal(err)
	}
	for _, factory := range []interceptor.Factory{generator, reports, feedback} {
		i, err := factory.NewInterceptor("")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := i.Close(); err != nil {
				b.Error(err)
			}
		})
		i.BindRTCPWriter(interceptor.RTCPWriterFunc(func([]rtcp.Packet, interceptor.Attributes) (int, error) { return 0, nil }))
		read = i.BindRemoteStream(info, read)
	}
	return read
}

// A received packet allocates nothing between SRTP and its media but the unit that it is there, whatever feedback is owed for it.
func TestX12_AllocationsOfAReceivedPacket(t *testing.T) {
	live, raw := newIdle(t), speech(t)
	now, n := time.Now(), 0
	receive := func() {
		number(raw, n)
		live.audio.packet(raw, now.Add(time.Duration(n)*20*time.Millisecond))
		n++
	}
	for range 100 { // the first ones make what is used again
		receive()
	}
	if got := testing.AllocsPerRun(500, receive); got > 4 {
		t.Errorf("%.1f allocations a packet", got)
	} else {
		t.Logf("%.1f allocations a packet", got)
	}
}
