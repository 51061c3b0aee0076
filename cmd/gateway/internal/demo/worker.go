package demo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// worker streams one track as an agent worker does, looks at every frame, and reports to the board.
type worker struct {
	role    role
	session string
	tracks  penstockv1.TrackServiceClient
	board   *board

	heard   []int16 // since the last pause, gap or concealed packet, at most what ToneAt still needs
	samples []int16 // everything, for the file
	picture picture // the last one
}

// sampleRate is that of speechFormat.
const sampleRate = 16000

// pauseGrace is how long after a pause a frame may still have been received: events and packets come on different ways,
// and a busy machine reads packets late.
const pauseGrace = 500 * time.Millisecond

// maxMessageBytes is the largest message that the demo's client takes.
const maxMessageBytes = 16 << 20

// run waits for the track, streams it to its end, and notes what is wrong. An end of ctx is not wrong.
func (w *worker) run(ctx context.Context) {
	err := w.stream(ctx)
	if ctx.Err() != nil {
		return
	}
	w.update(func(s *status) {
		switch {
		case err != nil:
			s.fault("the stream broke: %v", err)
		case !s.ended:
			s.fault("the stream ended without an ended event")
		}
		s.ended, s.state = true, "ended"
	})
}

func (w *worker) stream(ctx context.Context) error {
	logical := &penstockv1.TrackSelector{Selector: &penstockv1.TrackSelector_Participant{Participant: &penstockv1.ParticipantTrack{
		ParticipantId: w.role.participant.ParticipantID, Source: w.role.source,
	}}}
	if w.role.byUser {
		logical.Selector = &penstockv1.TrackSelector_User{User: &penstockv1.UserTrack{UserId: w.role.participant.UserID, Source: w.role.source}}
	}
	resolve := &penstockv1.ResolveTrackRequest{SessionId: w.session, Selector: logical}
	resolved, err := w.tracks.ResolveTrack(ctx, resolve)
	if err != nil {
		return fmt.Errorf("resolve: %w", err)
	}
	selector := logical
	if w.role.byTrackID {
		selector = &penstockv1.TrackSelector{Selector: &penstockv1.TrackSelector_TrackId{TrackId: resolved.GetTrack().GetTrackId()}}
	}
	stream, err := w.tracks.StreamTrack(ctx, &penstockv1.StreamTrackRequest{
		SessionId: w.session, Selector: selector, Format: w.role.format, MaxReceiveMessageBytes: maxMessageBytes,
		// The demo shares its cores with a publisher and the gateway: let it be late for a while without loss.
		Policy: &penstockv1.StreamPolicy{MaxQueueMs: 3000, MaxQueueBytes: 160 << 20},
	})
	if err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	for known := false; ; {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		w.take(message)
		// The header may come before the first packet, which tells the codec.
		if isFrame := message.GetAudio() != nil || message.GetVideo() != nil; isFrame && !known {
			known = true
			if resolved, err = w.tracks.ResolveTrack(ctx, resolve); err != nil {
				return fmt.Errorf("resolve again: %w", err)
			}
			w.takeCodec(resolved.GetTrack().GetMedia().GetCodec())
		}
	}
}

// codecs gives the clips' names for the contract's codecs.
func codecs() map[penstockv1.Codec]clips.Codec {
	return map[penstockv1.Codec]clips.Codec{
		penstockv1.Codec_CODEC_VP8: clips.VP8, penstockv1.Codec_CODEC_H264: clips.H264, penstockv1.Codec_CODEC_OPUS: clips.Opus,
	}
}

func (w *worker) takeCodec(codec penstockv1.Codec) {
	w.update(func(s *status) {
		s.codec = codecs()[codec]
		if want := w.role.clip.Codec; s.codec != want {
			s.fault("the codec is %v, want %s", codec, want)
		}
	})
}

func (w *worker) update(change func(*status)) { w.board.update(w.role.name, change) }

func (w *worker) take(message *penstockv1.StreamTrackResponse) {
	switch m := message.GetMessage().(type) {
	case *penstockv1.StreamTrackResponse_Header:
		w.takeHeader(m.Header)
	case *penstockv1.StreamTrackResponse_Audio:
		w.takeInfo(m.Audio.GetInfo())
		w.takeAudio(m.Audio)
	case *penstockv1.StreamTrackResponse_Video:
		w.takeInfo(m.Video.GetInfo())
		w.takeVideo(m.Video)
	case *penstockv1.StreamTrackResponse_Event:
		w.takeEvent(m.Event)
	}
}

// takeHeader checks that the gateway believes to send what was asked for. Whether it does, the content tells.
func (w *worker) takeHeader(h *penstockv1.StreamHeader) {
	publication := h.GetTrack().GetPublication()
	w.update(func(s *status) {
		s.state, s.format = "live", describe(h.GetFormat())
		if id := publication.GetParticipant().GetParticipantId(); id != w.role.participant.ParticipantID || publication.GetSource() != w.role.source {
			s.fault("the header names the %v of %q", publication.GetSource(), id)
		}
	})
}

