package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// call is a session with an SFU and one camera.
func (g *gateway) call(id string) (*sfutest.SFU, *sfutest.Track) {
	g.t.Helper()
	g.create(id)
	sfu := g.sfu(id, sfutest.MSIDStream)
	cam := newTrack(g.t, sfu, "alice", camera, clips.AliceCamera())
	must(g.t, sfu.Publish(g.ctx, cam))
	return sfu, cam
}

// stream opens a stream of alice's camera as small pictures and reads its first.
func (g *gateway) stream(session string, sel *penstockv1.TrackSelector) *reader {
	g.t.Helper()
	r := g.open(&penstockv1.StreamTrackRequest{SessionId: session, Selector: sel, Format: videoOf(&penstockv1.VideoFormat{Width: 320})})
	r.video()
	return r
}

// wantEnded reads the ended event and the OK after it.
func wantEnded(t *testing.T, r *reader, reason penstockv1.TrackEndReason) {
	t.Helper()
	e := r.event(func(e *penstockv1.StreamEvent) bool { return e.GetEnded() != nil })
	if e.GetEnded().GetReason() != reason {
		t.Errorf("ended with %v, want %v", e.GetEnded().GetReason(), reason)
	}
	if _, err := r.stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the ended event came %v", err)
	}
}

// shows tells whether a picture in I420 is of a clip.
func shows(v *penstockv1.VideoFrame, clip clips.Clip) bool {
	y := v.GetPlanes()[0]
	mark, ok := clips.ReadWatermark(v.GetPayload()[y.GetOffset():], int(v.GetWidth()), int(v.GetHeight()), int(y.GetStride()))
	return ok && mark == clip.Watermark
}

// TestR4_RepublishKeepsTheLogicalStream unpublishes and publishes again with other media: the logical stream goes on with a gap
// and a new header, in one sequence and on one time line; a stream by id ends.
func TestR4_RepublishKeepsTheLogicalStream(t *testing.T) {
	g := startGateway(t)
	sfu, cam := g.call("call")
	logical := g.stream("call", byParticipant("alice", camera))
	user := g.stream("call", &penstockv1.TrackSelector{Selector: &penstockv1.TrackSelector_User{
		User: &penstockv1.UserTrack{UserId: "user-alice", Source: camera},
	}})
	first, err := g.tracks.ResolveTrack(g.ctx, &penstockv1.ResolveTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera)})
	must(t, err)
	id := first.GetTrack().GetTrackId()
	one := g.stream("call", byID(id))
	last := map[*reader]*penstockv1.FrameInfo{logical: logical.video().GetInfo(), user: user.video().GetInfo()}

	must(t, sfu.Unpublish(g.ctx, cam))
	again := newTrack(t, sfu, "alice", camera, clips.BobCamera())
	must(t, sfu.Publish(g.ctx, again))

	// Which of the two is told first is up to the store: the end of the publication or of its media.
	ended := one.event(func(e *penstockv1.StreamEvent) bool { return e.GetEnded() != nil }).GetEnded().GetReason()
	if ended != penstockv1.TrackEndReason_TRACK_END_REASON_UNPUBLISHED && ended != penstockv1.TrackEndReason_TRACK_END_REASON_MEDIA_ENDED {
		t.Errorf("the stream by id ended with %v", ended)
	}
	if err := one.end(); !errors.Is(err, io.EOF) {
		t.Errorf("after the ended event came %v", err)
	}
	for r, before := range last {
		// The publication may come back to the old media first, which are inactive and then end.
		var gap *penstockv1.StreamEvent
		r.until(func(m *penstockv1.StreamTrackResponse) bool {
			if m.GetEvent().GetGap().GetCause() == penstockv1.GapCause_GAP_CAUSE_MEDIA_REPLACED {
				gap = m.GetEvent()
				if m = r.next(); m.GetHeader().GetTrack().GetPublication().GetSource() != camera {
					t.Fatalf("after the gap came %v", m)
				}
			}
			return m.GetHeader() != nil && m.GetHeader().GetTrack().GetTrackId() != id
		})
		if gap == nil {
			t.Fatal("a new header without a gap")
		}
		v := r.video()
		after := v.GetInfo()
		if after.GetSequence() <= before.GetSequence() || after.GetPresentationTimeNs() <= before.GetPresentationTimeNs() ||
			gap.GetPresentationTimeNs() < before.GetPresentationTimeNs() || after.GetPresentationTimeNs() < gap.GetPresentationTimeNs() {
			t.Errorf("%v, then the gap at %d, then %v", before, gap.GetPresentationTimeNs(), after)
		}
		if !shows(v, clips.BobCamera()) { // Though the old media may serve the new publication until they end.
			t.Errorf("the first picture after the new header is of the media before: %v", after)
		}
	}
}

