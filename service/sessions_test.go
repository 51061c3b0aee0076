package service

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/resolverstore"
)

// TestCreateSessionIsIdempotent repeats a request and changes it. TURN credentials count for "the same", and are found nowhere.
func TestO10_CreateSessionIsIdempotent(t *testing.T) {
	g := startGateway(t)
	request := &penstockv1.CreateSessionRequest{
		SessionId: "call", Labels: map[string]string{"room": "1", "b": "2"},
		IceServers: []*penstockv1.IceServer{{Urls: []string{"turn:127.0.0.1:9"}, Username: "tURNuser", Credential: "tURNsecret"}},
	}
	first, err := g.sessions.CreateSession(g.ctx, request)
	must(t, err)
	same := proto.CloneOf(request)
	same.Source = &penstockv1.CreateSessionRequest_Offers{Offers: &penstockv1.OffersSource{}} // The default, said.
	second, err := g.sessions.CreateSession(g.ctx, same)
	must(t, err)
	if !proto.Equal(first, second) {
		t.Errorf("the same request gave %v, then %v", first, second)
	}
	other := proto.CloneOf(request)
	other.IceServers[0].Credential = "another"
	_, err = g.sessions.CreateSession(g.ctx, other)
	wantStatus(t, err, codes.AlreadyExists, "SESSION_EXISTS")

	rec, err := g.store.GetSession(g.ctx, key("call"))
	must(t, err)
	if text := fmt.Sprintf("%+v %v", rec, first); strings.Contains(text, "tURN") {
		t.Errorf("credentials are in %s", text)
	}
	one, err := g.sessions.CreateSession(g.ctx, &penstockv1.CreateSessionRequest{})
	must(t, err)
	two, err := g.sessions.CreateSession(g.ctx, &penstockv1.CreateSessionRequest{})
	must(t, err)
	if one.GetSession().GetSessionId() == two.GetSession().GetSessionId() {
		t.Error("two sessions without ids are one")
	}
}

// TestO12_SessionPages walks pages while sessions come and go: each session that was there all the time is listed once.
func TestO12_SessionPages(t *testing.T) {
	g := startGateway(t)
	for i := range 7 {
		_, err := g.sessions.CreateSession(g.ctx, &penstockv1.CreateSessionRequest{SessionId: fmt.Sprint("s", i), Labels: map[string]string{"even": fmt.Sprint(i%2 == 0)}})
		must(t, err)
	}
	even := map[string]string{"even": "true"}
	for _, labels := range []map[string]string{nil, even} {
		var got []string
		token := ""
		for {
			r, err := g.sessions.ListSessions(g.ctx, &penstockv1.ListSessionsRequest{PageSize: 2, PageToken: token, Labels: labels})
			must(t, err)
			if len(r.GetSessions()) > 2 {
				t.Fatalf("a page of %d", len(r.GetSessions()))
			}
			for _, s := range r.GetSessions() {
				got = append(got, s.GetSessionId())
			}
			if token = r.GetNextPageToken(); token == "" {
				break
			}
			g.create("r" + fmt.Sprint(len(got))) // Before the page's end: it is not seen.
			_, err = g.sessions.ListSessions(g.ctx, &penstockv1.ListSessionsRequest{PageToken: token, Labels: map[string]string{"other": "list"}})
			wantStatus(t, err, codes.InvalidArgument, "INVALID_FIELD")
		}
		got = slices.DeleteFunc(got, func(id string) bool { return id[0] == 'r' })
		if want := map[bool]string{true: "[s0 s1 s2 s3 s4 s5 s6]", false: "[s0 s2 s4 s6]"}[labels == nil]; fmt.Sprint(got) != want {
			t.Errorf("%v lists %v, want %s", labels, got, want)
		}
	}
}

