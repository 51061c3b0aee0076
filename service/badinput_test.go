package service

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// badCall is a call that must fail.
type badCall struct {
	name   string
	call   func(ctx context.Context, g *gateway) error
	code   codes.Code
	reason string
	field  string // named in BadRequest
	says   string // part of the message
}

// createCall returns a call of CreateSession.
func createCall(r *penstockv1.CreateSessionRequest) func(context.Context, *gateway) error {
	return func(ctx context.Context, g *gateway) error {
		_, err := g.sessions.CreateSession(ctx, r)
		return err
	}
}

// negotiateCall returns a call of Negotiate.
func negotiateCall(session, sdp string) func(context.Context, *gateway) error {
	return func(ctx context.Context, g *gateway) error {
		_, err := g.sessions.Negotiate(ctx, &penstockv1.NegotiateRequest{SessionId: session, Sdp: sdp})
		return err
	}
}

// streamCall returns a call of StreamTrack, read to its end.
func streamCall(r *penstockv1.StreamTrackRequest) func(context.Context, *gateway) error {
	return func(ctx context.Context, g *gateway) error {
		s, err := g.tracks.StreamTrack(ctx, r)
		for err == nil {
			var m *penstockv1.StreamTrackResponse
			if m, err = s.Recv(); m.GetAudio() != nil || m.GetVideo() != nil {
				return errors.New("a frame came")
			}
		}
		return err
	}
}

// frameCall returns a call of GetFrame.
func frameCall(r *penstockv1.GetFrameRequest) func(context.Context, *gateway) error {
	return func(ctx context.Context, g *gateway) error {
		_, err := g.tracks.GetFrame(ctx, r)
		return err
	}
}

// videoOf returns a format of video.
func videoOf(v *penstockv1.VideoFormat) *penstockv1.StreamFormat {
	return &penstockv1.StreamFormat{Format: &penstockv1.StreamFormat_Video{Video: v}}
}

// audioOf returns a format of audio.
func audioOf(a *penstockv1.AudioFormat) *penstockv1.StreamFormat {
	return &penstockv1.StreamFormat{Format: &penstockv1.StreamFormat_Audio{Audio: a}}
}

// encodedAs returns an encoded format.
func encodedAs(codec ...penstockv1.Codec) *penstockv1.StreamFormat {
	return &penstockv1.StreamFormat{Format: &penstockv1.StreamFormat_Encoded{Encoded: &penstockv1.EncodedFormat{Codecs: codec}}}
}

// TestBadInput makes every kind of wrong call at a gateway that streams, and finds for each a status, a reason, the field
// and what to do; the stream goes on.
func TestBadInput(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	sfu := g.sfu("call", sfutest.MSIDStream)
	must(t, sfu.Publish(g.ctx, newTrack(t, sfu, "alice", camera, clips.AliceCamera()), newTrack(t, sfu, "alice", microphone, clips.AliceMicrophone())))
	running := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera)})
	sequence := running.video().GetInfo().GetSequence()

	for _, calls := range [][]badCall{badSessions(), badOffers(), badSelectors(), badFormats(), badSizes(), badFrames()} {
		for _, c := range calls {
			t.Run(c.name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(g.ctx, hang/2)
				defer cancel()
				st := wantStatus(t, c.call(ctx, g), c.code, c.reason)
				if c.field != "" {
					var fields []string
					for _, v := range detail[*errdetails.BadRequest](st).GetFieldViolations() {
						fields = append(fields, v.GetField())
					}
					if !strings.Contains(strings.Join(fields, " "), c.field) {
						t.Errorf("names the fields %q, want %q", fields, c.field)
					}
				}
				if !strings.Contains(st.Message(), c.says) || !strings.HasSuffix(st.Message(), ".") {
					t.Errorf("says %q, want %q in a sentence", st.Message(), c.says)
				}
			})
		}
	}
	if next := running.video().GetInfo().GetSequence(); next != sequence+1 && running.video() == nil {
		t.Errorf("the stream went on at %d after %d", next, sequence)
	}
}