// TestS9_MuteIsToldOnce mutes and unmutes: each stream is told once, in order, and frames go on after.
func TestS9_MuteIsToldOnce(t *testing.T) {
	g := startGateway(t)
	sfu, cam := g.call("call")
	r := g.stream("call", byParticipant("alice", camera))
	for range 2 {
		must(t, sfu.Mute(g.ctx, cam, true))
		var news []string
		r.until(func(m *penstockv1.StreamTrackResponse) bool {
			if m.GetEvent().GetPaused() != nil {
				news = append(news, fmt.Sprint("paused ", m.GetEvent().GetPaused().GetMuted()))
				must(t, sfu.Report(g.ctx, muted(true))) // Said again, it is no news.
				must(t, sfu.Mute(g.ctx, cam, false))
			}
			if m.GetEvent().GetResumed() != nil {
				news = append(news, "resumed")
			}
			return m.GetVideo() != nil && len(news) > 1
		})
		if got := fmt.Sprint(news); got != "[paused true resumed]" {
			t.Errorf("told %v", got)
		}
	}
}

// muted returns the event that alice's camera is muted.
func muted(bool) *penstockv1.CallEvent {
	return &penstockv1.CallEvent{Event: &penstockv1.CallEvent_TrackMuted{
		TrackMuted: &penstockv1.TrackMuted{ParticipantId: "alice", Source: camera},
	}}
}

// TestStreamOfMutedTrack attaches while the track is paused: a header and the pause come at once, frames after unmuting.
func TestS13_StreamOfMutedTrack(t *testing.T) {
	g := startGateway(t)
	sfu, cam := g.call("call")
	g.stream("call", byParticipant("alice", camera))
	must(t, sfu.Mute(g.ctx, cam, true))
	g.eventually("call", func() bool {
		l, err := g.tracks.ListTracks(g.ctx, &penstockv1.ListTracksRequest{SessionId: "call"})
		must(t, err)
		return l.GetTracks()[0].GetState() == penstockv1.TrackState_TRACK_STATE_PAUSED
	})
	r := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera)})
	if r.next().GetHeader() == nil {
		t.Fatal("no header")
	}
	if e := r.next().GetEvent(); !e.GetPaused().GetMuted() {
		t.Fatalf("after the header came %v", e)
	}
	must(t, sfu.Mute(g.ctx, cam, false))
	r.event(func(e *penstockv1.StreamEvent) bool { return e.GetResumed() != nil })
	r.video()
}

// TestLeaveEndsStreams lets the participant leave: the logical stream ends with OK, waiters are told at once.
func TestLeaveEndsStreams(t *testing.T) {
	g := startGateway(t)
	sfu, _ := g.call("call")
	r := g.stream("call", byParticipant("alice", camera))
	waiter := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", screen)})
	must(t, sfu.Report(g.ctx, &penstockv1.CallEvent{Event: &penstockv1.CallEvent_ParticipantLeft{
		ParticipantLeft: &penstockv1.ParticipantLeft{ParticipantId: "alice"},
	}}))
	wantEnded(t, r, penstockv1.TrackEndReason_TRACK_END_REASON_PARTICIPANT_LEFT)
	_, err := waiter.stream.Recv()
	wantStatus(t, err, codes.NotFound, "PARTICIPANT_LEFT")
}

// TestDeleteSession ends streams and watches, is idempotent, and leaves a session to which offers are late, not wrong.
func TestDeleteSession(t *testing.T) {
	g := startGateway(t)
	g.call("call")
	logical, waiter := g.stream("call", byParticipant("alice", camera)), g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("bob", camera)})
	watch, err := g.tracks.WatchTracks(g.ctx, &penstockv1.WatchTracksRequest{SessionId: "call"})
	must(t, err)
	snapshot, err := watch.Recv()
	must(t, err)
	if !snapshot.GetSnapshot() || len(snapshot.GetTracks()) != 1 || snapshot.GetTracks()[0].GetConsumerCount() != 1 {
		t.Errorf("the watch began with %v", snapshot)
	}
	for range 2 {
		_, err := g.sessions.DeleteSession(g.ctx, &penstockv1.DeleteSessionRequest{SessionId: "call"})
		must(t, err)
	}
	wantEnded(t, logical, penstockv1.TrackEndReason_TRACK_END_REASON_SESSION_DELETED)
	wantStatus(t, waiter.end(), codes.FailedPrecondition, "SESSION_ENDED")
	removed := 0
	for err == nil {
		var c *penstockv1.WatchTracksResponse
		c, err = watch.Recv()
		removed += len(c.GetRemoved())
	}
	if !errors.Is(err, io.EOF) || removed != 1 {
		t.Errorf("the watch told %d ends and %v", removed, err)
	}
	got, err := g.sessions.GetSession(g.ctx, &penstockv1.GetSessionRequest{SessionId: "call"})
	must(t, err)
	if s := got.GetSession(); s.GetState() != penstockv1.SessionState_SESSION_STATE_ENDED || s.GetEndReason() != penstockv1.SessionEndReason_SESSION_END_REASON_DELETED {
		t.Errorf("the session is %v", s)
	}
	offer, err := g.sessions.Negotiate(g.ctx, &penstockv1.NegotiateRequest{SessionId: "call", Sdp: "v=0"})
	must(t, err)
	if offer.GetDropped().GetReason() != penstockv1.DropReason_DROP_REASON_CLOSED || offer.GetDropped().GetMessage() == "" {
		t.Errorf("S1: the late offer got %v", offer)
	}
	c, err := g.sessions.AddIceCandidate(g.ctx, &penstockv1.AddIceCandidateRequest{SessionId: "call", Candidate: &penstockv1.IceCandidate{}})
	must(t, err)
	if c.GetResult() != penstockv1.CandidateResult_CANDIDATE_RESULT_DROPPED {
		t.Errorf("the late candidate got %v", c)
	}
	_, err = g.sessions.ReportEvents(g.ctx, &penstockv1.ReportEventsRequest{SessionId: "call"})
	wantStatus(t, err, codes.FailedPrecondition, "SESSION_ENDED")
	wantStatus(t, streamCall(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byID("x")})(g.ctx, g), codes.FailedPrecondition, "SESSION_ENDED")
	if n := g.svc.Sessions(); n != 0 {
		t.Errorf("%d sessions are open", n)
	}
	g.call("call") // The id can be taken again.
	g.stream("call", byParticipant("alice", camera))
}

