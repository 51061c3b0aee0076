package media

import (
	"bytes"
	"encoding/binary"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/pion/rtp"
)

var (
	pcmuParams = CodecParameters{Codec: CodecPCMU, PayloadType: 0, ClockRate: 8000}
	pcmaParams = CodecParameters{Codec: CodecPCMA, PayloadType: 8, ClockRate: 8000}
	g722Params = CodecParameters{Codec: CodecG722, PayloadType: 9, ClockRate: 8000}
)

// speaker sends audio payloads into a track, on a clock of its own.
type speaker struct {
	t     *testing.T
	track *Track
	head  rtp.Header // of the next packet
	now   time.Time  // when it arrives
}

// newSpeaker tells the track of a codec and of others that may come, and returns a speaker of the first.
func newSpeaker(t *testing.T, track *Track, codec CodecParameters, others ...CodecParameters) *speaker {
	t.Helper()
	track.SetParameters(ReceiveParameters{Codecs: append([]CodecParameters{codec}, others...)})
	return &speaker{
		t: t, track: track, now: time.Now(),
		head: rtp.Header{Version: 2, SSRC: 7, SequenceNumber: 65500, Timestamp: math.MaxUint32 - 5000, PayloadType: codec.PayloadType},
	}
}

// packet returns the next packet as bytes, and moves on by its length in ticks and in time.
func (s *speaker) packet(payload []byte, ticks uint32, length time.Duration) []byte {
	s.t.Helper()
	raw, err := (&rtp.Packet{Header: s.head, Payload: payload}).Marshal()
	if err != nil {
		s.t.Fatal(err)
	}
	s.head.SequenceNumber++
	s.head.Timestamp += ticks
	s.now = s.now.Add(length)
	return raw
}

// say sends a packet.
func (s *speaker) say(payload []byte, ticks uint32, length time.Duration) {
	s.t.Helper()
	at := s.now
	s.track.WriteRTP(s.packet(payload, ticks, length), at)
}

// pause lets time go by in which nothing is sent.
func (s *speaker) pause(ticks uint32, length time.Duration) {
	s.head.Timestamp += ticks
	s.now = s.now.Add(length)
}

// settle waits until all that the track got is decoded.
func settle(track *Track) {
	for {
		track.mu.Lock()
		waiting := len(track.audio.queue)
		track.mu.Unlock()
		track.audio.mu.Lock() // held for the length of a step
		ended := track.audio.closed
		track.audio.mu.Unlock()
		if waiting == 0 || ended {
			return
		}
		runtime.Gosched()
	}
}

// heard returns the frames that wait for a consumer, without waiting for more.
func heard(t *testing.T, c *Consumer) (frames []*Frame, events []*Event) {
	t.Helper()
	settle(c.track)
	for {
		item, ok, err := c.take()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return frames, events
		}
		if item.Event != nil {
			events = append(events, item.Event)
			continue
		}
		t.Cleanup(item.Frame.Payload.Release)
		frames = append(frames, item.Frame)
	}
}

// samplesIn returns the samples of a frame, brought to 16 bits.
func samplesIn(t *testing.T, f *Frame, format SampleFormat) []int16 {
	t.Helper()
	if format == S16LE {
		return pcmOf(f)
	}
	data := bytes.Join(f.Payload.Parts(), nil)
	out := make([]int16, len(data)/4)
	for i := range out {
		v := math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])) * 32768
		if out[i] = int16(v); float32(out[i]) != v {
			t.Fatalf("sample %d is %v of full scale, which is no 16-bit sample", i, v/32768)
		}
	}
	return out
}

// muLaw encodes one sample (ITU-T G.711).
func muLaw(sample int16) byte {
	sign, v := byte(0x80), int(sample)
	if v < 0 {
		sign, v = 0, -v
	}
	v = min(v, 32635) + 132
	exponent := 7
	for v&(128<<exponent) == 0 && exponent > 0 {
		exponent--
	}
	return ^(^sign&0x80 | byte(exponent)<<4 | byte(v>>(exponent+3)&0x0f))
}

// muLawTone is a tone of 1 kHz in packets of 20 ms.
func muLawTone(packets int) [][]byte {
	var out [][]byte
	samples := tone(8000, 1, packets*160)
	for i := range packets {
		var p []byte
		for _, s := range samples[i*160:][:160] {
			p = append(p, muLaw(s))
		}
		out = append(out, p)
	}
	return out
}
