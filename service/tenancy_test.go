package service

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/resolverstore"
)

// TestO8_TenantsNeverMeet gives two tenants, and callers of none, sessions of the same id on three pods, over which calls are forwarded: each sees its own in lists, watches and by id, tracks of
// its own only, and may delete its own without the others'. Page tokens and resume tokens of one tenant are no tokens for another. Publishers by WHIP too have each their tenant's session.
func TestO8_TenantsNeverMeet(t *testing.T) {
	pods := startSteadyPods(t, 3, withJWT, func(c *Config) { c.WHIPCreate = true })
	tenants := []string{"acme", "zeta", ""}
	as := func(tenant string, pod int) *gateway { return pods[pod].as(claimed(t, tenant)) }
	for i, tenant := range tenants {
		g := as(tenant, i)
		for _, id := range []string{"call", "second"} {
			_, err := g.sessions.CreateSession(g.ctx, &penstockv1.CreateSessionRequest{SessionId: id, Labels: map[string]string{"of": "tenant-" + tenant}})
			must(t, err)
		}
		_, err := g.sessions.ReportEvents(g.ctx, &penstockv1.ReportEventsRequest{SessionId: "call", Events: []*penstockv1.CallEvent{published("user-"+tenant, camera)}})
		must(t, err)
	}
	for _, tenant := range tenants {
		for i := range pods {
			g := as(tenant, i)
			wantOwn(t, g, tenant)
		}
	}
	first, err := as("acme", 0).sessions.ListSessions(pods[0].ctx, &penstockv1.ListSessionsRequest{PageSize: 1})
	must(t, err)
	_, err = as("zeta", 1).sessions.ListSessions(pods[1].ctx, &penstockv1.ListSessionsRequest{PageSize: 1, PageToken: first.GetNextPageToken()})
	wantStatus(t, err, codes.InvalidArgument, "INVALID_FIELD")
	sel := byParticipant("user-acme", camera)
	token := pods[0].svc.tokens.sign(resolverstore.SessionKey{Tenant: "acme", ID: "call"}, trackSelector(sel), 1, time.Now())
	s, err := as("zeta", 2).tracks.StreamTrack(pods[2].ctx, &penstockv1.StreamTrackRequest{SessionId: "call", Selector: sel, ResumeToken: token})
	must(t, err)
	_, err = s.Recv()
	wantStatus(t, err, codes.InvalidArgument, "RESUME_TOKEN_INVALID")

	_, err = as("acme", 2).sessions.DeleteSession(pods[2].ctx, &penstockv1.DeleteSessionRequest{SessionId: "call"})
	must(t, err)
	for i := range pods {
		got, err := as("acme", i).sessions.GetSession(pods[i].ctx, &penstockv1.GetSessionRequest{SessionId: "call"})
		if must(t, err); got.GetSession().GetState() != penstockv1.SessionState_SESSION_STATE_ENDED {
			t.Errorf("the session that was deleted is %v", got)
		}
		wantOwn(t, as("zeta", i), "zeta")
	}
}

// wantOwn checks that a caller of a tenant sees all of that tenant's, and nothing else.
func wantOwn(t *testing.T, g *gateway, tenant string) {
	t.Helper()
	got, err := g.sessions.GetSession(g.ctx, &penstockv1.GetSessionRequest{SessionId: "call"})
	must(t, err)
	list, err := g.sessions.ListSessions(g.ctx, &penstockv1.ListSessionsRequest{})
	must(t, err)
	var ids []string
	for _, s := range append(list.GetSessions(), got.GetSession()) {
		ids = append(ids, s.GetSessionId())
		if s.GetLabels()["of"] != "tenant-"+tenant {
			t.Errorf("%q sees %v", tenant, s)
		}
	}
	if !slices.Equal(ids, []string{"call", "second", "call"}) {
		t.Errorf("%q sees %q", tenant, ids)
	}
	watch, err := g.tracks.WatchTracks(g.ctx, &penstockv1.WatchTracksRequest{SessionId: "call"})
	must(t, err)
	change, err := watch.Recv()
	must(t, err)
	tracks, err := g.tracks.ListTracks(g.ctx, &penstockv1.ListTracksRequest{SessionId: "call"})
	must(t, err)
	for name, all := range map[string][]*penstockv1.Track{"watches": change.GetTracks(), "lists": tracks.GetTracks()} {
		if len(all) != 1 || all[0].GetPublication().GetParticipant().GetParticipantId() != "user-"+tenant {
			t.Errorf("%q %s %v", tenant, name, all)
		}
	}
}