func badSessions() []badCall {
	long := strings.Repeat("x", 300)
	return []badCall{
		{"id with a slash", createCall(&penstockv1.CreateSessionRequest{SessionId: "a/b"}), codes.InvalidArgument, "INVALID_FIELD", "session_id", "characters"},
		{"id too long", createCall(&penstockv1.CreateSessionRequest{SessionId: long}), codes.InvalidArgument, "INVALID_FIELD", "session_id", "128"},
		{"label too long", createCall(&penstockv1.CreateSessionRequest{Labels: map[string]string{"k": long}}), codes.InvalidArgument, "INVALID_FIELD", "labels", "255"},
		{"label key empty", createCall(&penstockv1.CreateSessionRequest{Labels: map[string]string{"": "v"}}), codes.InvalidArgument, "INVALID_FIELD", "labels", "63"},
		{"grace negative", createCall(&penstockv1.CreateSessionRequest{Grace: durationpb.New(-time.Second)}), codes.InvalidArgument, "INVALID_FIELD", "grace", "between"},
		{"ice server without url", createCall(&penstockv1.CreateSessionRequest{IceServers: []*penstockv1.IceServer{{}}}), codes.InvalidArgument, "INVALID_FIELD", "ice_servers[0].urls", "1 to"},
		{"ice server of http", createCall(&penstockv1.CreateSessionRequest{IceServers: []*penstockv1.IceServer{{Urls: []string{"http://x"}}}}), codes.InvalidArgument, "INVALID_FIELD", "ice_servers[0].urls[0]", "turn:"},
		{"turn without password", createCall(&penstockv1.CreateSessionRequest{IceServers: []*penstockv1.IceServer{{Urls: []string{"turn:x"}}}}), codes.InvalidArgument, "INVALID_FIELD", "ice_servers[0]", "credential"},
		{"livekit", createCall(&penstockv1.CreateSessionRequest{Source: &penstockv1.CreateSessionRequest_Livekit{}}), codes.Unimplemented, "NOT_IMPLEMENTED", "", "livekit"},
		{"whep", createCall(&penstockv1.CreateSessionRequest{Source: &penstockv1.CreateSessionRequest_Whep{}}), codes.Unimplemented, "NOT_IMPLEMENTED", "", "whep"},
		{"taken id", createCall(&penstockv1.CreateSessionRequest{SessionId: "call", Labels: map[string]string{"a": "b"}}), codes.AlreadyExists, "SESSION_EXISTS", "", "Choose another"},
		{"page too large", func(ctx context.Context, g *gateway) error {
			_, err := g.sessions.ListSessions(ctx, &penstockv1.ListSessionsRequest{PageSize: 1001})
			return err
		}, codes.InvalidArgument, "INVALID_FIELD", "page_size", "1000"},
		{"page token", func(ctx context.Context, g *gateway) error {
			_, err := g.sessions.ListSessions(ctx, &penstockv1.ListSessionsRequest{PageToken: "bm9ib2R5IG1hZGUgdGhpcw"})
			return err
		}, codes.InvalidArgument, "INVALID_FIELD", "page_token", "next_page_token"},
		{"get unknown", func(ctx context.Context, g *gateway) error {
			_, err := g.sessions.GetSession(ctx, &penstockv1.GetSessionRequest{SessionId: "none"})
			return err
		}, codes.NotFound, "SESSION_NOT_FOUND", "", "Create it"},
		{"delete without id", func(ctx context.Context, g *gateway) error {
			_, err := g.sessions.DeleteSession(ctx, &penstockv1.DeleteSessionRequest{})
			return err
		}, codes.InvalidArgument, "INVALID_FIELD", "session_id", "empty"},
		{"events of unknown session", func(ctx context.Context, g *gateway) error {
			_, err := g.sessions.ReportEvents(ctx, &penstockv1.ReportEventsRequest{SessionId: "none"})
			return err
		}, codes.NotFound, "SESSION_NOT_FOUND", "", "Create it"},
		{"too many events", func(ctx context.Context, g *gateway) error {
			_, err := g.sessions.ReportEvents(ctx, &penstockv1.ReportEventsRequest{SessionId: "call", Events: make([]*penstockv1.CallEvent, 1001)})
			return err
		}, codes.InvalidArgument, "INVALID_FIELD", "events", "1000"},
		{"watch unknown", func(ctx context.Context, g *gateway) error {
			s, err := g.tracks.WatchTracks(ctx, &penstockv1.WatchTracksRequest{SessionId: "none"})
			if err == nil {
				_, err = s.Recv()
			}
			return err
		}, codes.NotFound, "SESSION_NOT_FOUND", "", "Create it"},
	}
}

func badOffers() []badCall {
	return []badCall{
		{"no sdp", negotiateCall("call", ""), codes.InvalidArgument, "INVALID_FIELD", "sdp", "offer"},
		{"not an sdp", negotiateCall("call", "hello"), codes.InvalidArgument, "INVALID_SDP", "sdp", "unchanged"},
		{"sdp without media", negotiateCall("call", "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"), codes.InvalidArgument, "NO_MEDIA", "", "at least one"},
		{"sdp too large", negotiateCall("call", strings.Repeat("x", maxSDP+1)), codes.InvalidArgument, "INVALID_FIELD", "sdp", "1048576"},
		{"offer to unknown session", negotiateCall("none", "v=0"), codes.NotFound, "SESSION_NOT_FOUND", "", "Create it"},
		{"candidate missing", func(ctx context.Context, g *gateway) error {
			_, err := g.sessions.AddIceCandidate(ctx, &penstockv1.AddIceCandidateRequest{SessionId: "call"})
			return err
		}, codes.InvalidArgument, "INVALID_FIELD", "candidate", "end-of-candidates"},
	}
}