// TestListTracks pages through tracks and finds what is known of each.
func TestListTracks(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	var events []*penstockv1.CallEvent
	for i := range 5 {
		events = append(events, published(fmt.Sprint("p", i), camera))
	}
	_, err := g.sessions.ReportEvents(g.ctx, &penstockv1.ReportEventsRequest{SessionId: "call", Events: events})
	must(t, err)
	got := map[string]bool{}
	token := ""
	for {
		r, err := g.tracks.ListTracks(g.ctx, &penstockv1.ListTracksRequest{SessionId: "call", PageSize: 2, PageToken: token})
		must(t, err)
		for _, track := range r.GetTracks() {
			if track.GetState() != penstockv1.TrackState_TRACK_STATE_PENDING || track.GetKind() != penstockv1.MediaKind_MEDIA_KIND_VIDEO || track.GetSessionId() != "call" {
				t.Errorf("listed %v", track)
			}
			got[track.GetPublication().GetParticipant().GetParticipantId()] = true
		}
		if token = r.GetNextPageToken(); token == "" {
			break
		}
	}
	if ids := slices.Sorted(maps.Keys(got)); fmt.Sprint(ids) != "[p0 p1 p2 p3 p4]" {
		t.Errorf("listed %v", ids)
	}
	foreign, err := g.svc.newPageToken(listName("", "tracks of other", nil), "x")
	must(t, err)
	_, err = g.tracks.ListTracks(g.ctx, &penstockv1.ListTracksRequest{SessionId: "call", PageToken: foreign})
	wantStatus(t, err, codes.InvalidArgument, "INVALID_FIELD")
}

// TestR15_UnusableEventsAreIgnored reports hostile events among good ones: the good ones count, each other is named.
func TestR15_UnusableEventsAreIgnored(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	long := strings.Repeat("x", 4096)
	r, err := g.sessions.ReportEvents(g.ctx, &penstockv1.ReportEventsRequest{SessionId: "call", Events: []*penstockv1.CallEvent{
		{},
		published("a:*{}\n", camera),
		published("", camera),
		published(long, camera),
		published("b", 99),
		{Event: &penstockv1.CallEvent_TrackMuted{TrackMuted: &penstockv1.TrackMuted{ParticipantId: "nobody", Source: camera}}},
		{Event: &penstockv1.CallEvent_ParticipantLeft{}},
		{Event: &penstockv1.CallEvent_ParticipantJoined{ParticipantJoined: &penstockv1.ParticipantJoined{Participant: &penstockv1.Participant{ParticipantId: "c", UserId: long}}}},
		{Event: &penstockv1.CallEvent_Snapshot{Snapshot: &penstockv1.CallSnapshot{Participants: []*penstockv1.Participant{{}}}}},
		published("d", microphone),
	}})
	must(t, err)
	var ignored []uint32
	for _, i := range r.GetIgnored() {
		ignored = append(ignored, i.GetIndex())
		if i.GetReason() == "" {
			t.Errorf("event %d was ignored without a reason", i.GetIndex())
		}
	}
	slices.Sort(ignored)
	for _, want := range []uint32{0, 2, 3, 4, 6, 7, 8} {
		if !slices.Contains(ignored, want) {
			t.Errorf("ignored %v, not %d", ignored, want)
		}
	}
	if slices.Contains(ignored, 1) || slices.Contains(ignored, 9) || r.GetRevision() == 0 {
		t.Errorf("ignored %v at revision %d", ignored, r.GetRevision())
	}
}

// TestSnapshotOfTheCall replaces what is known by another kind of event.
func TestR18_SnapshotOfTheCall(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	_, err := g.sessions.ReportEvents(g.ctx, &penstockv1.ReportEventsRequest{SessionId: "call", Events: []*penstockv1.CallEvent{
		published("ghost", camera),
		{Event: &penstockv1.CallEvent_Snapshot{Snapshot: &penstockv1.CallSnapshot{
			Participants: []*penstockv1.Participant{{ParticipantId: "a"}},
			Publications: []*penstockv1.Publication{
				{Participant: &penstockv1.Participant{ParticipantId: "a"}, Source: screen, Muted: true},
				{Participant: &penstockv1.Participant{ParticipantId: "a"}, Source: 99},
			},
		}}},
	}})
	must(t, err)
	r, err := g.tracks.ListTracks(g.ctx, &penstockv1.ListTracksRequest{SessionId: "call"})
	must(t, err)
	if len(r.GetTracks()) != 1 || r.GetTracks()[0].GetPublication().GetSource() != screen || !r.GetTracks()[0].GetPublication().GetMuted() {
		t.Errorf("after the snapshot there is %v", r.GetTracks())
	}
}

