package service

import (
	"encoding/binary"
	"math"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// TestF2_FloatsOverGRPC streams a microphone as 32-bit floats at 44.1 kHz in stereo: the header says so, each frame has its samples, and their tone is
// the microphone's.
func TestF2_FloatsOverGRPC(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	sfu := g.sfu("call", sfutest.MSIDStream)
	mic := newTrack(t, sfu, "alice", microphone, clips.AliceMicrophone())
	must(t, sfu.Publish(g.ctx, mic))
	asked := &penstockv1.AudioFormat{SampleFormat: penstockv1.SampleFormat_SAMPLE_FORMAT_F32LE, SampleRateHz: 44100, Channels: 2, ChunkMs: 40}
	r := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", microphone), Format: audioOf(asked)})
	if got := r.header().GetFormat().GetAudio(); got.String() != asked.String() {
		t.Errorf("the header says %v, asked was %v", got, asked)
	}
	var mono []int16
	for len(mono) < 44100 {
		a := r.audio()
		if a.GetSampleCount() != 1764 || len(a.GetPayload()) != 1764*2*4 {
			t.Fatalf("%d samples in %d bytes", a.GetSampleCount(), len(a.GetPayload()))
		}
		for i := 0; i < len(a.GetPayload()); i += 8 {
			v := math.Float32frombits(binary.LittleEndian.Uint32(a.GetPayload()[i:]))
			if v < -1 || v >= 1 {
				t.Fatalf("sample %v", v)
			}
			mono = append(mono, int16(v*32768))
		}
	}
	if hz, strength := clips.ToneAt(mono, 44100); hz != mic.Clip.ToneHz {
		t.Errorf("heard %d Hz of strength %v, want %d", hz, strength, mic.Clip.ToneHz)
	}
}