func badSelectors() []badCall {
	s := func(sel *penstockv1.TrackSelector) func(context.Context, *gateway) error {
		return streamCall(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: sel})
	}
	return []badCall{
		{"no selector", s(nil), codes.InvalidArgument, "INVALID_FIELD", "selector", "track_id"},
		{"no participant", s(byParticipant("", camera)), codes.InvalidArgument, "INVALID_FIELD", "selector.participant.participant_id", "1 to 512"},
		{"no source", s(byParticipant("alice", 0)), codes.InvalidArgument, "INVALID_FIELD", "selector.participant.source", "SOURCE_CAMERA"},
		{"unknown source", s(byParticipant("alice", 99)), codes.InvalidArgument, "INVALID_FIELD", "selector.participant.source", "SOURCE_CAMERA"},
		{"unknown track", s(byID("none")), codes.NotFound, "TRACK_NOT_FOUND", "", "ListTracks"},
		{"unknown session", streamCall(&penstockv1.StreamTrackRequest{SessionId: "none", Selector: byID("x")}), codes.NotFound, "SESSION_NOT_FOUND", "", "Create it"},
		{"not live in time", func(ctx context.Context, g *gateway) error {
			ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			_, err := g.tracks.ResolveTrack(ctx, &penstockv1.ResolveTrackRequest{SessionId: "call", Selector: byParticipant("nobody", camera)})
			return serverSide(err)
		}, codes.DeadlineExceeded, "TRACK_NOT_LIVE", "", "Try again"},
	}
}

// serverSide replaces the status that gRPC's client makes by itself when a deadline passes by what the server says:
// which of the two comes first is up to the clock.
func serverSide(err error) error {
	if _, own := errReason(err); own {
		return err
	}
	return (&failure{reason: penstockv1.ErrorReason_ERROR_REASON_TRACK_NOT_LIVE, cause: err}).status().Err()
}