// takeInfo checks the sequence and counts.
func (w *worker) takeInfo(info *penstockv1.FrameInfo) {
	now := time.Now()
	w.update(func(s *status) {
		if s.frames == 0 {
			s.first = now
		} else if gap := int(info.GetSequence() - s.lastSequence - 1); gap != 0 {
			s.holes += gap
			s.fault("sequence goes from %d to %d", s.lastSequence, info.GetSequence())
		}
		received := time.Unix(0, info.GetReceiveTimeUnixNs())
		if s.paused && received.Sub(s.pausedAt) > pauseGrace {
			s.fault("a frame was received %v into a pause", received.Sub(s.pausedAt))
		}
		s.frames++
		s.last, s.lastSequence = now, info.GetSequence()
		s.lost += int(info.GetLostFrames())
		s.dropped += int(info.GetDroppedFrames())
		delay := max(now.Sub(received), 0)
		s.delaySum += delay
		s.delayMax = max(s.delayMax, delay)
	})
}

func (w *worker) takeVideo(f *penstockv1.VideoFrame) {
	want := w.role.clip.Watermark
	p, err := toPicture(f, w.role.format.GetVideo().GetPixelFormat())
	if err != nil {
		w.update(func(s *status) { s.fault("%v", err) })
		return
	}
	w.picture = p
	id, ok := p.watermark()
	w.update(func(s *status) {
		s.width, s.height = int(f.GetWidth()), int(f.GetHeight())
		switch {
		case !ok && f.GetCorrupt(): // the frame says so itself
		case !ok:
			s.mark = "no watermark"
			s.fault("a picture has no watermark that can be read")
		case id != want:
			s.mark = fmt.Sprintf("watermark %d", id)
			s.fault("a picture has watermark %d (%s), want %d", id, ownerOf(func(c clips.Clip) bool { return c.Watermark == id }), want)
		default:
			s.mark = fmt.Sprintf("watermark %d", id)
			s.rightMarks++
		}
	})
}

// takeAudio looks for the tone once in each half second, in the second before.
func (w *worker) takeAudio(f *penstockv1.AudioFrame) {
	payload, want := f.GetPayload(), w.role.clip.ToneHz
	if len(payload) != 2*int(f.GetSampleCount()) {
		w.update(func(s *status) { s.fault("%d bytes for %d samples", len(payload), f.GetSampleCount()) })
		return
	}
	for i := 0; i+1 < len(payload); i += 2 {
		w.heard = append(w.heard, int16(binary.LittleEndian.Uint16(payload[i:])))
	}
	w.samples = append(w.samples, w.heard[len(w.heard)-len(payload)/2:]...)
	if f.GetConcealed() || f.GetInfo().GetLostFrames() > 0 {
		w.heard = nil // what was made up proves nothing
	}
	if len(w.heard) < sampleRate {
		return
	}
	hz, strength := clips.ToneAt(w.heard[:sampleRate], sampleRate)
	w.heard = append([]int16(nil), w.heard[sampleRate/2:]...)
	w.update(func(s *status) {
		switch hz {
		case want:
			s.mark = fmt.Sprintf("tone %d Hz", hz)
			s.rightMarks++
		case 0:
			s.mark = "no tone"
			s.fault("a second has no clear tone (loudest at %.3f), want %d Hz", strength, want)
		default:
			s.mark = fmt.Sprintf("tone %d Hz", hz)
			s.fault("a second has the tone of %d Hz (%s), want %d", hz, ownerOf(func(c clips.Clip) bool { return c.ToneHz == hz }), want)
		}
	})
}

func (w *worker) takeEvent(e *penstockv1.StreamEvent) {
	w.update(func(s *status) {
		switch event := e.GetEvent().(type) {
		case *penstockv1.StreamEvent_Paused:
			s.paused, s.pausedAt, s.state = true, time.Now(), "paused"
			if event.Paused.GetMuted() {
				s.state = "muted"
			}
		case *penstockv1.StreamEvent_Resumed:
			s.paused, s.state = false, "live"
			s.pauses += time.Since(s.pausedAt)
		case *penstockv1.StreamEvent_Ended:
			s.ended, s.state = true, "ended"
			s.endReason = inWords(event.Ended.GetReason().String(), "TRACK_END_REASON_")
		case *penstockv1.StreamEvent_Undecodable:
			s.fault("cannot be decoded: %s", event.Undecodable.GetReason())
		case *penstockv1.StreamEvent_FrameTooLarge:
			s.fault("a picture of %d bytes does not fit", event.FrameTooLarge.GetMessageBytes())
		}
	})
	w.heard = nil // what comes next does not follow on what was heard
}

// ownerOf names the clip that has a mark.
func ownerOf(has func(clips.Clip) bool) string {
	for _, c := range clips.All() {
		if has(c) {
			name, _, _ := strings.Cut(c.Name, ".")
			return strings.Replace(name, "-", "'s ", 1)
		}
	}
	return "nobody's"
}

// describe says in words what a header says of the format.
func describe(f *penstockv1.StreamFormat) string {
	if a := f.GetAudio(); a != nil {
		return fmt.Sprintf("%s %g kHz %s", strings.ToLower(strings.TrimPrefix(a.GetSampleFormat().String(), "SAMPLE_FORMAT_")), float64(a.GetSampleRateHz())/1000, map[uint32]string{1: "mono", 2: "stereo"}[a.GetChannels()])
	}
	v := f.GetVideo()
	text := strings.TrimPrefix(v.GetPixelFormat().String(), "PIXEL_FORMAT_")
	if v.GetMaxFps() > 0 {
		text += fmt.Sprintf(" ≤%g fps", v.GetMaxFps())
	}
	return text
}
