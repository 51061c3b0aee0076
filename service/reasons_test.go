package service

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/resolverstore"
)

// provocation makes a call that ends with one reason.
type provocation func(g *gateway) error

// unprovoked are the reasons that no caller can see, and why.
func unprovoked() map[string]string {
	return map[string]string{
		"CANCELLED":          "its caller is gone: it is in logs and metrics alone",
		"NEGOTIATION_FAILED": "whatever pion refuses is mended or INVALID_SDP before it gets there: rtcpool's TestS17_WhatOnlyPionRefuses goes past that, and TestClassify on from there",
	}
}

// TestO11_EveryReasonIsProvoked goes through the reasons of the contract, and gets each over a real call: with the status that the table documents, an ErrorInfo of the
// gateway's domain, a sentence that ends, and a RetryInfo exactly where the table has one.
func TestO11_EveryReasonIsProvoked(t *testing.T) {
	documented := documentedCodes(t)
	all := provocations()
	for number, name := range penstockv1.ErrorReason_name {
		reason := strings.TrimPrefix(name, reasonPrefix)
		provoke, ok := all[reason]
		if number == 0 || unprovoked()[reason] != "" {
			if ok {
				t.Errorf("%s is provoked, and said to be out of reach", reason)
			}
			continue
		}
		if !ok {
			t.Errorf("nothing provokes %s", reason)
			continue
		}
		delete(all, reason)
		t.Run(reason, func(t *testing.T) {
			st := wantStatus(t, provoke.call(startGateway(t, provoke.with)), documented[name], reason)
			retry := detail[*errdetails.RetryInfo](st).GetRetryDelay().AsDuration()
			if want := replies[penstockv1.ErrorReason(number)].retry; (retry > 0) != (want > 0) {
				t.Errorf("to be tried again after %v, the table says %v", retry, want)
			}
			if m := st.Message(); !strings.HasSuffix(m, ".") || strings.Contains(m, "service:") || strings.Contains(m, "%!") {
				t.Errorf("says %q", m)
			}
		})
	}
	for reason := range all {
		t.Errorf("%s is no reason", reason)
	}
}

// provoked is how a reason is provoked, and the gateway that it takes.
type provoked struct {
	with func(*Config)
	call provocation
}

// provocations has one way to each reason.
func provocations() map[string]provoked {
	all := make(map[string]provoked)
	for _, some := range []map[string]provoked{wrongRequests(), wrongSessions(), wrongTracks(), wrongCallers(), wrongPods()} {
		for reason, p := range some {
			if p.with == nil {
				p.with = func(*Config) {}
			}
			all[reason] = p
		}
	}
	return all
}

// of makes a call of a session that is there.
func of(call func(context.Context, *gateway) error) provocation {
	return func(g *gateway) error {
		g.create("call")
		return call(g.ctx, g)
	}
}

// wrongRequests are wrong by themselves.
func wrongRequests() map[string]provoked {
	return map[string]provoked{
		"INVALID_FIELD":        {call: of(createCall(&penstockv1.CreateSessionRequest{SessionId: "a/b"}))},
		"INVALID_SDP":          {call: of(negotiateCall("call", "hello"))},
		"NO_MEDIA":             {call: of(negotiateCall("call", "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"))},
		"FORMAT_KIND_MISMATCH": {call: of(streamCall(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("a", camera), Format: audioOf(nil)}))},
		"NOT_IMPLEMENTED":      {call: of(createCall(&penstockv1.CreateSessionRequest{Source: &penstockv1.CreateSessionRequest_Whep{}}))},
		"UNKNOWN_METHOD": {call: func(g *gateway) error {
			return g.conn.Invoke(g.ctx, "/penstock.v1.SessionService/NoSuchMethod", &penstockv1.GetSessionRequest{}, &penstockv1.GetSessionResponse{})
		}},
		"MALFORMED_REQUEST": {call: func(g *gateway) error {
			junk := rawBytes("\xff\xff")
			s, err := g.conn.NewStream(g.ctx, &penstockv1.SessionService_ServiceDesc.Streams[0], penstockv1.SessionService_Signal_FullMethodName, grpc.ForceCodec(rawCodec{}))
			must(g.t, err)
			must(g.t, s.SendMsg(&junk))
			return s.RecvMsg(&junk)
		}},
		"RESUME_TOKEN_INVALID": {call: of(streamCall(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("a", camera), ResumeToken: "x"}))},
		"LIMIT_REACHED":        {call: of(createCall(&penstockv1.CreateSessionRequest{SessionId: "more"})), with: func(c *Config) { c.Limits = Limits{CallerSessions: 1} }},
	}
}

