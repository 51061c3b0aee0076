package service

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// someTokens returns tokens whose clock stands still.
func someTokens(secret string) *tokens {
	now := time.Unix(1_700_000_000, 0)
	keys, err := relay.NewKeys([]byte(secret + strings.Repeat(".", relay.MinSecret)))
	if err != nil {
		panic(err) // it is long enough
	}
	return &tokens{keys: keys, life: time.Hour, now: func() time.Time { return now }}
}

// TestResumeTokenIsBound reads a token as it was made, and refuses it, each with its own word, for every other session, tenant, selector, key and time.
func TestResumeTokenIsBound(t *testing.T) {
	made := someTokens("a key that all pods share")
	session := resolverstore.SessionKey{Tenant: "t", ID: "call"}
	sel := resolverstore.Selector{ParticipantID: "alice", Source: resolverstore.Camera}
	start := time.Unix(1_699_999_000, 123_456_789)
	token := made.sign(session, sel, 42, start)
	m, err := made.parse(token, session, sel)
	must(t, err)
	if m.epoch != 42 || !m.start.Equal(start) {
		t.Errorf("read %+v", m)
	}
	later := someTokens("a key that all pods share")
	later.now = func() time.Time { return made.now().Add(time.Hour + 2*time.Second) }
	raw, err := base64.RawURLEncoding.DecodeString(token)
	must(t, err)
	newer := append([]byte{tokenVersion + 1}, raw[1:tokenSigned]...)
	for name, c := range map[string]struct {
		by    *tokens
		token string
		key   resolverstore.SessionKey
		sel   resolverstore.Selector
		want  error
	}{
		"session":  {made, token, resolverstore.SessionKey{Tenant: "t", ID: "other"}, sel, errTokenSession},
		"tenant":   {made, token, resolverstore.SessionKey{Tenant: "u", ID: "call"}, sel, errTokenSession},
		"border":   {made, token, resolverstore.SessionKey{Tenant: "tc", ID: "all"}, sel, errTokenSession},
		"source":   {made, token, session, resolverstore.Selector{ParticipantID: "alice", Source: resolverstore.Microphone}, errTokenSelector},
		"selector": {made, token, session, resolverstore.Selector{UserID: "alice", Source: resolverstore.Camera}, errTokenSelector},
		"key":      {someTokens("another key of all pods"), token, session, sel, errTokenForged},
		"old":      {later, token, session, sel, errTokenExpired},
		"version":  {made, base64.RawURLEncoding.EncodeToString(append(newer, made.keys.MAC(relay.ForResume, newer)...)), session, sel, errTokenVersion},
		"short":    {made, token[:len(token)-1], session, sel, errTokenForm},
		"long":     {made, token + "A", session, sel, errTokenForm},
		"text":     {made, strings.Repeat("!", len(token)), session, sel, errTokenForm},
	} {
		if got, err := c.by.parse(c.token, c.key, c.sel); err != c.want || got != (mark{}) { //nolint:errorlint // the very one
			t.Errorf("%s: %+v, %v; want %v", name, got, err, c.want)
		}
	}
	for i := range raw {
		changed := append([]byte(nil), raw...)
		changed[i] ^= 1
		if got, err := made.parse(base64.RawURLEncoding.EncodeToString(changed), session, sel); err != errTokenForged { //nolint:errorlint // the very one
			t.Errorf("byte %d changed: %+v, %v", i, got, err)
		}
	}
}

// FuzzResumeToken reads what anybody may send: it never fails otherwise than by saying so, and believes only what was signed.
func FuzzResumeToken(f *testing.F) {
	by := someTokens("a key that all pods share")
	session := resolverstore.SessionKey{ID: "call"}
	sel := resolverstore.Selector{TrackID: "t1"}
	good := by.sign(session, sel, 7, time.Unix(1, 2))
	f.Add(good)
	f.Add(good[:20])
	f.Add("")
	f.Add(strings.Repeat("A", len(good)))
	f.Add(someTokens("another key of all pods").sign(session, sel, 7, time.Unix(1, 2)))
	f.Fuzz(func(t *testing.T, token string) {
		m, err := by.parse(token, session, sel)
		if (err == nil) != (token == good) {
			t.Errorf("%q: %+v, %v", token, m, err)
		}
	})
}

// resume opens the stream of a reader again, with the last token and the place of its last frame.
func (g *gateway) resume(r *penstockv1.StreamTrackRequest, token string, last *penstockv1.FrameInfo) *reader {
	g.t.Helper()
	r.ResumeToken, r.ResumePresentationTimeNs, r.ResumeSequence = token, last.GetPresentationTimeNs(), last.GetSequence()
	return g.open(r)
}

