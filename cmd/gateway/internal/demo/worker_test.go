package demo

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

func newWorker(t *testing.T, name string) (*worker, func() status) {
	t.Helper()
	r, known := find(name)
	if !known {
		t.Fatal(name)
	}
	w := &worker{role: r, board: newBoard()}
	return w, func() status {
		v, _ := w.board.now()
		return v[name]
	}
}

func info(sequence uint64) *penstockv1.FrameInfo {
	return &penstockv1.FrameInfo{Sequence: sequence, ReceiveTimeUnixNs: time.Now().UnixNano()}
}

func video(f *penstockv1.VideoFrame, sequence uint64) *penstockv1.StreamTrackResponse {
	f.Info = info(sequence)
	return &penstockv1.StreamTrackResponse{Message: &penstockv1.StreamTrackResponse_Video{Video: f}}
}

// tone is 20 ms of a tone as the gateway sends it.
func tone(hz int, sequence uint64) *penstockv1.StreamTrackResponse {
	const samples = sampleRate / 50
	payload := make([]byte, 0, 2*samples)
	for i := range samples {
		at := 2 * math.Pi * float64(hz) * float64(int(sequence)*samples+i) / sampleRate
		payload = binary.LittleEndian.AppendUint16(payload, uint16(int16(2000*math.Sin(at))))
	}
	return &penstockv1.StreamTrackResponse{Message: &penstockv1.StreamTrackResponse_Audio{
		Audio: &penstockv1.AudioFrame{Info: info(sequence), SampleCount: samples, Payload: payload},
	}}
}

func event(e *penstockv1.StreamEvent) *penstockv1.StreamTrackResponse {
	return &penstockv1.StreamTrackResponse{Message: &penstockv1.StreamTrackResponse_Event{Event: e}}
}

func paused() *penstockv1.StreamTrackResponse {
	return event(&penstockv1.StreamEvent{Event: &penstockv1.StreamEvent_Paused{Paused: &penstockv1.TrackPaused{Muted: true}}})
}

func resumedEvent() *penstockv1.StreamTrackResponse {
	return event(&penstockv1.StreamEvent{Event: &penstockv1.StreamEvent_Resumed{Resumed: &penstockv1.TrackResumed{}}})
}

func wantFault(t *testing.T, s status, part string) {
	t.Helper()
	if !strings.Contains(strings.Join(s.faults, "\n"), part) {
		t.Errorf("faults %q, want one with %q", s.faults, part)
	}
	if s.verdict() != "WRONG" {
		t.Errorf("verdict %q", s.verdict())
	}
}

func TestRightContentIsProved(t *testing.T) {
	w, now := newWorker(t, aliceCamera)
	good := frames(t)[penstockv1.PixelFormat_PIXEL_FORMAT_I420]
	for i := range uint64(3) {
		w.take(video(good, i+1))
	}
	if s := now(); s.verdict() != "proved" || s.rightMarks != 3 || s.frames != 3 || s.width != testWidth {
		t.Errorf("%+v", s)
	}

	w, now = newWorker(t, bobMicrophone)
	for i := range uint64(100) {
		w.take(tone(1500, i+1))
	}
	if s := now(); s.verdict() != "proved" || s.rightMarks != 3 || len(w.samples) != 2*sampleRate {
		t.Errorf("%+v", s)
	}
}

func TestContentOfAnotherIsAFault(t *testing.T) {
	w, now := newWorker(t, bobCamera)
	w.take(video(frames(t)[penstockv1.PixelFormat_PIXEL_FORMAT_RGB24], 1))
	wantFault(t, now(), "watermark 53 (alice's camera), want 154")

	w, now = newWorker(t, bobMicrophone)
	for i := range uint64(60) {
		w.take(tone(1000, i+1))
	}
	wantFault(t, now(), "1000 Hz (alice's microphone), want 1500")

	w, now = newWorker(t, bobMicrophone)
	for i := range uint64(60) {
		w.take(tone(1250, i+1))
	}
	wantFault(t, now(), "no clear tone")
}

func TestNoWatermarkIsAFault(t *testing.T) {
	w, now := newWorker(t, bobCamera)
	w.take(video(&penstockv1.VideoFrame{Width: 320, Height: 180, Planes: []*penstockv1.Plane{{Stride: 960}}, Payload: make([]byte, 960*180)}, 1))
	wantFault(t, now(), "no watermark")
}

func TestAHoleInTheSequenceIsAFault(t *testing.T) {
	w, now := newWorker(t, aliceMicrophone)
	w.take(tone(1000, 1))
	w.take(tone(1000, 2))
	w.take(tone(1000, 5))
	wantFault(t, now(), "sequence goes from 2 to 5")
	if s := now(); s.holes != 2 {
		t.Errorf("%d holes", s.holes)
	}
}