// wrongSessions are not, or not any more, or not of that kind.
func wrongSessions() map[string]provoked {
	return map[string]provoked{
		"SESSION_NOT_FOUND": {call: of(negotiateCall("none", "v=0"))},
		"SESSION_EXISTS":    {call: of(createCall(&penstockv1.CreateSessionRequest{SessionId: "call", Labels: map[string]string{"a": "b"}}))},
		"SESSION_ENDED": {call: func(g *gateway) error {
			g.create("call")
			_, err := g.sessions.DeleteSession(g.ctx, &penstockv1.DeleteSessionRequest{SessionId: "call"})
			must(g.t, err)
			return streamCall(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byID("x")})(g.ctx, g)
		}},
		"NOT_AN_OFFERS_SESSION": {call: func(g *gateway) error {
			_, err := g.svc.create(g.ctx, resolverstore.Session{Key: key("whip"), Source: resolverstore.SourceWHIP, RequestHash: "x"}, nil)
			must(g.t, err)
			return negotiateCall("whip", "v=0")(g.ctx, g)
		}},
		"SIGNAL_REPLACED": {call: func(g *gateway) error {
			g.create("call")
			first := g.raw("call")
			g.raw("call")
			for {
				if _, err := first.Recv(); err != nil {
					return err
				}
			}
		}},
		"DEADLINE": {with: func(c *Config) { c.SignalPatience = 50 * time.Millisecond }, call: func(g *gateway) error {
			s, err := g.sessions.Signal(g.ctx)
			must(g.t, err)
			_, err = s.Recv()
			return err
		}},
		"DRAINING": {call: func(g *gateway) error {
			g.svc.drain.tell()
			return createCall(&penstockv1.CreateSessionRequest{})(g.ctx, g)
		}},
		"INTERNAL": {with: func(c *Config) { c.Store = panicStore{c.Store} }, call: of(func(ctx context.Context, g *gateway) error {
			_, err := g.sessions.GetSession(ctx, &penstockv1.GetSessionRequest{SessionId: "call"})
			return err
		})},
	}
}

// wrongTracks are not, or cannot be had in that way.
func wrongTracks() map[string]provoked {
	alice := func(f *penstockv1.StreamFormat, limit uint32) provocation {
		return func(g *gateway) error {
			g.call("call")
			return streamCall(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera), Format: f, MaxReceiveMessageBytes: limit})(g.ctx, g)
		}
	}
	return map[string]provoked{
		"TRACK_NOT_FOUND": {call: of(streamCall(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byID("none")}))},
		"TRACK_NOT_LIVE": {with: func(c *Config) { c.FrameTimeout = 50 * time.Millisecond },
			call: func(g *gateway) error { // without a deadline of the caller's, whose own end would come first
				g.create("call")
				_, err := g.tracks.GetFrame(context.WithoutCancel(g.ctx), &penstockv1.GetFrameRequest{SessionId: "call", Selector: byParticipant("nobody", camera)})
				return err
			}},
		"PARTICIPANT_LEFT": {call: of(func(ctx context.Context, g *gateway) error {
			_, err := g.sessions.ReportEvents(ctx, &penstockv1.ReportEventsRequest{SessionId: "call", Events: []*penstockv1.CallEvent{
				published("bob", camera), {Event: &penstockv1.CallEvent_ParticipantLeft{ParticipantLeft: &penstockv1.ParticipantLeft{ParticipantId: "bob"}}},
			}})
			must(g.t, err)
			return streamCall(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("bob", camera)})(ctx, g)
		})},
		"CODEC_NOT_ACCEPTED": {call: alice(encodedAs(penstockv1.Codec_CODEC_AV1), 0)},
		"MESSAGE_TOO_LARGE":  {call: alice(videoOf(&penstockv1.VideoFormat{PixelFormat: penstockv1.PixelFormat_PIXEL_FORMAT_RGBA}), 10_000)},
		"CODEC_UNSUPPORTED": {call: func(g *gateway) error {
			g.create("call")
			noise := keyFrame(g.t, "plain-640x360.ivf")[:40] // a header, and nothing of the picture
			g.publishStill("call", noise)
			return frameCall(&penstockv1.GetFrameRequest{SessionId: "call", Selector: byParticipant("alice", camera)})(g.ctx, g)
		}, with: func(c *Config) { c.FrameTimeout = hang }},
		"CONSUMER_STALLED": {call: func(g *gateway) error {
			g.create("call")
			sfu := g.sfu("call", sfutest.MSIDStream)
			must(g.t, sfu.Publish(g.ctx, newTrack(g.t, sfu, "bob", camera, clips.BobCamera())))
			r := g.openBy(g.narrow(), &penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("bob", camera),
				Policy: &penstockv1.StreamPolicy{MaxQueueBytes: 1 << 20, Overflow: penstockv1.OverflowAction_OVERFLOW_ACTION_DISCONNECT}})
			r.video()
			for g.svc.streams.n.Load() != 0 {
				mustTick(g.t, g)
			}
			return r.end()
		}},
	}
}

// jwtSecret signs the tokens of these tests.
const jwtSecret = "0123456789abcdef0123456789abcdef"