// TestO8_AForeignSessionAnswersAsAnAbsentOne: for each call, on the pod that owns another tenant's session and on others, by WHIP too, the answer about it is the same, to the byte, as
// about one that nobody has.
func TestO8_AForeignSessionAnswersAsAnAbsentOne(t *testing.T) {
	pods := startSteadyPods(t, 2, withJWT)
	owner := pods[0].as(claimed(t, "acme"))
	owner.create("call")
	owner.create("kept")
	owner.create("studio")
	var urls []string
	for _, p := range pods {
		urls = append(urls, p.whipOfPod())
	}
	resource := publishAs(t, pods, urls[0], "acme", "studio")
	asked := 0
	for i, p := range pods {
		g := p.as(claimed(t, "zeta"))
		for _, m := range rpcsOf(t, p.gateway) {
			requests := completeRequests(t, m)
			if requests == nil {
				continue
			}
			asked++
			foreign, absent := m.call(g.ctx, g.conn, requests("call")), m.call(g.ctx, g.conn, requests("nope"))
			a, err := proto.Marshal(status.Convert(foreign).Proto())
			must(t, err)
			b, err := proto.Marshal(status.Convert(absent).Proto())
			must(t, err)
			if string(a) != string(b) || status.Code(foreign) != codes.NotFound && !strings.HasSuffix(m.name, "/DeleteSession") {
				t.Errorf("pod %d, %s: %v of another tenant's, %v of nobody's", i, m.name, foreign, absent)
			}
		}
		url := urls[i]
		for _, c := range []struct{ method, foreign, absent string }{
			{http.MethodPost, "call", "nope"}, {http.MethodPatch, "call/resource", "nope/resource"}, {http.MethodDelete, "call/resource", "nope/resource"},
			{http.MethodPatch, "studio/" + resource, "studio/resource"}, {http.MethodDelete, "studio/" + resource, "studio/resource"}, // a publication that there is
		} {
			foreign, absent := p.whipAs(claimed(t, "zeta"), c.method, url+c.foreign), p.whipAs(claimed(t, "zeta"), c.method, url+c.absent)
			if foreign != absent || !strings.HasPrefix(foreign, "404") {
				t.Errorf("pod %d, %s: %s of another tenant's, %s of nobody's", i, c.method, foreign, absent)
			}
		}
	}
	if asked < 24 {
		t.Errorf("only %d calls are compared", asked)
	}
	if got, err := owner.sessions.GetSession(owner.ctx, &penstockv1.GetSessionRequest{SessionId: "call"}); err != nil || got.GetSession().GetState() == penstockv1.SessionState_SESSION_STATE_ENDED {
		t.Errorf("the session is not as it was: %v, %v", got, err)
	}
}

// publishAs publishes into a tenant's session, until the test ends, and returns the publication's resource.
func publishAs(t *testing.T, pods []*pod, url, tenant, session string) string {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	p, err := sfutest.PublishWHIP(pods[0].ctx, sfutest.WHIPConfig{
		URL: url + session, Token: claimed(t, tenant), Clips: []clips.Clip{clips.BobCamera()}, Client: &http.Client{Transport: transport},
	})
	must(t, err)
	t.Cleanup(func() { _ = p.Close(context.Background()) }) // It may be gone already.
	for _, p := range pods {
		if v := p.svc.session(resolverstore.SessionKey{Tenant: tenant, ID: session}); v != nil {
			v.mu.Lock()
			defer v.mu.Unlock()
			return v.publisher
		}
	}
	t.Fatal("no pod has the session")
	return ""
}

// completeRequests returns how to ask a method about a session, in a way that is right by itself; nil where it is not about one, or makes it.
func completeRequests(t *testing.T, m rpc) func(session string) proto.Message {
	t.Helper()
	sel := byParticipant("alice", camera)
	switch m.name {
	case penstockv1.SessionService_CreateSession_FullMethodName:
		return nil
	case penstockv1.SessionService_Negotiate_FullMethodName:
		return func(id string) proto.Message { return &penstockv1.NegotiateRequest{SessionId: id, Sdp: "v=0\r\n"} }
	case penstockv1.SessionService_AddIceCandidate_FullMethodName:
		return func(id string) proto.Message {
			return &penstockv1.AddIceCandidateRequest{SessionId: id, Candidate: &penstockv1.IceCandidate{}}
		}
	case penstockv1.TrackService_ResolveTrack_FullMethodName:
		return func(id string) proto.Message { return &penstockv1.ResolveTrackRequest{SessionId: id, Selector: sel} }
	case penstockv1.TrackService_StreamTrack_FullMethodName:
		return func(id string) proto.Message { return &penstockv1.StreamTrackRequest{SessionId: id, Selector: sel} }
	case penstockv1.TrackService_GetFrame_FullMethodName:
		return func(id string) proto.Message { return &penstockv1.GetFrameRequest{SessionId: id, Selector: sel} }
	}
	if _, about := sessionField(m.request("x")); !about || strings.Contains(m.name, ".pod.") {
		return nil
	}
	return m.request
}

// whipAs makes a request as a caller, and returns its answer, but for the date.
func (p *pod) whipAs(token, method, url string) string {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.ctx, method, url, strings.NewReader("v=0\r\n"))
	must(p.t, err)
	r.Header.Set("Content-Type", map[string]string{http.MethodPost: "application/sdp", http.MethodPatch: "application/trickle-ice-sdpfrag"}[method])
	r.Header.Set("If-Match", `"x"`)
	r.Header.Set("Authorization", "Bearer "+token)
	a, err := http.DefaultClient.Do(r)
	must(p.t, err)
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	must(p.t, err)
	a.Header.Del("Date")
	return fmt.Sprint(a.Status, a.Header, string(body))
}