// TestRemoteCloseEndsSession closes the SFU's side.
func TestRemoteCloseEndsSession(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Grace = 5 * time.Second })
	sfu, _ := g.call("call")
	r := g.stream("call", byParticipant("alice", camera))
	must(t, sfu.Close())
	wantEnded(t, r, penstockv1.TrackEndReason_TRACK_END_REASON_SESSION_EXPIRED)
	got, err := g.sessions.GetSession(g.ctx, &penstockv1.GetSessionRequest{SessionId: "call"})
	must(t, err)
	if reason := got.GetSession().GetEndReason(); reason != penstockv1.SessionEndReason_SESSION_END_REASON_REMOTE_CLOSED {
		t.Errorf("ended for %v", reason)
	}
}

// TestSessionWithoutAnOfferExpires lets the grace of a session run out to which nobody offers.
func TestSessionWithoutAnOfferExpires(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Grace = 50 * time.Millisecond })
	s := g.create("call")
	if s.GetExpireTime() == nil {
		t.Error("a session that waits for its offer has no expiry")
	}
	watch, err := g.tracks.WatchTracks(g.ctx, &penstockv1.WatchTracksRequest{SessionId: "call"})
	must(t, err)
	for err == nil {
		_, err = watch.Recv()
	}
	if !errors.Is(err, io.EOF) && status.Code(err) != codes.FailedPrecondition {
		t.Errorf("the watch ended with %v", err)
	}
	got, err := g.sessions.GetSession(g.ctx, &penstockv1.GetSessionRequest{SessionId: "call"})
	must(t, err)
	if reason := got.GetSession().GetEndReason(); reason != penstockv1.SessionEndReason_SESSION_END_REASON_SIGNALLING_LOST {
		t.Errorf("ended for %v", reason)
	}
}

// TestP4_Drain refuses sessions, tells streams, lets them go on until the grace is cut short, and then ends them.
func TestP4_Drain(t *testing.T) {
	const long = 10 * time.Minute
	g := startGateway(t)
	ctx, hurry := context.WithCancel(g.ctx)
	defer hurry()
	g.call("call")
	r, waiter := g.stream("call", byParticipant("alice", camera)), g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("bob", camera)})
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		g.svc.Drain(ctx, long)
	}()
	e := r.event(func(e *penstockv1.StreamEvent) bool { return e.GetGoingAway() != nil })
	if grace := e.GetGoingAway().GetGrace().AsDuration(); grace <= 0 || grace > long {
		t.Errorf("going away in %v", grace)
	}
	r.video()
	_, err := g.sessions.CreateSession(g.ctx, &penstockv1.CreateSessionRequest{})
	wantStatus(t, err, codes.Unavailable, "DRAINING")
	check, err := grpc_health_v1.NewHealthClient(g.conn).Check(g.ctx, &grpc_health_v1.HealthCheckRequest{})
	must(t, err)
	if check.GetStatus() != grpc_health_v1.HealthCheckResponse_NOT_SERVING || !g.svc.Draining() {
		t.Errorf("health is %v", check)
	}
	late := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera)})
	if late.next().GetHeader() == nil || late.next().GetEvent().GetGoingAway() == nil {
		t.Error("a stream that comes during the grace is not told")
	}
	hurry()
	for _, stream := range []*reader{r, waiter, late} {
		wantStatus(t, stream.end(), codes.Unavailable, "DRAINING")
	}
	<-drained
}

// TestP4_DrainEndsAfterItsGrace lets a drain end streams by itself.
func TestP4_DrainEndsAfterItsGrace(t *testing.T) {
	g := startGateway(t)
	g.call("call")
	r := g.stream("call", byParticipant("alice", camera))
	g.svc.Drain(g.ctx, 100*time.Millisecond)
	wantStatus(t, r.end(), codes.Unavailable, "DRAINING")
}
