package service

import (
	"bytes"
	"encoding/binary"
	"image/jpeg"
	"os/exec"
	"testing"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
)

const (
	camera     = penstockv1.Source_SOURCE_CAMERA
	microphone = penstockv1.Source_SOURCE_MICROPHONE
	screen     = penstockv1.Source_SOURCE_SCREEN_SHARE
)

// TestMainJob goes from nothing to decoded frames of known origin: one stream is opened before its track exists, one
// after.
func TestMainJob(t *testing.T) {
	g := startGateway(t)
	if s := g.create("call"); s.GetState() != penstockv1.SessionState_SESSION_STATE_AWAITING_OFFER || s.GetEpoch() == 0 {
		t.Fatalf("a new session is %v", s)
	}
	early := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera)})

	sfu := g.sfu("call", sfutest.MSIDStream)
	cam := newTrack(t, sfu, "alice", camera, clips.AliceCamera())
	mic := newTrack(t, sfu, "alice", microphone, clips.AliceMicrophone())
	must(t, sfu.Publish(g.ctx, cam, mic))

	wantVideo(t, early, clips.AliceCamera())
	late := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", microphone),
		Format: &penstockv1.StreamFormat{Format: &penstockv1.StreamFormat_Audio{Audio: &penstockv1.AudioFormat{SampleRateHz: 16000}}}})
	wantAudio(t, late, clips.AliceMicrophone())

	g.await(func() bool { return g.session("call").GetState() == penstockv1.SessionState_SESSION_STATE_CONNECTED })
	if s := g.session("call"); s.GetGeneration() != 1 || s.GetExpireTime() != nil {
		t.Errorf("the session that streams is %v", s)
	}
}

// wantVideo checks header, clock and content of a stream of I420.
func wantVideo(t *testing.T, r *reader, clip clips.Clip) {
	t.Helper()
	h := r.next().GetHeader()
	if h == nil {
		t.Fatal("the first message is not a header")
	}
	f := h.GetFormat().GetVideo()
	if f.GetPixelFormat() != penstockv1.PixelFormat_PIXEL_FORMAT_I420 || h.GetClockRateHz() != 90000 || h.GetStartTimeUnixNs() == 0 {
		t.Errorf("the header is %v", h)
	}
	var last *penstockv1.FrameInfo
	for range 10 {
		v := r.video()
		i := v.GetInfo()
		if last != nil && (i.GetPresentationTimeNs() <= last.GetPresentationTimeNs() || i.GetSequence() <= last.GetSequence() || i.GetEpoch() != last.GetEpoch()) {
			t.Fatalf("%v follows %v", i, last)
		}
		last = i
		w, h := int(v.GetWidth()), int(v.GetHeight())
		if w != clip.Width || h != clip.Height || len(v.GetPlanes()) != 3 || len(v.GetPayload()) != w*h*3/2 {
			t.Fatalf("a picture of %d×%d with planes %v and %d bytes", w, h, v.GetPlanes(), len(v.GetPayload()))
		}
		y := v.GetPlanes()[0]
		if id, ok := clips.ReadWatermark(v.GetPayload()[y.GetOffset():], w, h, int(y.GetStride())); !ok || id != clip.Watermark {
			t.Fatalf("watermark %d %v, want %d", id, ok, clip.Watermark)
		}
	}
	if last.GetPresentationTimeNs() > int64(hang) || last.GetReceiveTimeUnixNs() == 0 {
		t.Errorf("the tenth picture says %v", last)
	}
}

