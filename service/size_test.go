package service

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

const rgb4K = 3840 * 2160 * 3 // bytes

// TestF13_4KRGB gets pictures of 24.9 MB where the caller allows them, and a refusal with the numbers where not.
func TestF13_4KRGB(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	g.publishStill("call", keyFrame(t, "plain-3840x2160.ivf"))
	request := func(limit uint32) *penstockv1.StreamTrackRequest {
		return &penstockv1.StreamTrackRequest{
			SessionId: "call", Selector: byParticipant("alice", camera), MaxReceiveMessageBytes: limit,
			Format: videoOf(&penstockv1.VideoFormat{PixelFormat: penstockv1.PixelFormat_PIXEL_FORMAT_RGB24}),
		}
	}
	r := g.open(request(rgb4K + headerRoom))
	for range 3 {
		v := r.video()
		if v.GetWidth() != 3840 || v.GetHeight() != 2160 || len(v.GetPayload()) != rgb4K {
			t.Fatalf("a picture of %d×%d and %d bytes", v.GetWidth(), v.GetHeight(), len(v.GetPayload()))
		}
		for _, at := range []int{0, rgb4K / 2, rgb4K - 3} {
			if p := v.GetPayload()[at : at+3]; !near(p[0], 0x30) || !near(p[1], 0x60) || !near(p[2], 0xa0) {
				t.Fatalf("the pixel at %d is %x", at/3, p)
			}
		}
	}
	r.cancel()
	for limit, allowed := range map[uint32]string{0: "4194304", rgb4K + headerRoom - 1: fmt.Sprint(rgb4K + headerRoom - 1)} {
		st := wantStatus(t, g.open(request(limit)).end(), codes.InvalidArgument, "MESSAGE_TOO_LARGE")
		told, field := detail[*errdetails.ErrorInfo](st).GetMetadata(), detail[*errdetails.BadRequest](st).GetFieldViolations()
		need := fmt.Sprint(rgb4K + headerRoom)
		if told["message_bytes"] != need || told["max_receive_message_bytes"] != allowed || told["width"] != "3840" || told["height"] != "2160" ||
			len(field) != 1 || field[0].GetField() != "max_receive_message_bytes" || !strings.Contains(field[0].GetDescription(), need) {
			t.Errorf("limit %d: told %v, fields %v", limit, told, field)
		}
		for _, part := range []string{need, allowed, "3840×2160", "grpc.max_receive_message_length"} {
			if !strings.Contains(st.Message(), part) {
				t.Errorf("limit %d: %q does not name %s", limit, st.Message(), part)
			}
		}
	}
}

// near tells colours that differ by no more than the way through YUV and VP8 costs.
func near(got, want byte) bool { return got-want < 10 || want-got < 10 }

// TestF13_GrowthIsToldOnce lets the picture grow past the limit in mid-call, twice, and shrink again.
func TestF13_GrowthIsToldOnce(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	small, large := keyFrame(t, "plain-640x360.ivf"), keyFrame(t, "plain-3840x2160.ivf")
	peer := g.publishStill("call", small)
	r := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera), MaxReceiveMessageBytes: 1 << 20})
	live := g.svc.session(key("call"))
	for range 2 {
		if v := r.video(); v.GetWidth() != 640 {
			t.Fatalf("a picture of %d pixels' width", v.GetWidth())
		}
		peer.show(large)
		e := r.event(func(e *penstockv1.StreamEvent) bool { return e.GetFrameTooLarge() != nil }).GetFrameTooLarge()
		if want := uint64(3840*2160*3/2 + headerRoom); e.GetMessageBytes() != want || e.GetMaxReceiveMessageBytes() != 1<<20 {
			t.Fatalf("told %v, want %d bytes", e, want)
		}
		// More of the large ones come; none is told again, none delivered.
		m, ok := live.media(g.resolved("call"))
		if !ok {
			t.Fatal("no media")
		}
		for from := m.Stats().Units; m.Stats().Units < from+3; {
			mustTick(t, g)
		}
		peer.show(small)
		m2 := r.until(func(m *penstockv1.StreamTrackResponse) bool {
			return m.GetVideo() != nil || m.GetEvent().GetFrameTooLarge() != nil
		})
		if m2.GetVideo() == nil || m2.GetVideo().GetWidth() != 640 {
			t.Fatalf("then came %v", m2)
		}
	}
}

// TestFormats asks for every layout and checks the sizes that come.
func TestFormats(t *testing.T) {
	g := startGateway(t)
	g.call("call")
	for pixel, size := range map[penstockv1.PixelFormat]int{
		penstockv1.PixelFormat_PIXEL_FORMAT_I420:  320 * 180 * 3 / 2,
		penstockv1.PixelFormat_PIXEL_FORMAT_RGB24: 320 * 180 * 3,
		penstockv1.PixelFormat_PIXEL_FORMAT_JPEG:  0,
	} {
		r := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera),
			Format: videoOf(&penstockv1.VideoFormat{PixelFormat: pixel, Width: 320, Height: 320})})
		if got := r.header().GetFormat().GetVideo(); got.GetPixelFormat() != pixel || got.GetWidth() != 320 {
			t.Errorf("%v: the header says %v", pixel, got)
		}
		v := r.video()
		if v.GetWidth() != 320 || v.GetHeight() != 180 || size > 0 && len(v.GetPayload()) != size {
			t.Errorf("%v: %d×%d in %d bytes", pixel, v.GetWidth(), v.GetHeight(), len(v.GetPayload()))
		}
		r.cancel()
	}
}

// TestEncoded streams both kinds as received: video from a key frame on, audio as packets.
func TestEncoded(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	sfu := g.sfu("call", sfutest.MSIDStream)
	must(t, sfu.Publish(g.ctx, newTrack(t, sfu, "bob", camera, clips.BobCamera()), newTrack(t, sfu, "bob", microphone, clips.BobMicrophone())))
	video := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("bob", camera), Format: encodedAs(penstockv1.Codec_CODEC_H264)})
	h := video.header()
	if c := h.GetFormat().GetEncoded().GetCodecs(); len(c) != 1 || c[0] != penstockv1.Codec_CODEC_H264 || h.GetCodec() != c[0] {
		t.Errorf("the header is %v", h)
	}
	v := video.video()
	if !v.GetKeyFrame() || len(v.GetPlanes()) != 0 || string(v.GetPayload()[:3]) != "\x00\x00\x00" && string(v.GetPayload()[:3]) != "\x00\x00\x01" {
		t.Errorf("the first unit begins with %x, key frame %v", v.GetPayload()[:4], v.GetKeyFrame())
	}
	audio := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("bob", microphone), Format: encodedAs()})
	if a := audio.audio(); a.GetSampleCount() != 960 || len(a.GetPayload()) == 0 {
		t.Errorf("a packet of %d samples and %d bytes", a.GetSampleCount(), len(a.GetPayload()))
	}
}