func TestAFrameInAPauseIsAFault(t *testing.T) {
	w, now := newWorker(t, aliceMicrophone)
	w.take(tone(1000, 1))
	w.take(paused())
	w.take(tone(1000, 2)) // was on its way
	if s := now(); len(s.faults) != 0 || s.state != "muted" {
		t.Fatalf("%+v", s)
	}
	late := tone(1000, 3)
	late.GetAudio().Info.ReceiveTimeUnixNs += int64(2 * pauseGrace)
	w.take(late)
	wantFault(t, now(), "into a pause")
}

func TestWhatWasHeardBeforeAPauseDoesNotCountAfterIt(t *testing.T) {
	w, now := newWorker(t, aliceMicrophone)
	for i := range uint64(40) {
		w.take(tone(1000, i+1))
	}
	w.take(paused())
	w.take(resumedEvent())
	for i := range uint64(40) {
		w.take(tone(1000, i+41))
	}
	if s := now(); s.rightMarks != 0 || s.state != "live" || s.paused {
		t.Errorf("%+v", s)
	}
}

func TestWhatWasMadeUpProvesNothing(t *testing.T) {
	w, now := newWorker(t, aliceMicrophone)
	for i := range uint64(200) {
		frame := tone(1000, i+1)
		if i%30 == 10 {
			frame = tone(1500, i+1)
			frame.GetAudio().Concealed = true
		}
		w.take(frame)
	}
	if s := now(); s.rightMarks != 0 || len(s.faults) != 0 {
		t.Errorf("concealed audio: %+v", s)
	}

	w, now = newWorker(t, bobCamera)
	grey := &penstockv1.VideoFrame{Width: 320, Height: 180, Corrupt: true, Planes: []*penstockv1.Plane{{Stride: 960}}, Payload: make([]byte, 960*180)}
	w.take(video(grey, 1))
	if s := now(); s.rightMarks != 0 || len(s.faults) != 0 {
		t.Errorf("a corrupt picture: %+v", s)
	}
	other := frames(t)[penstockv1.PixelFormat_PIXEL_FORMAT_RGB24]
	other.Corrupt = true
	w.take(video(other, 2))
	wantFault(t, now(), "watermark 53")
}

func TestHeaderAndCodecOfAnotherAreFaults(t *testing.T) {
	header := func(participant string, source penstockv1.Source) *penstockv1.StreamTrackResponse {
		publication := &penstockv1.Publication{Participant: &penstockv1.Participant{ParticipantId: participant}, Source: source}
		return &penstockv1.StreamTrackResponse{Message: &penstockv1.StreamTrackResponse_Header{Header: &penstockv1.StreamHeader{
			Track: &penstockv1.Track{Publication: publication}, Format: videoFormat(&penstockv1.VideoFormat{PixelFormat: penstockv1.PixelFormat_PIXEL_FORMAT_RGB24}),
		}}}
	}
	w, now := newWorker(t, bobCamera)
	w.take(header("bob-desktop", penstockv1.Source_SOURCE_CAMERA))
	w.takeCodec(penstockv1.Codec_CODEC_H264)
	if s := now(); len(s.faults) != 0 || s.state != "live" || s.codec != clips.H264 || s.delivered() != "RGB24" {
		t.Fatalf("%+v", s)
	}
	w.take(header("bob-desktop", penstockv1.Source_SOURCE_SCREEN_SHARE))
	wantFault(t, now(), "SCREEN_SHARE")
	w, now = newWorker(t, bobCamera)
	w.takeCodec(penstockv1.Codec_CODEC_VP8)
	wantFault(t, now(), "the codec is CODEC_VP8, want H264")
}

func TestEventsThatMustNotCome(t *testing.T) {
	for part, e := range map[string]*penstockv1.StreamEvent{
		"cannot be decoded": {Event: &penstockv1.StreamEvent_Undecodable{Undecodable: &penstockv1.Undecodable{Reason: "encrypted"}}},
		"does not fit":      {Event: &penstockv1.StreamEvent_FrameTooLarge{FrameTooLarge: &penstockv1.FrameTooLarge{MessageBytes: 5}}},
	} {
		w, now := newWorker(t, bobScreen)
		w.take(event(e))
		wantFault(t, now(), part)
	}
	w, now := newWorker(t, bobScreen)
	w.take(event(&penstockv1.StreamEvent{Event: &penstockv1.StreamEvent_Ended{Ended: &penstockv1.TrackEnded{Reason: penstockv1.TrackEndReason_TRACK_END_REASON_SESSION_DELETED}}}))
	if s := now(); !s.ended || s.endReason != "session deleted" {
		t.Errorf("%+v", s)
	}
}
