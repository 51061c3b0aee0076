package service

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// someResponses are messages of each kind, and what is to be seen of them.
func someResponses() map[*penstockv1.StreamTrackResponse]peeked {
	info := &penstockv1.FrameInfo{
		Epoch: 1 << 63, Sequence: 300, RtpTimestamp: 1<<32 - 1, PresentationTimeNs: 1<<62 + 5, CaptureTimeUnixNs: 1 << 60, ReceiveTimeUnixNs: 1 << 60,
		LostFrames: 1<<32 - 1, LostMs: 1<<32 - 1, DroppedFrames: 1<<32 - 1, DroppedMs: 1<<32 - 1,
	}
	return map[*penstockv1.StreamTrackResponse]peeked{
		{Message: &penstockv1.StreamTrackResponse_Header{Header: &penstockv1.StreamHeader{ResumeToken: "t"}}}: {field: streamHeaderField},
		{Message: &penstockv1.StreamTrackResponse_Event{Event: &penstockv1.StreamEvent{}}}:                    {field: streamEventField},
		{Message: &penstockv1.StreamTrackResponse_Audio{Audio: &penstockv1.AudioFrame{Info: info, SampleCount: 960, Payload: make([]byte, 4000)}}}: {
			field: streamAudioField, epoch: 1 << 63, sequence: 300, presented: 1<<62 + 5, samples: 960},
		{Message: &penstockv1.StreamTrackResponse_Video{Video: &penstockv1.VideoFrame{Info: info, Width: 1280, Payload: make([]byte, 1<<20)}}}: {
			field: streamVideoField, epoch: 1 << 63, sequence: 300, presented: 1<<62 + 5},
		{Message: &penstockv1.StreamTrackResponse_Video{Video: &penstockv1.VideoFrame{}}}: {field: streamVideoField},
		{}: {},
	}
}

// TestPeekSeesWhatARelayNeeds looks at the first bytes of messages whose fields are as large as they can be.
func TestPeekSeesWhatARelayNeeds(t *testing.T) {
	for m, want := range someResponses() {
		b, err := proto.Marshal(m)
		must(t, err)
		if got := peek(b[:min(len(b), peekSize)]); got != want {
			t.Errorf("%T: saw %+v, want %+v", m.GetMessage(), got, want)
		}
	}
	negative := &penstockv1.FrameInfo{PresentationTimeNs: -5}
	b, err := proto.Marshal(&penstockv1.StreamTrackResponse{Message: &penstockv1.StreamTrackResponse_Audio{Audio: &penstockv1.AudioFrame{Info: negative}}})
	must(t, err)
	if got := peek(b).presented; got != -5*time.Nanosecond {
		t.Errorf("saw %v", got)
	}
}

// FuzzPeek looks at any bytes: in what is no frame it sees none.
func FuzzPeek(f *testing.F) {
	for m := range someResponses() {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[:min(len(b), 400)])
		f.Add(b[:min(len(b), peekSize)])
	}
	f.Add([]byte{0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		got := peek(b)
		if !got.frame() && (got.epoch != 0 || got.sequence != 0 || got.presented != 0 || got.samples != 0) {
			t.Errorf("%x: saw a frame in %+v", b, got)
		}
	})
}