// expiringToken returns a token that is good for so long.
func expiringToken(t *testing.T, life time.Duration) string {
	t.Helper()
	return claimed(t, "acme", claim("exp", time.Now().Add(life).Unix()))
}

// TestO9_ExpiryEndsStreams opens a stream, a watch and a conversation by a token that is about to expire, on the session's pod and on another: each is warned once, then ended as UNAUTHENTICATED, a stream that has not begun is ended in the place of the warning, and the
// session lives on. The caller goes on with a new token and the resume token; a call that waits ends too. Health is not asked.
func TestO9_ExpiryEndsStreams(t *testing.T) {
	pods := startSteadyPods(t, 2, withJWT, func(c *Config) { c.JWT.Leeway = time.Millisecond })
	good := pods[0].as(claimed(t, "acme"))
	for i := range pods { // all are pod 0's; a conversation would take the place of another's
		good.create(fmt.Sprint("call", i))
		(&pod{gateway: good}).publishFrom(fmt.Sprint("call", i))
	}
	t.Run("both", func(t *testing.T) {
		for i, p := range pods {
			t.Run(fmt.Sprint("pod ", i), func(t *testing.T) {
				t.Parallel()
				p.expire(t, fmt.Sprint("call", i))
			})
		}
	})
	if got, err := good.sessions.GetSession(good.ctx, &penstockv1.GetSessionRequest{SessionId: "call1"}); err != nil || got.GetSession().GetState() != penstockv1.SessionState_SESSION_STATE_CONNECTED {
		t.Errorf("the session is %v, %v", got, err)
	}
	if n := pods[0].svc.AuthStats().Expired; n < 4 {
		t.Errorf("%d calls are counted as expired", n)
	}
}

// expire calls by a token that runs out meanwhile.
func (p *pod) expire(t *testing.T, session string) {
	t.Helper()
	token := expiringToken(t, 10*time.Second)
	g := p.as(token)
	g.t = t
	waiting := g.open(&penstockv1.StreamTrackRequest{SessionId: session, Selector: byParticipant("nobody", camera)})
	r := g.open(smallCamera(session))
	header := r.header()
	watch, err := g.tracks.WatchTracks(g.ctx, &penstockv1.WatchTracksRequest{SessionId: session})
	must(t, err)
	talk, err := g.sessions.Signal(g.ctx)
	must(t, err)
	must(t, talk.Send(openOf(session)))
	waits := make(chan error, 1)
	go func() {
		_, err := g.tracks.ResolveTrack(g.ctx, &penstockv1.ResolveTrackRequest{SessionId: session, Selector: byParticipant("nobody", camera)})
		waits <- err
	}()
	warned := map[string]int{}
	var last *penstockv1.FrameInfo
	for {
		m, err := r.stream.Recv()
		if err != nil {
			wantStatus(t, err, codes.Unauthenticated, "CREDENTIALS_EXPIRED")
			break
		}
		if f := m.GetVideo().GetInfo(); f != nil {
			last = f
		}
		if m.GetEvent().GetCredentialsExpiring() != nil {
			warned["stream"]++
		}
	}
	for {
		m, err := watch.Recv()
		if err != nil {
			wantStatus(t, err, codes.Unauthenticated, "CREDENTIALS_EXPIRED")
			break
		}
		if m.GetCredentialsExpiring() != nil {
			warned["watch"]++
		}
	}
	for {
		m, err := talk.Recv()
		if err != nil {
			wantStatus(t, err, codes.Unauthenticated, "CREDENTIALS_EXPIRED")
			break
		}
		if m.GetCredentialsExpiring() != nil {
			warned["conversation"]++
		}
	}
	wantStatus(t, <-waits, codes.Unauthenticated, "CREDENTIALS_EXPIRED")
	early := wantStatus(t, waiting.end(), codes.Unauthenticated, "CREDENTIALS_EXPIRED")
	if left := detail[*errdetails.ErrorInfo](early).GetMetadata()["expires_in_ms"]; left == "" || left == "0" {
		t.Errorf("a stream that had not begun was ended with %v left", left)
	}
	if warned["stream"] != 1 || warned["watch"] != 1 || warned["conversation"] != 1 {
		t.Errorf("warned %v", warned)
	}
	_, err = g.sessions.GetSession(g.ctx, &penstockv1.GetSessionRequest{SessionId: session})
	wantStatus(t, err, codes.Unauthenticated, "CREDENTIALS_EXPIRED")
	again := p.as(claimed(t, "acme"))
	again.t = t
	request := smallCamera(session)
	request.ResumeToken, request.ResumePresentationTimeNs, request.ResumeSequence = header.GetResumeToken(), last.GetPresentationTimeNs(), last.GetSequence()
	next := again.open(request)
	if f := next.video().GetInfo(); f.GetPresentationTimeNs() < last.GetPresentationTimeNs() {
		t.Errorf("goes on at %v after %v", f, last)
	}
	next.cancel()
}
