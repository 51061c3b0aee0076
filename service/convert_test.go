package service

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
)

// TestFormatDefaults fills in what a request leaves out, as the contract documents it.
func TestFormatDefaults(t *testing.T) {
	audio := &media.AudioFormat{Rate: 48000, Channels: 1, Chunk: 20 * time.Millisecond}
	video := &media.VideoFormat{JPEGQuality: 80}
	for name, c := range map[string]struct {
		format *penstockv1.StreamFormat
		kind   media.Kind
		want   media.Request
	}{
		"nothing of audio": {nil, media.KindAudio, media.Request{Audio: audio}},
		"nothing of video": {nil, media.KindVideo, media.Request{Video: video}},
		"empty audio":      {audioOf(nil), media.KindVideo, media.Request{Audio: audio}},
		"empty video":      {videoOf(&penstockv1.VideoFormat{}), media.KindAudio, media.Request{Video: video}},
		"all of audio": {audioOf(&penstockv1.AudioFormat{
			SampleFormat: penstockv1.SampleFormat_SAMPLE_FORMAT_F32LE, SampleRateHz: 8000, Channels: 2, ChunkMs: 100,
		}), media.KindAudio, media.Request{Audio: &media.AudioFormat{Sample: media.F32LE, Rate: 8000, Channels: 2, Chunk: 100 * time.Millisecond}}},
		"all of video": {videoOf(&penstockv1.VideoFormat{
			PixelFormat: penstockv1.PixelFormat_PIXEL_FORMAT_RGBA, Width: 8192, Height: 1, Fit: penstockv1.FitMode_FIT_MODE_STRETCH,
			AllowUpscale: true, MaxFps: 240, JpegQuality: 100, Rotation: penstockv1.RotationMode_ROTATION_MODE_REPORT, AllowRowPadding: true,
		}), media.KindVideo, media.Request{Video: &media.VideoFormat{
			Pixel: media.RGBA, Width: 8192, Height: 1, Fit: media.Stretch, AllowUpscale: true, MaxFPS: 240, JPEGQuality: 100,
			ReportRotation: true, AllowRowPadding: true,
		}}},
		"encoded": {encodedAs(penstockv1.Codec_CODEC_VP8, penstockv1.Codec_CODEC_OPUS), media.KindVideo,
			media.Request{Encoded: true, AcceptCodecs: []media.Codec{media.CodecVP8, media.CodecOpus}}},
	} {
		got, err := formatRequest(c.format, c.kind, media.I420)
		must(t, err)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestFormatsGoBothWays brings a full format into media's words and back.
func TestFormatsGoBothWays(t *testing.T) {
	for p := range pixelFormats {
		in := &penstockv1.VideoFormat{
			PixelFormat: p, Width: 64, Height: 48, Fit: penstockv1.FitMode_FIT_MODE_COVER, MaxFps: 2.5,
			Rotation: penstockv1.RotationMode_ROTATION_MODE_APPLY,
		}
		if p == penstockv1.PixelFormat_PIXEL_FORMAT_JPEG {
			in.JpegQuality = 7
		}
		v, err := videoFormat(in, "", media.I420)
		must(t, err)
		if out := protoVideoFormat(v); !proto.Equal(in, out) {
			t.Errorf("%v came back as %v", in, out)
		}
	}
	for i, f := range []penstockv1.SampleFormat{penstockv1.SampleFormat_SAMPLE_FORMAT_S16LE, penstockv1.SampleFormat_SAMPLE_FORMAT_F32LE} {
		in := &penstockv1.AudioFormat{SampleFormat: f, SampleRateHz: 44100, Channels: 2, ChunkMs: 10,
			Silence: penstockv1.SilenceMode(1 + i%2)}
		a, err := audioFormat(in)
		must(t, err)
		if out := protoAudioFormat(a); !proto.Equal(in, out) {
			t.Errorf("%v came back as %v", in, out)
		}
	}
	for number := range penstockv1.Codec_name {
		if c := penstockv1.Codec(number); protoCodec(mediaCodec(c)) != c {
			t.Errorf("%v came back as %v", c, protoCodec(mediaCodec(c)))
		}
	}
}

// TestNumbersAreTheContracts walks the enumerations that are converted by their numbers.
func TestNumbersAreTheContracts(t *testing.T) {
	for got, want := range map[string]string{
		penstockv1.SessionState(resolverstore.SessionAwaitingOffer).String():      "SESSION_STATE_AWAITING_OFFER",
		penstockv1.SessionState(resolverstore.SessionEnded).String():              "SESSION_STATE_ENDED",
		penstockv1.SessionEndReason(resolverstore.SessionDeleted).String():        "SESSION_END_REASON_DELETED",
		penstockv1.SessionEndReason(resolverstore.SessionRemoteClosed).String():   "SESSION_END_REASON_REMOTE_CLOSED",
		penstockv1.SourceKind(resolverstore.SourceOffers).String():                "SOURCE_KIND_OFFERS",
		penstockv1.SourceKind(resolverstore.SourceWHIP).String():                  "SOURCE_KIND_WHIP",
		penstockv1.MediaKind(resolverstore.KindVideo).String():                    "MEDIA_KIND_VIDEO",
		penstockv1.Source(resolverstore.ScreenShareAudio).String():                "SOURCE_SCREEN_SHARE_AUDIO",
		penstockv1.TrackState(resolverstore.TrackPending).String():                "TRACK_STATE_PENDING",
		penstockv1.TrackState(resolverstore.TrackEnded).String():                  "TRACK_STATE_ENDED",
		penstockv1.TrackEndReason(resolverstore.TrackUnpublished).String():        "TRACK_END_REASON_UNPUBLISHED",
		penstockv1.TrackEndReason(resolverstore.TrackSessionExpired).String():     "TRACK_END_REASON_SESSION_EXPIRED",
		penstockv1.CandidateResult(rtcpool.CandidateAdded).String():               "CANDIDATE_RESULT_ADDED",
		penstockv1.CandidateResult(rtcpool.CandidateDropped).String():             "CANDIDATE_RESULT_DROPPED",
		dropped(rtcpool.DropClosed, 0).GetDropped().GetReason().String():          "DROP_REASON_CLOSED",
		dropped(rtcpool.DropStaleGeneration, 3).GetDropped().GetReason().String(): "DROP_REASON_STALE_GENERATION",
		dropped(rtcpool.DropSuperseded, 3).GetDropped().GetReason().String():      "DROP_REASON_SUPERSEDED",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestFrameInfo says of a frame what media say of it, and nothing of the frame before.
func TestFrameInfo(t *testing.T) {
	received := time.Unix(7, 8)
	f := &media.Frame{
		Kind: media.KindAudio, RTPTimestamp: 9, Received: received, Samples: 960, Concealed: true, HasLevel: true, Level: 30, Voice: true,
		Lost: media.Loss{Frames: 2, Duration: 40 * time.Millisecond}, Dropped: media.Loss{Frames: 1, Duration: 19600 * time.Microsecond},
	}
	var s sender
	fillInfo(&s.info, f, 5, 3*time.Second, 6)
	s.fillAudio(f)
	want := &penstockv1.AudioFrame{
		Info: &penstockv1.FrameInfo{Epoch: 5, Sequence: 6, RtpTimestamp: 9, PresentationTimeNs: 3e9, ReceiveTimeUnixNs: received.UnixNano(),
			LostFrames: 2, LostMs: 40, DroppedFrames: 1, DroppedMs: 20},
		SampleCount: 960, Concealed: true, AudioLevelDbov: proto.Uint32(30), VoiceActivity: proto.Bool(true),
	}
	if !proto.Equal(&s.audio, want) {
		t.Errorf("filled %v, want %v", &s.audio, want)
	}
	s.fillAudio(&media.Frame{Kind: media.KindAudio})
	fillInfo(&s.info, &media.Frame{}, 5, 0, 7)
	if !proto.Equal(&s.audio, &penstockv1.AudioFrame{Info: &penstockv1.FrameInfo{Epoch: 5, Sequence: 7}}) {
		t.Errorf("an empty frame after it is %v", &s.audio)
	}
	planes := new([3]penstockv1.Plane)
	v := &penstockv1.VideoFrame{}
	fillVideo(v, &media.Frame{Width: 2, Height: 2, Rotation: 90, Planes: make([]media.Plane, 5)}, planes)
	fillVideo(v, &media.Frame{Width: 4, Height: 2, KeyFrame: true, Corrupt: true, Planes: []media.Plane{{Offset: 1, Stride: 4}}}, planes)
	if !proto.Equal(v, &penstockv1.VideoFrame{Width: 4, Height: 2, KeyFrame: true, Corrupt: true, Planes: []*penstockv1.Plane{{Offset: 1, Stride: 4}}}) {
		t.Errorf("the second picture is %v", v)
	}
}

// TestQueueIsCapped bounds what a caller asks for by the server's limit.
func TestQueueIsCapped(t *testing.T) {
	got := queue(&penstockv1.StreamPolicy{MaxQueueBytes: 1 << 63, MaxQueueMs: 10, Overflow: penstockv1.OverflowAction_OVERFLOW_ACTION_DISCONNECT}, 1000)
	if want := (media.Queue{MaxBytes: 1000, MaxDuration: 10 * time.Millisecond, Overflow: media.Disconnect}); got != want {
		t.Errorf("the queue is %+v, want %+v", got, want)
	}
	if got := queue(nil, 1000); got != (media.Queue{}) {
		t.Errorf("the default is %+v", got)
	}
}

// TestSessionAsCallersSeeIt leaves out what only the gateway may know.
func TestSessionAsCallersSeeIt(t *testing.T) {
	created := time.Unix(100, 0)
	got := protoSession(resolverstore.Session{
		Key: key("s"), State: resolverstore.SessionConnected, Labels: map[string]string{"a": "b"}, Source: resolverstore.SourceOffers,
		RequestHash: "secret", Generation: 2, MinGeneration: 1, Fence: resolverstore.Fence{Owner: "me", Epoch: 9}, Created: created, Revision: 4,
	})
	want := &penstockv1.Session{
		SessionId: "s", State: penstockv1.SessionState_SESSION_STATE_CONNECTED, Labels: map[string]string{"a": "b"},
		SourceKind: penstockv1.SourceKind_SOURCE_KIND_OFFERS, Generation: 2, MinGeneration: 1, Epoch: 9, Owner: "me",
		CreateTime: timestamppb.New(created), Revision: 4,
	}
	if !proto.Equal(got, want) {
		t.Errorf("callers see %v, want %v", got, want)
	}
	answer := protoResult(rtcpool.Result{Answer: &rtcpool.Answer{SDP: "x", Generation: 3, CandidatesComplete: true,
		Rejected: []rtcpool.RejectedMedia{{MID: "1", Index: 1, Reason: "no codec"}}}}).GetAnswer()
	if answer.GetSdp() != "x" || answer.GetGeneration() != 3 || !answer.GetCandidatesComplete() || answer.GetRejectedMedia()[0].GetReason() != "no codec" {
		t.Errorf("the answer is %v", answer)
	}
}

// TestValidateLeavesOthersAlone passes what is not of the contract, and names all that is wrong at one time.
func TestValidateNamesAllFaults(t *testing.T) {
	must(t, validate("a message of another service"))
	err := validate(&penstockv1.StreamTrackRequest{Policy: &penstockv1.StreamPolicy{ReplayMs: 5001, MaxQueueMs: 1 << 31}})
	var f *failure
	if !errors.As(err, &f) || len(f.fields) != 4 {
		t.Errorf("four faults give %v", err)
	}
	labels := make(map[string]string)
	for i := range maxLabels + 1 {
		labels[string(rune('a'+i))] = ""
	}
	if validate(&penstockv1.CreateSessionRequest{Labels: labels}) == nil || validate(&penstockv1.CreateSessionRequest{IceServers: make([]*penstockv1.IceServer, maxICEServers+1)}) == nil {
		t.Error("too many labels or servers are let through")
	}
}