// tillFrame reads on to the next frame, and returns the headers and gaps before it.
func (r *reader) tillFrame() (headers []*penstockv1.StreamHeader, gaps []*penstockv1.StreamEvent, frame *penstockv1.FrameInfo) {
	r.t.Helper()
	for {
		m := r.next()
		switch {
		case m.GetHeader() != nil:
			headers = append(headers, m.GetHeader())
		case m.GetEvent().GetGap() != nil:
			gaps = append(gaps, m.GetEvent())
		case m.GetAudio() != nil:
			return headers, gaps, m.GetAudio().GetInfo()
		case m.GetVideo() != nil:
			return headers, gaps, m.GetVideo().GetInfo()
		}
	}
}

// TestP9_ResumeTokenIsRefusedOrGoesOn opens a stream again with tokens that are forged, expired, of another session, another selector or another
// gateway: each is INVALID_ARGUMENT with its reason, and grants nothing. The right one goes on: start time and time line stay, a gap tells
// what was missed, and sequence numbers follow the last.
func TestP9_ResumeTokenIsRefusedOrGoesOn(t *testing.T) {
	g := startGateway(t)
	_, cam := g.call("call")
	g.create("other")
	ask := func() *penstockv1.StreamTrackRequest {
		return &penstockv1.StreamTrackRequest{
			SessionId: "call", Selector: byParticipant("alice", camera), Format: videoOf(&penstockv1.VideoFormat{Width: 320}), Policy: roomy(),
		}
	}
	r := g.open(ask())
	header := r.header()
	first := r.video().GetInfo()
	last := r.video().GetInfo()
	r.cancel()
	token := header.GetResumeToken()
	forged := []byte(token)
	forged[len(forged)/2]++
	sel := trackSelector(ask().GetSelector())
	old := g.svc.tokens
	old.now = func() time.Time { return time.Now().Add(-2 * time.Hour) }
	stranger := tokens{keys: relay.RandomKeys(), life: time.Hour, now: time.Now}
	for name, change := range map[string]func(*penstockv1.StreamTrackRequest){
		"forged":   func(q *penstockv1.StreamTrackRequest) { q.ResumeToken = string(forged) },
		"cut":      func(q *penstockv1.StreamTrackRequest) { q.ResumeToken = token[1:] },
		"stranger": func(q *penstockv1.StreamTrackRequest) { q.ResumeToken = stranger.sign(key("call"), sel, 1, time.Now()) },
		"expired":  func(q *penstockv1.StreamTrackRequest) { q.ResumeToken = old.sign(key("call"), sel, 1, time.Now()) },
		"session":  func(q *penstockv1.StreamTrackRequest) { q.SessionId = "other" },
		"selector": func(q *penstockv1.StreamTrackRequest) {
			q.Selector = byParticipant("alice", microphone)
			q.Format = nil
		},
	} {
		q := ask()
		q.ResumeToken = token
		change(q)
		st := wantStatus(t, g.open(q).end(), codes.InvalidArgument, "RESUME_TOKEN_INVALID")
		bad := detail[*errdetails.BadRequest](st).GetFieldViolations()
		if len(bad) != 1 || bad[0].GetField() != "resume_token" || !strings.Contains(st.Message(), "without it") {
			t.Errorf("%s: %v, %q", name, bad, st.Message())
		}
	}
	again := g.resume(ask(), token, last)
	headers, gaps, next := again.tillFrame()
	if len(headers) != 1 || headers[0].GetStartTimeUnixNs() != header.GetStartTimeUnixNs() || headers[0].GetResumeToken() == "" {
		t.Errorf("headers %v, the first was %v", headers, header)
	}
	missed := next.GetPresentationTimeNs() - last.GetPresentationTimeNs()
	if len(gaps) != 1 || gaps[0].GetGap().GetCause() != penstockv1.GapCause_GAP_CAUSE_RECONNECTED ||
		gaps[0].GetGap().GetMilliseconds() != milliseconds(time.Duration(missed)) {
		t.Errorf("gaps %v; %v were missed", gaps, time.Duration(missed))
	}
	if missed < 0 || next.GetEpoch() != first.GetEpoch() || next.GetSequence() != last.GetSequence()+1 {
		t.Errorf("after %v comes %v", last, next)
	}
	if mark := luma(again.video()); mark != cam.Clip.Watermark {
		t.Errorf("watermark %d", mark)
	}
}

