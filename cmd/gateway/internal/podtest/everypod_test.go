package podtest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
)

// called notes which methods a pod was asked for.
type called struct {
	mu      sync.Mutex
	methods []string
}

func (c *called) note(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.methods, method) {
		c.methods = append(c.methods, method)
	}
}

// dialNoting dials a pod by a connection that notes what it is asked for.
func (c *cluster) dialNoting(p *pod) (clients, *called) {
	c.t.Helper()
	seen := &called{}
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			seen.note(method)
			return invoker(ctx, method, req, reply, cc, opts...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			seen.note(method)
			return streamer(ctx, desc, cc, method, opts...)
		}))
	must(c.t, err)
	c.t.Cleanup(func() { must(c.t, conn.Close()) })
	return newClients(conn), seen
}

// methods are those of the contract.
func methods() []string {
	var all []string
	for _, d := range []grpc.ServiceDesc{penstockv1.SessionService_ServiceDesc, penstockv1.TrackService_ServiceDesc} {
		for _, m := range d.Methods {
			all = append(all, "/"+d.ServiceName+"/"+m.MethodName)
		}
		for _, m := range d.Streams {
			all = append(all, "/"+d.ServiceName+"/"+m.StreamName)
		}
	}
	slices.Sort(all)
	return all
}

// TestP1_EveryCallWorksOnEveryPod: all methods of the contract are called on each of three pods, for sessions that each of them owns in
// turn. What is streamed is judged by content and by sequence numbers.
func TestP1_EveryCallWorksOnEveryPod(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	for i, at := range c.pods {
		for j, owner := range c.pods {
			t.Run(fmt.Sprintf("at%dOwnedBy%d", i, j), func(t *testing.T) {
				id := c.createAt(owner, fmt.Sprintf("call-%d-%d", i, j))
				callEverything(t, c, at, id)
			})
		}
	}
}

// callEverything calls all methods at one pod, of a session that some pod owns.
func callEverything(t *testing.T, c *cluster, p *pod, id string) {
	at, seen := c.dialNoting(p)
	ctx := c.ctx
	before := c.session(at, id)
	again := c.create(at, id)
	if again.GetOwner() != before.GetOwner() || again.GetEpoch() != before.GetEpoch() {
		t.Errorf("created again it is %v", again)
	}
	_, err := at.sessions.UpdateIceServers(ctx, &penstockv1.UpdateIceServersRequest{SessionId: id})
	must(t, err)
	kept, err := at.sessions.AddIceCandidate(ctx, &penstockv1.AddIceCandidateRequest{SessionId: id, Candidate: &penstockv1.IceCandidate{
		Candidate: "candidate:1 1 udp 1 127.0.0.1 9 typ host",
	}})
	if err != nil || kept.GetResult() != penstockv1.CandidateResult_CANDIDATE_RESULT_KEPT {
		t.Errorf("a candidate before the offer: %v, %v", kept, err)
	}
	unary := &sfutest.GRPCSignaller{Client: at.sessions, SessionID: id}
	sfu, err := sfutest.New(sfutest.Config{Signaller: unary, FewCodecs: true})
	must(t, err)
	defer func() { must(t, sfu.Close()) }()
	track, err := sfu.NewTrack(sfutest.Participant{ParticipantID: "carol-1", UserID: "carol"}, penstockv1.Source_SOURCE_CAMERA, camera())
	must(t, err)

	watch, err := at.tracks.WatchTracks(ctx, &penstockv1.WatchTracksRequest{SessionId: id})
	must(t, err)
	if first, err := watch.Recv(); err != nil || !first.GetSnapshot() || len(first.GetTracks()) > 0 {
		t.Errorf("the watch begins with %v, %v", first, err)
	}
	must(t, sfu.Publish(ctx, track)) // ReportEvents and Negotiate
	selector := &penstockv1.TrackSelector{Selector: &penstockv1.TrackSelector_User{User: &penstockv1.UserTrack{UserId: "carol", Source: penstockv1.Source_SOURCE_CAMERA}}}
	resolved, err := at.tracks.ResolveTrack(ctx, &penstockv1.ResolveTrackRequest{SessionId: id, Selector: selector})
	must(t, err)
	for live := false; !live; {
		m, err := watch.Recv()
		must(t, err)
		for _, tr := range m.GetTracks() {
			live = live || tr.GetTrackId() == resolved.GetTrack().GetTrackId() && tr.GetState() == penstockv1.TrackState_TRACK_STATE_LIVE
		}
	}
	list, err := at.tracks.ListTracks(ctx, &penstockv1.ListTracksRequest{SessionId: id})
	if err != nil || len(list.GetTracks()) != 1 || list.GetTracks()[0].GetTrackId() != resolved.GetTrack().GetTrackId() {
		t.Errorf("listed: %v, %v", list, err)
	}
	w := c.work("of "+id, at, id, "carol-1", penstockv1.Source_SOURCE_CAMERA)
	w.awaitFrames(10)
	look, err := at.tracks.GetFrame(ctx, &penstockv1.GetFrameRequest{SessionId: id, Selector: selector})
	if err != nil || !bytes.HasPrefix(look.GetFrame().GetPayload(), []byte{0xff, 0xd8}) {
		t.Errorf("a look: %v", err)
	}
	converse(t, c, at, id)
	_, err = at.sessions.DeleteSession(ctx, &penstockv1.DeleteSessionRequest{SessionId: id})
	must(t, err)
	if err := w.end(); err != nil {
		t.Errorf("after the deletion the stream ends with %v", err)
	}
	w.judge(camera().Watermark)
	listed, err := at.sessions.ListSessions(ctx, &penstockv1.ListSessionsRequest{})
	if err != nil || slices.ContainsFunc(listed.GetSessions(), func(s *penstockv1.Session) bool {
		return s.GetSessionId() == id && s.GetState() != penstockv1.SessionState_SESSION_STATE_ENDED
	}) {
		t.Errorf("after the deletion are listed: %v, %v", listed, err)
	}
	if slices.Sort(seen.methods); !slices.Equal(seen.methods, methods()) {
		t.Errorf("called were %v, not all of %v", seen.methods, methods())
	}
}