// wantAudio checks header, clock and content of a stream of 16 kHz mono.
func wantAudio(t *testing.T, r *reader, clip clips.Clip) {
	t.Helper()
	h := r.next().GetHeader()
	if f := h.GetFormat().GetAudio(); f.GetSampleRateHz() != 16000 || f.GetChannels() != 1 || f.GetChunkMs() != 20 ||
		h.GetCodec() != penstockv1.Codec_CODEC_OPUS || h.GetClockRateHz() != 48000 {
		t.Fatalf("the header is %v", h)
	}
	var pcm []int16
	last := int64(-1)
	for len(pcm) < 16000 {
		a := r.audio()
		if a.GetSampleCount() != 320 || len(a.GetPayload()) != 640 {
			t.Fatalf("a chunk of %d samples and %d bytes", a.GetSampleCount(), len(a.GetPayload()))
		}
		if at := a.GetInfo().GetPresentationTimeNs(); at <= last {
			t.Fatalf("presentation time %d follows %d", at, last)
		}
		last = a.GetInfo().GetPresentationTimeNs()
		for i := 0; i < len(a.GetPayload()); i += 2 {
			pcm = append(pcm, int16(binary.LittleEndian.Uint16(a.GetPayload()[i:])))
		}
	}
	if hz, strength := clips.ToneAt(pcm, 16000); hz != clip.ToneHz {
		t.Errorf("a tone of %d Hz, strength %.2f, want %d Hz", hz, strength, clip.ToneHz)
	}
}

// byFFmpeg returns the luma of a JPEG as the ffmpeg program sees it.
func byFFmpeg(t *testing.T, picture []byte) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "image2pipe", "-i", "pipe:0", "-f", "rawvideo", "-pix_fmt", "gray", "pipe:1")
	cmd.Stdin = bytes.NewReader(picture)
	var faults bytes.Buffer
	cmd.Stderr = &faults
	out, err := cmd.Output()
	if err != nil || faults.Len() > 0 {
		t.Fatalf("ffmpeg: %v: %s", err, &faults)
	}
	return out
}

// TestF14_GetFrame gets a JPEG that two other decoders open, of the right picture, and leaves neither a consumer behind nor, after its rest, a decoder.
func TestF14_GetFrame(t *testing.T) {
	g := startGatewayWith(t, media.NewDecodePool(manyWorkers, media.WithRest(time.Second)))
	g.create("call")
	sfu := g.sfu("call", sfutest.MSIDStream)
	must(t, sfu.Publish(g.ctx, newTrack(t, sfu, "bob", camera, clips.BobCamera())))
	unused := media.CMemoryInUse()
	r, err := g.tracks.GetFrame(g.ctx, &penstockv1.GetFrameRequest{SessionId: "call", Selector: byParticipant("bob", camera)})
	must(t, err)
	img, err := jpeg.Decode(bytes.NewReader(r.GetFrame().GetPayload()))
	must(t, err)
	luma, w, h, stride := clips.Luma(img)
	if id, ok := clips.ReadWatermark(luma, w, h, stride); !ok || id != clips.BobCamera().Watermark {
		t.Errorf("watermark %d %v of a picture of %d×%d", id, ok, w, h)
	}
	gray := byFFmpeg(t, r.GetFrame().GetPayload())
	if id, ok := clips.ReadWatermark(gray, 640, 360, 640); !ok || id != clips.BobCamera().Watermark || len(gray) != 640*360 {
		t.Errorf("ffmpeg sees watermark %d %v in %d bytes", id, ok, len(gray))
	}
	if r.GetFormat().GetPixelFormat() != penstockv1.PixelFormat_PIXEL_FORMAT_JPEG || r.GetFormat().GetJpegQuality() != 80 ||
		r.GetTrack().GetPublication().GetParticipant().GetParticipantId() != "bob" {
		t.Errorf("the reply says %v of %v", r.GetFormat(), r.GetTrack())
	}
	live := g.svc.session(key("call"))
	m, ok := live.rtc.Media(g.mediaOf("call", r.GetTrack().GetTrackId()))
	if !ok {
		t.Fatal("the media is gone")
	}
	before := m.Track.Stats()
	if before.Consumers != 0 {
		t.Fatalf("%d consumers are left", before.Consumers)
	}
	// Packets go on and nothing is decoded.
	for m.Track.Stats().Packets < before.Packets+50 {
		mustTick(t, g)
	}
	if after := m.Track.Stats(); after.Decoded > before.Decoded+1 { // one may have been under way
		t.Errorf("%d pictures were decoded for nobody", after.Decoded-before.Decoded)
	}
	g.backTo(unused) // The decoder is closed.
}