// TestP9_ResumeTokenOfAnotherClock goes on from tokens whose pods had clocks that were a minute ahead and one behind, and from an owner before: presentation time
// never goes back, the start stays, another epoch begins with sequence 1, and the gap has its cause.
func TestP9_ResumeTokenOfAnotherClock(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	sfu := g.sfu("call", 0)
	must(t, sfu.Publish(g.ctx, newTrack(t, sfu, "alice", microphone, clips.AliceMicrophone())))
	sel := byParticipant("alice", microphone)
	for name, skew := range map[string]time.Duration{"ahead": time.Minute, "behind": -time.Minute, "none": 0} {
		played := 10 * time.Second
		start := time.Now().Add(skew - played)
		r := g.open(&penstockv1.StreamTrackRequest{
			SessionId: "call", Selector: sel, ResumePresentationTimeNs: int64(played), ResumeSequence: 500,
			ResumeToken: g.svc.tokens.sign(key("call"), trackSelector(sel), 1, start),
		})
		headers, gaps, next := r.tillFrame()
		if headers[0].GetStartTimeUnixNs() != start.UnixNano() {
			t.Errorf("%s: the start moved from %v to %v", name, start, headers[0].GetStartTimeUnixNs())
		}
		at := time.Duration(next.GetPresentationTimeNs())
		if at <= played || skew > 0 && at != played+1 || skew < 0 && at < played-skew-10*time.Second { // what waits for a decoder is of before
			t.Errorf("%s: goes on at %v", name, at)
		}
		if len(gaps) != 1 || gaps[0].GetGap().GetCause() != penstockv1.GapCause_GAP_CAUSE_OWNER_CHANGED ||
			gaps[0].GetGap().GetMilliseconds() != milliseconds(at-played) || gaps[0].GetPresentationTimeNs() != int64(at) {
			t.Errorf("%s: gaps %v at %v", name, gaps, at)
		}
		if !isFirst(next) {
			t.Errorf("%s: begins with %d", name, next.GetSequence())
		}
		for range 5 {
			now := r.audio().GetInfo()
			if time.Duration(now.GetPresentationTimeNs()) < at {
				t.Errorf("%s: from %v back to %v", name, at, now.GetPresentationTimeNs())
			}
			at = time.Duration(now.GetPresentationTimeNs())
		}
		r.cancel()
	}
}

// isFirst tells whether a frame is the first that was made for a stream in an epoch, but for those that a busy machine was too slow for.
func isFirst(f *penstockv1.FrameInfo) bool { return f.GetSequence() == 1+uint64(f.GetDroppedFrames()) }

// TestP7_AnOwnerBeforeResumesNothing opens a stream again, with the token of a later owner, at one that does not know of that: it sends nothing, and says when to try again.
func TestP7_AnOwnerBeforeResumesNothing(t *testing.T) {
	g := startGateway(t)
	g.call("call")
	sel := byParticipant("alice", camera)
	epoch := g.svc.session(key("call")).fence.Epoch
	ask := func(epoch uint64) *reader {
		return g.open(&penstockv1.StreamTrackRequest{
			SessionId: "call", Selector: sel, ResumeToken: g.svc.tokens.sign(key("call"), trackSelector(sel), epoch, time.Now()),
		})
	}
	st := wantStatus(t, ask(epoch+1).end(), codes.Unavailable, "SESSION_MOVING")
	if detail[*errdetails.RetryInfo](st) == nil {
		t.Error("it does not say when to try again")
	}
	ask(epoch).video()
}

// TestResumePlaceIsChecked refuses places that cannot be.
func TestResumePlaceIsChecked(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	sel := byParticipant("alice", camera)
	token := g.svc.tokens.sign(key("call"), trackSelector(sel), 1, time.Now())
	for field, q := range map[string]*penstockv1.StreamTrackRequest{
		"resume_presentation_time_ns": {ResumeToken: token, ResumePresentationTimeNs: -1},
		"resume_token":                {ResumeSequence: 3},
	} {
		q.SessionId, q.Selector = "call", sel
		st := wantStatus(t, g.open(q).end(), codes.InvalidArgument, "INVALID_FIELD")
		if bad := detail[*errdetails.BadRequest](st).GetFieldViolations(); bad[0].GetField() != field {
			t.Errorf("%s: %v", field, bad)
		}
	}
	far := &penstockv1.StreamTrackRequest{SessionId: "call", Selector: sel, ResumeToken: token, ResumePresentationTimeNs: 1<<63 - 1}
	wantStatus(t, g.open(far).end(), codes.InvalidArgument, "INVALID_FIELD")
}

// TestResumeTokenIsRenewed lets tokens grow old soon: a stream on which nothing happens gets headers that differ by their tokens alone, and a token that is
// as old as a token may be is refused while the newest is good.
func TestResumeTokenIsRenewed(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.ResumeLife = 2 * time.Second })
	g.call("call")
	r := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera), Format: videoOf(&penstockv1.VideoFormat{Width: 64})})
	first := r.header()
	var newest *penstockv1.StreamHeader
	sel := trackSelector(byParticipant("alice", camera))
	for expired := false; !expired; {
		newest = r.header()
		_, err := g.svc.tokens.parse(first.GetResumeToken(), key("call"), sel)
		expired = err != nil
	}
	if _, err := g.svc.tokens.parse(newest.GetResumeToken(), key("call"), sel); err != nil {
		t.Errorf("the newest token %v", err)
	}
	if newest.GetStartTimeUnixNs() != first.GetStartTimeUnixNs() || newest.GetCodec() != first.GetCodec() {
		t.Errorf("%v became %v", first, newest)
	}
}