// TestO4_Limits opens one session and one stream more than allowed.
func TestO4_Limits(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Limits = Limits{Sessions: 1, Streams: 1} })
	g.call("call")
	_, err := g.sessions.CreateSession(g.ctx, &penstockv1.CreateSessionRequest{SessionId: "more"})
	st := wantStatus(t, err, codes.ResourceExhausted, "LIMIT_REACHED")
	if len(st.Details()) < 2 {
		t.Errorf("no retry hint in %v", st)
	}
	r := g.stream("call", byParticipant("alice", camera))
	wantStatus(t, streamCall(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera)})(g.ctx, g), codes.ResourceExhausted, "LIMIT_REACHED")
	r.cancel()
	for {
		// The place of the stream is free as soon as its handler has seen the end.
		s := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera)})
		_, err := s.stream.Recv()
		if err == nil {
			break
		}
		wantStatus(t, err, codes.ResourceExhausted, "LIMIT_REACHED")
	}
	_, err = g.sessions.DeleteSession(g.ctx, &penstockv1.DeleteSessionRequest{SessionId: "call"})
	must(t, err)
	g.create("more")
}

// TestNegotiateWrongSource offers to a session that a WHIP publisher feeds.
func TestNegotiateWrongSource(t *testing.T) {
	g := startGateway(t)
	_, err := g.svc.create(g.ctx, resolverstore.Session{Key: key("whip"), Source: resolverstore.SourceWHIP, RequestHash: "x"}, nil)
	must(t, err)
	wantStatus(t, negotiateCall("whip", "v=0")(g.ctx, g), codes.FailedPrecondition, "NOT_AN_OFFERS_SESSION")
}

// TestRenegotiation adds a track to a running call: the running stream loses no sequence number and gets no new header.
func TestS7_Renegotiation(t *testing.T) {
	g := startGateway(t)
	sfu, _ := g.call("call")
	r := g.stream("call", byParticipant("alice", camera))
	last := r.video().GetInfo().GetSequence()
	must(t, sfu.Publish(g.ctx, newTrack(t, sfu, "bob", microphone, clips.BobMicrophone())))
	wantAudio(t, g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("bob", microphone),
		Format: audioOf(&penstockv1.AudioFormat{SampleRateHz: 16000})}), clips.BobMicrophone())
	for range 30 {
		m := r.next()
		if m.GetEvent().GetQualityLimited() != nil {
			continue // the machine is busy
		}
		if m.GetHeader() != nil || m.GetEvent() != nil {
			t.Fatalf("a running stream got %v", m)
		}
		i := m.GetVideo().GetInfo()
		if i.GetSequence() != last+1+uint64(i.GetDroppedFrames()) {
			t.Fatalf("%d follows %d, %d dropped", i.GetSequence(), last, i.GetDroppedFrames())
		}
		last = i.GetSequence()
	}
}