// listAs lists sessions with a token of claims.
func listAs(secret string, claims jwt.MapClaims) provocation {
	return func(g *gateway) error {
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
		must(g.t, err)
		_, err = g.sessions.ListSessions(metadata.AppendToOutgoingContext(g.ctx, "authorization", "Bearer "+token), &penstockv1.ListSessionsRequest{})
		return err
	}
}

// wrongCallers are not known, or may not.
func wrongCallers() map[string]provoked {
	tokens := func(c *Config) { c.JWT = &JWTConfig{Secrets: [][]byte{[]byte(jwtSecret)}} }
	claims := func(life time.Duration) jwt.MapClaims {
		return jwt.MapClaims{"sub": "anna", "tenant": "acme", "actions": []string{"stream"}, "exp": time.Now().Add(life).Unix()}
	}
	return map[string]provoked{
		"UNAUTHENTICATED":     {with: tokens, call: listAs("another secret of thirty-two bytes", claims(time.Hour))},
		"PERMISSION_DENIED":   {with: tokens, call: listAs(jwtSecret, claims(time.Hour))},
		"CREDENTIALS_EXPIRED": {with: tokens, call: listAs(jwtSecret, claims(-time.Hour))},
		"FORWARD_REFUSED": {call: func(g *gateway) error {
			_, err := g.sessions.ListSessions(metadata.AppendToOutgoingContext(g.ctx, "penstock-forward", "forged"), &penstockv1.ListSessionsRequest{})
			return err
		}},
		"AUTH_UNAVAILABLE": {with: func(c *Config) { c.JWT = &JWTConfig{JWKS: "http://127.0.0.1:1/keys"} }, call: func(g *gateway) error {
			token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims(time.Hour))
			token.Header["alg"], token.Header["kid"] = "RS256", "one"
			text, err := token.SigningString()
			must(g.t, err)
			_, err = g.sessions.ListSessions(metadata.AppendToOutgoingContext(g.ctx, "authorization", "Bearer "+text+".c2lnbmF0dXJl"), &penstockv1.ListSessionsRequest{})
			return err
		}},
	}
}

// farStore is a real store whose sessions have another owner, which is not there; or which cannot be reached.
type farStore struct {
	resolverstore.Store
	err error
}

// Owner implements resolverstore.Ownership.
func (s farStore) Owner(ctx context.Context, k resolverstore.SessionKey, not resolverstore.Fence) (resolverstore.Owner, error) {
	if not != (resolverstore.Fence{}) { // nothing changes any more
		<-ctx.Done()
		return resolverstore.Owner{}, context.Cause(ctx)
	}
	rec := resolverstore.Session{Key: k, State: resolverstore.SessionConnected, Fence: resolverstore.Fence{Owner: "far", Epoch: 1}}
	return resolverstore.Owner{Session: rec, Alive: true, Pod: resolverstore.Pod{Incarnation: "far", Address: "127.0.0.1:1"}}, s.err
}

// wrongPods have the session, or the store has nobody.
func wrongPods() map[string]provoked {
	far := func(err error) func(*Config) { return func(c *Config) { c.Store = farStore{c.Store, err} } }
	return map[string]provoked{
		"STORE_UNAVAILABLE": {with: far(resolverstore.ErrUnavailable), call: func(g *gateway) error { return negotiateCall("far", "v=0")(g.ctx, g) }},
		"SESSION_MOVING":    {with: far(nil), call: func(g *gateway) error { return negotiateCall("far", "v=0")(g.ctx, g) }},
		"SESSION_ELSEWHERE": {with: far(nil), call: func(g *gateway) error {
			return streamCall(&penstockv1.StreamTrackRequest{SessionId: "far", Selector: byID("x"), AcceptRedirect: true})(g.ctx, g)
		}},
	}
}

// TestO11_StreamsEndWithAReason: what ends a stream that ran is a status with a reason, too, or OK after the event that tells why.
func TestO11_StreamsEndWithAReason(t *testing.T) {
	g := startGateway(t)
	g.call("call")
	watch, err := g.tracks.WatchTracks(g.ctx, &penstockv1.WatchTracksRequest{SessionId: "call"})
	must(t, err)
	_, err = watch.Recv()
	must(t, err)
	streams := map[string]func() error{"StreamTrack": g.stream("call", byParticipant("alice", camera)).end, "WatchTracks": func() error {
		for {
			if _, err := watch.Recv(); err != nil {
				return err
			}
		}
	}}
	signal := g.raw("call")
	streams["Signal"] = func() error {
		for {
			if _, err := signal.Recv(); err != nil {
				return err
			}
		}
	}
	g.svc.drain.finish()
	for name, end := range streams {
		st := status.Convert(end())
		if info := detail[*errdetails.ErrorInfo](st); info.GetReason() != "DRAINING" || info.GetDomain() != errorDomain || detail[*errdetails.RetryInfo](st) == nil {
			t.Errorf("%s ends with %v, %v", name, st, st.Details())
		}
	}
}
