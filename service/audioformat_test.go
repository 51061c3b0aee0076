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
	asked := &penstockv1.AudioFormat{SampleFormat: penstockv1.SampleFormat_SAMPLE_FORMAT_F32LE, SampleRateHz: 44100, Channels: 2, ChunkMs: 40,
		Silence: penstockv1.SilenceMode_SILENCE_MODE_FILL}
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

// TestF7_SilenceIsFilledOrOmittedOverGRPC streams a microphone that sends nothing for 200 ms of each 400, as DTX has it. A worker that wants silence filled gets frames that
// join on to each other; one that does not is told the length of each pause by the frame after it. The headers say which is which.
func TestF7_SilenceIsFilledOrOmittedOverGRPC(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	sfu := g.sfu("call", sfutest.MSIDStream)
	mic := newTrack(t, sfu, "alice", microphone, clips.AliceMicrophone())
	mic.SetPackets(sfutest.Packets{DTX: 10})
	must(t, sfu.Publish(g.ctx, mic))
	g.untilState("call", "alice SOURCE_MICROPHONE", penstockv1.TrackState_TRACK_STATE_LIVE)
	open := func(m penstockv1.SilenceMode) *reader {
		r := g.open(replaying("alice", 0, audioOf(&penstockv1.AudioFormat{SampleRateHz: 16000, Silence: m})))
		if m == penstockv1.SilenceMode_SILENCE_MODE_UNSPECIFIED {
			m = penstockv1.SilenceMode_SILENCE_MODE_FILL
		}
		if got := r.header().GetFormat().GetAudio().GetSilence(); got != m {
			t.Errorf("the header says %v, want %v", got, m)
		}
		return r
	}
	fill, omit := open(penstockv1.SilenceMode_SILENCE_MODE_UNSPECIFIED), open(penstockv1.SilenceMode_SILENCE_MODE_OMIT)
	pauses := func(r *reader) (n int) {
		end := int64(0)
		for i := range 60 {
			a := r.audio()
			at, silence := a.GetInfo().GetPresentationTimeNs(), int64(a.GetSilenceMs())*1e6
			if i > 0 && at != end+silence {
				t.Fatalf("frame %d lies at %d after %d of silence; the one before ended at %d", i, at, silence, end)
			}
			if a.GetConcealed() || a.GetInfo().GetLostFrames() > 0 || silence != 0 && silence != 200e6 {
				t.Fatalf("frame %d: %v, %d ms of silence", i, a.GetInfo(), a.GetSilenceMs())
			}
			if end = at + int64(a.GetSampleCount())*1e9/16000; silence > 0 {
				n++
			}
		}
		return n
	}
	if n := pauses(fill); n != 0 {
		t.Errorf("%d pauses, though they are filled", n)
	}
	if n := pauses(omit); n < 5 {
		t.Errorf("%d pauses in 60 frames", n)
	}
}