// TestS5_Candidates gives candidates before the offer, nonsense, and those of a generation that is gone.
func TestS5_Candidates(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	give := func(generation uint64, c *penstockv1.IceCandidate) penstockv1.CandidateResult {
		t.Helper()
		r, err := g.sessions.AddIceCandidate(g.ctx, &penstockv1.AddIceCandidateRequest{SessionId: "call", Generation: generation, Candidate: c})
		must(t, err)
		return r.GetResult()
	}
	good := &penstockv1.IceCandidate{Candidate: "candidate:1 1 udp 2130706431 127.0.0.1 9 typ host", SdpMid: proto.String("0"), SdpMlineIndex: proto.Uint32(0)}
	if got := give(1, good); got != penstockv1.CandidateResult_CANDIDATE_RESULT_KEPT {
		t.Errorf("before the offer: %v", got)
	}
	if got := give(1, &penstockv1.IceCandidate{Candidate: "nonsense"}); got == penstockv1.CandidateResult_CANDIDATE_RESULT_ADDED {
		t.Errorf("nonsense: %v", got)
	}
	sfu := g.sfu("call", sfutest.MSIDStream)
	must(t, sfu.Publish(g.ctx, newTrack(t, sfu, "alice", camera, clips.AliceCamera())))
	if got := give(1, good); got != penstockv1.CandidateResult_CANDIDATE_RESULT_ADDED {
		t.Errorf("after the offer: %v", got)
	}
	if got := give(1, &penstockv1.IceCandidate{}); got != penstockv1.CandidateResult_CANDIDATE_RESULT_ADDED && got != penstockv1.CandidateResult_CANDIDATE_RESULT_KEPT {
		t.Errorf("end-of-candidates: %v", got)
	}
	stale := &penstockv1.IceCandidate{Candidate: good.GetCandidate(), SdpMid: proto.String("0"), UsernameFragment: proto.String("old")}
	if got := give(1, stale); got == penstockv1.CandidateResult_CANDIDATE_RESULT_ADDED { // The pool may keep it for a restart to come.
		t.Errorf("of another ICE session: %v", got)
	}
	_, err := g.sessions.AddIceCandidate(g.ctx, &penstockv1.AddIceCandidateRequest{SessionId: "none", Candidate: good})
	wantStatus(t, err, codes.NotFound, "SESSION_NOT_FOUND")
	_, err = g.sessions.AddIceCandidate(g.ctx, &penstockv1.AddIceCandidateRequest{SessionId: "call", Candidate: &penstockv1.IceCandidate{SdpMlineIndex: proto.Uint32(1 << 16)}})
	wantStatus(t, err, codes.InvalidArgument, "INVALID_FIELD")
}

// deafStore is a real store that takes no news of sessions.
type deafStore struct{ resolverstore.Store }

func (deafStore) UpdateSession(context.Context, resolverstore.SessionKey, resolverstore.Fence, resolverstore.SessionUpdate) (resolverstore.Session, error) {
	return resolverstore.Session{}, resolverstore.ErrUnavailable
}

// TestSessionsAreListedAsGot connects a session, and closes its peer connection, while the store takes no news of it: lists tell what
// GetSession tells.
func TestSessionsAreListedAsGot(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Store = deafStore{c.Store} })
	g.create("call")
	k := g.talk("call")
	sfu := k.newSFU(sfutest.Config{Trickle: sfutest.TrickleWith})
	must(t, sfu.Publish(g.ctx, newTrack(t, sfu, "alice", camera, clips.AliceCamera())))
	same := func(state penstockv1.SessionState, minGeneration uint64) {
		t.Helper()
		list, err := g.sessions.ListSessions(g.ctx, &penstockv1.ListSessionsRequest{})
		must(t, err)
		got := g.session("call")
		if len(list.GetSessions()) != 1 || !proto.Equal(list.GetSessions()[0], got) {
			t.Errorf("listed are %v, got is %v", list.GetSessions(), got)
		}
		if got.GetState() != state || got.GetMinGeneration() != minGeneration || got.GetGeneration() != 1 {
			t.Errorf("got %v, want state %v", got, state)
		}
	}
	k.state(1, connected)
	same(penstockv1.SessionState_SESSION_STATE_CONNECTED, 0)
	<-sfu.Connected() // else it would vanish without a word
	must(t, sfu.Close())
	k.until("restart", func(m *penstockv1.SignalResponse) bool { return m.GetRestart() != nil })
	same(penstockv1.SessionState_SESSION_STATE_DISCONNECTED, 2)
}
