package service

import (
	"slices"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// listed returns the tracks of a session by participant and source, and checks that none is without a publication.
func (g *gateway) listed(session string) map[string]*penstockv1.Track {
	g.t.Helper()
	r, err := g.tracks.ListTracks(g.ctx, &penstockv1.ListTracksRequest{SessionId: session})
	must(g.t, err)
	out := map[string]*penstockv1.Track{}
	for _, track := range r.GetTracks() {
		if track.GetPublication() == nil {
			g.t.Errorf("a track of nobody is listed: %v", track)
		}
		out[track.GetPublication().GetParticipant().GetParticipantId()+" "+track.GetPublication().GetSource().String()] = track
	}
	return out
}

// untilState asks after each change until a publisher's track is in a state, and returns it.
func (g *gateway) untilState(session, key string, state penstockv1.TrackState) *penstockv1.Track {
	g.t.Helper()
	var found *penstockv1.Track
	g.eventually(session, func() bool {
		found = g.listed(session)[key]
		return found.GetState() == state
	})
	return found
}

// luma is the watermark of a picture, or -1.
func luma(v *penstockv1.VideoFrame) int {
	y := v.GetPlanes()[0]
	mark, ok := clips.ReadWatermark(v.GetPayload()[y.GetOffset():], int(v.GetWidth()), int(v.GetHeight()), int(y.GetStride()))
	if !ok {
		return -1
	}
	return mark
}

// TestS9_PauseAndResumeAreToldOnOneStream makes a camera inactive and active again over gRPC, with and without its source lines: the track
// is PAUSED and LIVE again under one id, and its stream tells paused, resumed, and goes on without a new header.
func TestS9_PauseAndResumeAreToldOnOneStream(t *testing.T) {
	g := startGateway(t)
	sfu, cam := g.call("call")
	r := g.stream("call", byParticipant("alice", camera))
	id := g.untilState("call", "alice SOURCE_CAMERA", penstockv1.TrackState_TRACK_STATE_LIVE).GetTrackId()
	for i := range 4 {
		must(t, sfu.Pause(g.ctx, i%2 == 0, cam))
		if now := g.untilState("call", "alice SOURCE_CAMERA", penstockv1.TrackState_TRACK_STATE_PAUSED); now.GetTrackId() != id {
			t.Errorf("round %d: track %s, was %s", i, now.GetTrackId(), id)
		}
		told := r.changes(func(last string) bool { return last == "paused" }) // before it is over: a state is told, not each change
		must(t, sfu.Renegotiate(g.ctx, false))
		must(t, sfu.Resume(g.ctx, cam))
		if now := g.untilState("call", "alice SOURCE_CAMERA", penstockv1.TrackState_TRACK_STATE_LIVE); now.GetTrackId() != id {
			t.Errorf("round %d: track %s, was %s", i, now.GetTrackId(), id)
		}
		told = append(told, r.changes(func(last string) bool { return last == "resumed" })...)
		told = append(told, r.changes(func(last string) bool { return last == "video" })...)
		if !slices.Equal(told, []string{"paused", "resumed"}) {
			t.Errorf("round %d: the stream told %v", i, told)
		}
	}
	if mark := luma(r.video()); mark != cam.Clip.Watermark {
		t.Errorf("watermark %d", mark)
	}
}

// changes reads on to a message of a kind, and returns the kinds of all that came, but pictures.
func (r *reader) changes(last func(string) bool) (told []string) {
	r.t.Helper()
	r.until(func(m *penstockv1.StreamTrackResponse) bool {
		var kind string
		switch {
		case m.GetHeader() != nil:
			kind = "header"
		case m.GetEvent().GetPaused() != nil:
			kind = "paused"
		case m.GetEvent().GetResumed() != nil:
			kind = "resumed"
		case m.GetVideo() != nil:
			return last("video")
		default:
			return false
		}
		told = append(told, kind)
		return last(kind)
	})
	return told
}

// TestS12_PhantomIsShownToNobody offers media without an msid whose packets flow: neither lists nor watchers show it, and of two publications
// that wait for such media none gets it. Identified, it is its owner's at once.
func TestS12_PhantomIsShownToNobody(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	sfu := g.sfu("call", sfutest.MSIDStream)
	mic := newTrack(t, sfu, "alice", microphone, clips.AliceMicrophone())
	ghost := newTrack(t, sfu, "bob", camera, clips.BobCamera())
	ghost.SetMSID("", "")
	must(t, sfu.Publish(g.ctx, mic))
	must(t, sfu.Add(g.ctx, ghost))
	g.untilState("call", "alice SOURCE_MICROPHONE", penstockv1.TrackState_TRACK_STATE_LIVE)
	steady := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", microphone)})
	hears := func() {
		for range 25 { // half a second, in which the phantom's packets come
			steady.audio()
		}
	}
	for ghost.Packets() == 0 {
		mustTick(t, g)
	}
	hears()
	if now := g.listed("call"); len(now) != 1 {
		t.Errorf("listed: %v", now)
	}
	watch, err := g.tracks.WatchTracks(g.ctx, &penstockv1.WatchTracksRequest{SessionId: "call"})
	must(t, err)
	first, err := watch.Recv()
	must(t, err)
	if !first.GetSnapshot() || len(first.GetTracks()) != 1 {
		t.Errorf("the watcher is told of %v", first.GetTracks())
	}

	screenshare := newTrack(t, sfu, "carol", screen, clips.BobScreen())
	must(t, sfu.Announce(g.ctx, ghost, screenshare))
	hears()
	for key, track := range g.listed("call") {
		if pending := track.GetState() == penstockv1.TrackState_TRACK_STATE_PENDING; pending == (key == "alice SOURCE_MICROPHONE") || pending && track.GetMedia() != nil {
			t.Errorf("%s: %v", key, track)
		}
	}
	streamID, trackID := ghost.MSID()
	must(t, sfu.Rename(g.ctx, ghost, streamID, trackID))
	g.untilState("call", "bob SOURCE_CAMERA", penstockv1.TrackState_TRACK_STATE_LIVE)
	if state := g.listed("call")["carol SOURCE_SCREEN_SHARE"].GetState(); state != penstockv1.TrackState_TRACK_STATE_PENDING {
		t.Errorf("the other publication is %v", state)
	}
	r := g.stream("call", byParticipant("bob", camera))
	if mark := luma(r.video()); mark != ghost.Clip.Watermark {
		t.Errorf("watermark %d", mark)
	}
}

// TestS13_SilentPublisherIsKnownAndItsFirstFramesAreDelivered announces and offers publishers that are muted and have never sent: their tracks are
// PENDING, then PAUSED, streams that are opened meanwhile wait, and get the first packet and the first picture after unmuting.
func TestS13_SilentPublisherIsKnownAndItsFirstFramesAreDelivered(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	sfu := g.sfu("call", sfutest.MSIDStream)
	mic := newTrack(t, sfu, "alice", microphone, clips.AliceMicrophone())
	cam := newTrack(t, sfu, "alice", camera, clips.AliceCamera())
	must(t, sfu.Announce(g.ctx, mic, cam))
	for _, key := range []string{"alice SOURCE_MICROPHONE", "alice SOURCE_CAMERA"} {
		g.untilState("call", key, penstockv1.TrackState_TRACK_STATE_PENDING)
	}
	early := g.open(&penstockv1.StreamTrackRequest{
		SessionId: "call", Selector: byParticipant("alice", microphone), Format: encodedAs(penstockv1.Codec_CODEC_OPUS), Policy: roomy(),
	})
	must(t, sfu.Mute(g.ctx, mic, true))
	must(t, sfu.Mute(g.ctx, cam, true))
	must(t, sfu.Add(g.ctx, mic, cam))
	for _, key := range []string{"alice SOURCE_MICROPHONE", "alice SOURCE_CAMERA"} {
		if now := g.untilState("call", key, penstockv1.TrackState_TRACK_STATE_PAUSED); now.GetMedia().GetMid() == "" {
			t.Errorf("%s: what the offer says is not known: %v", key, now)
		}
	}
	late := g.open(&penstockv1.StreamTrackRequest{
		SessionId: "call", Selector: byParticipant("alice", camera), Format: videoOf(&penstockv1.VideoFormat{Width: 320}), Policy: roomy(),
	})
	late.header()
	late.event(func(e *penstockv1.StreamEvent) bool { return e.GetPaused().GetMuted() })
	if mic.Packets()+cam.Packets() != 0 {
		t.Fatal("they are not silent")
	}
	must(t, sfu.Mute(g.ctx, mic, false))
	must(t, sfu.Mute(g.ctx, cam, false))
	sound := early.audio().GetInfo()
	picture := late.video()
	if first, ok := mic.FirstTimestamp(); !ok || sound.GetRtpTimestamp() != first || sound.GetLostFrames() != 0 {
		t.Errorf("the first packet was at %d, delivered is %v", first, sound)
	}
	if first, ok := cam.FirstTimestamp(); !ok || picture.GetInfo().GetRtpTimestamp() != first || picture.GetInfo().GetLostFrames() != 0 {
		t.Errorf("the first picture was at %d, delivered is %v", first, picture.GetInfo())
	}
	if mark := luma(picture); mark != cam.Clip.Watermark {
		t.Errorf("watermark %d", mark)
	}
}
