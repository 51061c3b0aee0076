package service

import (
	"time"

	"google.golang.org/grpc"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/media"
)

// Numbers of StreamTrackResponse's fields that hold frames.
const (
	streamAudioField = 2
	streamVideoField = 3
)

// sender sends the frames of one stream. It is used by one goroutine, and uses the same messages for every frame: they
// have been marshalled when SendMsg returns.
type sender struct {
	stream grpc.ServerStream
	epoch  uint64

	audio penstockv1.AudioFrame
	video penstockv1.VideoFrame
	info  penstockv1.FrameInfo
	level uint32
	voice bool
	plane [3]penstockv1.Plane
	out   frameMessage
}

// frame sends a frame at its place in the stream, and gives its payload back.
func (s *sender) frame(f *media.Frame, at time.Duration, sequence uint64) error {
	fillInfo(&s.info, f, s.epoch, at, sequence)
	s.out.payload = f.Payload
	if f.Kind == media.KindAudio {
		s.fillAudio(f)
		s.out.field, s.out.frame = streamAudioField, &s.audio
	} else {
		fillVideo(&s.video, f, &s.plane)
		s.video.Info = &s.info
		s.out.field, s.out.frame = streamVideoField, &s.video
	}
	defer s.out.release()
	return s.stream.SendMsg(&s.out)
}

// fillInfo says what every frame says.
func fillInfo(i *penstockv1.FrameInfo, f *media.Frame, epoch uint64, at time.Duration, sequence uint64) {
	i.Epoch, i.Sequence = epoch, sequence
	i.RtpTimestamp = f.RTPTimestamp
	i.PresentationTimeNs = int64(at)
	i.CaptureTimeUnixNs, i.ReceiveTimeUnixNs = unixNano(f.Captured), unixNano(f.Received)
	i.LostFrames, i.LostMs = f.Lost.Frames, milliseconds(f.Lost.Duration)
	i.DroppedFrames, i.DroppedMs = f.Dropped.Frames, milliseconds(f.Dropped.Duration)
}

// fillAudio says what a chunk of audio says.
func (s *sender) fillAudio(f *media.Frame) {
	s.audio.Info = &s.info
	s.audio.SampleCount = uint32(f.Samples)
	s.audio.Concealed, s.audio.SilenceMs = f.Concealed, milliseconds(f.Silence)
	s.audio.AudioLevelDbov, s.audio.VoiceActivity = nil, nil
	if f.HasLevel {
		s.level, s.voice = uint32(f.Level), f.Voice
		s.audio.AudioLevelDbov, s.audio.VoiceActivity = &s.level, &s.voice
	}
}

// fillVideo says what a picture says. planes are used again for every picture.
func fillVideo(v *penstockv1.VideoFrame, f *media.Frame, planes *[3]penstockv1.Plane) {
	v.Width, v.Height = uint32(f.Width), uint32(f.Height)
	v.RotationDegrees = uint32(f.Rotation)
	v.KeyFrame, v.Corrupt = f.KeyFrame, f.Corrupt
	v.Planes = v.Planes[:0]
	for i, p := range f.Planes {
		if i == len(planes) {
			break
		}
		planes[i].Offset, planes[i].Stride = uint32(p.Offset), uint32(p.Stride)
		v.Planes = append(v.Planes, &planes[i])
	}
}

// header sends what follows.
func (s *sender) header(h *penstockv1.StreamHeader) error {
	return s.stream.SendMsg(&penstockv1.StreamTrackResponse{Message: &penstockv1.StreamTrackResponse_Header{Header: h}})
}

// event sends what happened.
func (s *sender) event(e *penstockv1.StreamEvent) error {
	return s.stream.SendMsg(&penstockv1.StreamTrackResponse{Message: &penstockv1.StreamTrackResponse_Event{Event: e}})
}

// unixNano returns 0 for a time that is not known.
func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// milliseconds rounds a length to the nearest.
func milliseconds(d time.Duration) uint32 {
	return uint32(min(max((d+time.Millisecond/2)/time.Millisecond, 0), 1<<32-1))
}
