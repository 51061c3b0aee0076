package service

import (
	"testing"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// TestF21_KeysReachWorkers presses keys on both clocks while a microphone speaks: a worker gets one event each, in its place, between frames that are whole.
func TestF21_KeysReachWorkers(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	sfu := g.sfu("call", sfutest.MSIDStream)
	mic := newTrack(t, sfu, "alice", microphone, clips.AliceMicrophone())
	mic.SetPackets(sfutest.Packets{Redundancy: 2})
	words := listening(mic)
	must(t, sfu.Publish(g.ctx, mic))
	r := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", microphone), Format: audioOf(&penstockv1.AudioFormat{SampleRateHz: 8000}),
		Policy: &penstockv1.StreamPolicy{MaxQueueMs: 10000}})
	if h := r.header(); h.GetCodec() != penstockv1.Codec_CODEC_OPUS || h.GetClockRateHz() != 48000 {
		t.Errorf("the header is %v", h)
	}
	var last *penstockv1.FrameInfo
	for i, key := range []struct {
		code  uint8
		clock uint32
		want  *penstockv1.Dtmf
	}{
		{9, 48000, &penstockv1.Dtmf{Key: "9", DurationMs: 100, VolumeDbm0: 7}},
		{10, 8000, &penstockv1.Dtmf{Key: "*", DurationMs: 250, VolumeDbm0: 63}},
		{14, 48000, &penstockv1.Dtmf{Key: "C", DurationMs: 40, VolumeDbm0: 0}},
	} {
		words.until(t, g, (i+1)*20)
		mic.Press(key.code, uint8(key.want.GetVolumeDbm0()), time.Duration(key.want.GetDurationMs())*time.Millisecond, key.clock)
		var e *penstockv1.StreamEvent
		for frames := 0; frames < 30 || e == nil; { // the event, and what follows it
			m := r.next()
			if got := m.GetEvent(); got != nil {
				if e != nil || got.GetDtmf().String() != key.want.String() {
					t.Errorf("told is %v, want %v once", got, key.want)
				}
				e = got
			}
			a := m.GetAudio()
			if a == nil {
				continue
			}
			frames++
			info := a.GetInfo()
			if a.GetConcealed() || info.GetLostFrames() > 0 || last != nil && info.GetPresentationTimeNs()-last.GetPresentationTimeNs() != int64(20*time.Millisecond) {
				t.Fatalf("%v follows %v", info, last)
			}
			last = info
		}
		if d := time.Duration(last.GetPresentationTimeNs() - e.GetPresentationTimeNs()); d.Abs() > 30*time.Second {
			t.Errorf("the key lies %v before the last frame", d)
		}
	}
}

// TestF17_SilenceOfTheMutedIsNotSpeech mutes a microphone whose packets go on as those of browsers and SFUs do: padding, the silence that LiveKit fills
// with, and silence that an encoder made. None reaches the worker, and none is loss. Sound does, though signalling has not said so yet.
func TestF17_SilenceOfTheMutedIsNotSpeech(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	sfu := g.sfu("call", sfutest.MSIDStream)
	mic := newTrack(t, sfu, "alice", microphone, clips.AliceMicrophone())
	words := listening(mic)
	must(t, sfu.Publish(g.ctx, mic))
	r := g.open(replaying("alice", 0, nil))
	words.until(t, g, 10)
	r.audio()
	must(t, sfu.Report(g.ctx, &penstockv1.CallEvent{Event: &penstockv1.CallEvent_TrackMuted{
		TrackMuted: &penstockv1.TrackMuted{ParticipantId: "alice", Source: microphone},
	}}))
	r.event(func(e *penstockv1.StreamEvent) bool { return e.GetPaused().GetMuted() })
	last := r.audio() // the media themselves go on: signalling was ahead
	mic.Silence(sfutest.SilenceEncoded)
	words.until(t, g, words.count()+50)
	mic.Probe(10)
	mic.Silence(sfutest.SilenceFilled)
	words.until(t, g, words.count()+40)
	mic.Silence(sfutest.SilenceNone)
	speaks := mic.NextTimestamp()
	words.until(t, g, words.count()+10)
	silent := 0
	for a := r.audio(); ; a = r.audio() {
		info := a.GetInfo()
		if info.GetLostFrames() > 0 || info.GetSequence() != last.GetInfo().GetSequence()+uint64(info.GetDroppedFrames())+1 || a.GetConcealed() {
			t.Fatalf("%v follows %v", info, last.GetInfo())
		}
		last = a
		if int32(info.GetRtpTimestamp()-speaks) >= 0 {
			break
		}
		if loud := loudest(a.GetPayload()); loud <= 1 {
			silent++
		}
	}
	if silent > 0 {
		t.Errorf("%d frames of silence were delivered", silent)
	}
}

// loudest is the largest of 16-bit samples, without its sign.
func loudest(payload []byte) int {
	most := 0
	for i := 0; i+1 < len(payload); i += 2 {
		v := int(int16(uint16(payload[i]) | uint16(payload[i+1])<<8))
		most = max(most, v, -v)
	}
	return most
}