// converse opens Signal, asks for something of every kind, and closes it.
func converse(t *testing.T, c *cluster, at clients, id string) {
	t.Helper()
	wanted := make(chan struct{}, 1)
	s := &sfutest.StreamSignaller{Client: at.sessions, SessionID: id, Hear: func(m *penstockv1.SignalResponse) {
		if m.GetWantedTrack().GetWanted() {
			select {
			case wanted <- struct{}{}:
			default:
			}
		}
	}}
	opened, err := s.Open(c.ctx, 1)
	if err != nil || opened.GetSessionId() != id || opened.GetGeneration() != 1 {
		t.Fatalf("Signal opens with %v, %v", opened, err)
	}
	select {
	case <-wanted: // by the worker
	case <-c.ctx.Done():
		t.Fatal("what the worker wants is not told")
	}
	must(t, s.ReportEvents(c.ctx, &penstockv1.CallEvent{Event: &penstockv1.CallEvent_ParticipantJoined{
		ParticipantJoined: &penstockv1.ParticipantJoined{Participant: &penstockv1.Participant{ParticipantId: "dave"}},
	}}))
	must(t, s.ICEServers(c.ctx))
	if _, err := s.Negotiate(c.ctx, 1, "nonsense"); status.Code(err) != codes.InvalidArgument {
		t.Errorf("an offer that is none: %v", err)
	}
	must(t, s.Close())
}

// TestP1_Redirect: a worker that follows redirects is sent to the owner by any other pod, and streams there; it is not redirected again.
func TestP1_Redirect(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	id := c.createAt(c.pods[0], "call")
	c.call(c.pods[1].clients, id)
	redirectable := func(r *penstockv1.StreamTrackRequest) { r.AcceptRedirect = true }
	for _, p := range c.pods[1:] {
		err := c.work("at "+p.name, p.clients, id, "carol-1", penstockv1.Source_SOURCE_CAMERA, redirectable).end()
		wantStatus(t, "a worker that may be redirected", err, codes.Unavailable, "SESSION_ELSEWHERE")
		if got := metadataOf(err, "address"); got != c.pods[0].grpc {
			t.Errorf("it is sent to %q, not to the owner at %s", got, c.pods[0].grpc)
		}
	}
	w := c.work("at the owner", c.pods[0].clients, id, "carol-1", penstockv1.Source_SOURCE_CAMERA, redirectable)
	w.awaitFrames(5)
	w.judge(camera().Watermark)
}

// metadataOf returns an entry of an error's ErrorInfo.
func metadataOf(err error, key string) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetMetadata()[key]
		}
	}
	return ""
}