func badFormats() []badCall {
	s := func(source penstockv1.Source, f *penstockv1.StreamFormat) func(context.Context, *gateway) error {
		return streamCall(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", source), Format: f})
	}
	return []badCall{
		{"audio of video", s(camera, audioOf(nil)), codes.InvalidArgument, "FORMAT_KIND_MISMATCH", "", "video format of video"},
		{"video of audio", s(microphone, videoOf(nil)), codes.InvalidArgument, "FORMAT_KIND_MISMATCH", "", "audio format of audio"},
		{"rate", s(microphone, audioOf(&penstockv1.AudioFormat{SampleRateHz: 12345})), codes.InvalidArgument, "INVALID_FIELD", "format.audio.", "48000"},
		{"channels", s(microphone, audioOf(&penstockv1.AudioFormat{Channels: 3})), codes.InvalidArgument, "INVALID_FIELD", "format.audio.channels", "1 or 2"},
		{"chunk", s(microphone, audioOf(&penstockv1.AudioFormat{ChunkMs: 5})), codes.InvalidArgument, "INVALID_FIELD", "format.audio.chunk", "100"},
		{"sample format", s(microphone, audioOf(&penstockv1.AudioFormat{SampleFormat: 77})), codes.InvalidArgument, "INVALID_FIELD", "format.audio.sample_format", "S16LE"},
		{"silence", s(microphone, audioOf(&penstockv1.AudioFormat{Silence: 77})), codes.InvalidArgument, "INVALID_FIELD", "format.audio.silence", "OMIT"},
		{"pixel format", s(camera, videoOf(&penstockv1.VideoFormat{PixelFormat: 77})), codes.InvalidArgument, "INVALID_FIELD", "format.video.pixel_format", "I420"},
		{"box", s(camera, videoOf(&penstockv1.VideoFormat{Width: 8193})), codes.InvalidArgument, "INVALID_FIELD", "format.video.width", "8192"},
		{"cover without box", s(camera, videoOf(&penstockv1.VideoFormat{Fit: penstockv1.FitMode_FIT_MODE_COVER, Width: 9})), codes.InvalidArgument, "INVALID_FIELD", "format.video.fit", "height"},
		{"fps", s(camera, videoOf(&penstockv1.VideoFormat{MaxFps: -1})), codes.InvalidArgument, "INVALID_FIELD", "format.video.max_fps", "240"},
		{"10,000 pixels", s(camera, videoOf(&penstockv1.VideoFormat{Width: 10_000, Height: 10_000})), codes.InvalidArgument, "INVALID_FIELD", "format.video.width", "8192"},
		{"fps that is no number", s(camera, videoOf(&penstockv1.VideoFormat{MaxFps: math.NaN()})), codes.InvalidArgument, "INVALID_FIELD", "format.video.max_fps", "240"},
		{"fps without end", s(camera, videoOf(&penstockv1.VideoFormat{MaxFps: math.Inf(1)})), codes.InvalidArgument, "INVALID_FIELD", "format.video.max_fps", "240"},
		{"enlarged to 256 MB", streamCall(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera), MaxReceiveMessageBytes: math.MaxUint32,
			Format: videoOf(&penstockv1.VideoFormat{PixelFormat: penstockv1.PixelFormat_PIXEL_FORMAT_RGBA, Width: 8192, Height: 8192, Fit: penstockv1.FitMode_FIT_MODE_STRETCH, AllowUpscale: true})}),
			codes.InvalidArgument, "INVALID_FIELD", "format.video.width", "9437184"},
		{"1 Hz", s(microphone, audioOf(&penstockv1.AudioFormat{SampleRateHz: 1})), codes.InvalidArgument, "INVALID_FIELD", "format.audio.sample_rate_hz", "48000"},
		{"quality", s(camera, videoOf(&penstockv1.VideoFormat{JpegQuality: 101})), codes.InvalidArgument, "INVALID_FIELD", "format.video.jpeg_quality", "100"},
		{"codec not accepted", s(camera, encodedAs(penstockv1.Codec_CODEC_AV1)), codes.FailedPrecondition, "CODEC_NOT_ACCEPTED", "", "decoded format"},
		{"unknown codec", s(camera, encodedAs(99)), codes.InvalidArgument, "INVALID_FIELD", "format.encoded.codecs", "empty"},
		{"resume", streamCall(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", microphone),
			ResumeToken: "x"}), codes.InvalidArgument, "RESUME_TOKEN_INVALID", "", "without it"},
		{"queue time", streamCall(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", microphone),
			Policy: &penstockv1.StreamPolicy{MaxQueueMs: 10001}}), codes.InvalidArgument, "INVALID_FIELD", "policy.max_queue_ms", "10000"},
		{"overflow", streamCall(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", microphone),
			Policy: &penstockv1.StreamPolicy{Overflow: 9}}), codes.InvalidArgument, "INVALID_FIELD", "policy.overflow", "DROP_OLDEST"},
	}
}

func badSizes() []badCall {
	s := func(limit uint32, v *penstockv1.VideoFormat) func(context.Context, *gateway) error {
		return streamCall(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera),
			Format: videoOf(v), MaxReceiveMessageBytes: limit})
	}
	rgb := &penstockv1.VideoFormat{PixelFormat: penstockv1.PixelFormat_PIXEL_FORMAT_RGB24}
	return []badCall{
		// 1280×720 in RGB24 is 2764800 bytes.
		{"F13 known size", s(2764800, rgb), codes.InvalidArgument, "MESSAGE_TOO_LARGE", "max_receive_message_bytes", "2765056"},
		{"F13 tiny", s(1, nil), codes.InvalidArgument, "MESSAGE_TOO_LARGE", "max_receive_message_bytes", "grpc.max_receive_message_length"},
	}
}

func badFrames() []badCall {
	return []badCall{
		{"picture of audio", frameCall(&penstockv1.GetFrameRequest{SessionId: "call", Selector: byParticipant("alice", microphone)}), codes.InvalidArgument, "FORMAT_KIND_MISMATCH", "", "audio"},
		{"picture with a rate", frameCall(&penstockv1.GetFrameRequest{SessionId: "call", Selector: byParticipant("alice", camera),
			Format: &penstockv1.VideoFormat{MaxFps: 1}}), codes.InvalidArgument, "INVALID_FIELD", "format.max_fps", "0"},
		{"picture too large", frameCall(&penstockv1.GetFrameRequest{SessionId: "call", Selector: byParticipant("alice", camera),
			Format: &penstockv1.VideoFormat{PixelFormat: penstockv1.PixelFormat_PIXEL_FORMAT_RGB24}, MaxReceiveMessageBytes: 2764800}),
			codes.InvalidArgument, "MESSAGE_TOO_LARGE", "max_receive_message_bytes", "1280×720"},
		{"picture of unknown track", frameCall(&penstockv1.GetFrameRequest{SessionId: "call", Selector: byID("none")}), codes.NotFound, "TRACK_NOT_FOUND", "", "ListTracks"},
	}
}
