package service

import (
	"context"
	"fmt"
	"sync"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// obedient is an SFU that sends only what is wanted, as it is told over Signal.
type obedient struct {
	*sfutest.SFU
	k *talker

	mu     sync.Mutex
	tracks map[string]*sfutest.Track // by who and what
	wanted map[string]bool
	sent   map[string]bool
	offers map[string]bool     // as sent, when it is negotiated
	told   map[string][]string // every distinct value, in order
	wake   chan struct{}
	rest   func() // ends the changes, not the conversation
}

// nameOf names a publication.
func nameOf(p *penstockv1.Publication) string {
	return fmt.Sprint(p.GetParticipant().GetParticipantId(), " ", p.GetSource())
}

// asText returns what is wanted in few words.
func asText(w *penstockv1.WantedTrack) string {
	if !w.GetWanted() {
		return "nothing"
	}
	return fmt.Sprintf("%d×%d@%g", w.GetWidth(), w.GetHeight(), w.GetFps())
}

// obey returns an obedient SFU of a session, which ends with the test.
func (g *gateway) obey(session string) *obedient {
	g.t.Helper()
	o := &obedient{
		tracks: map[string]*sfutest.Track{}, wanted: map[string]bool{}, sent: map[string]bool{}, offers: map[string]bool{}, told: map[string][]string{},
		wake: make(chan struct{}, 1),
	}
	o.k = g.talker(session)
	o.k.Hear = func(m *penstockv1.SignalResponse) {
		if w := m.GetWantedTrack(); w != nil {
			o.take(w)
		}
		o.k.hear(m)
	}
	o.k.open(0)
	o.SFU = o.k.newSFU(sfutest.Config{Trickle: sfutest.TrickleWith})
	ctx, cancel := context.WithCancel(g.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.run(ctx)
	}()
	o.rest = func() {
		cancel()
		<-done
	}
	g.t.Cleanup(o.rest)
	return o
}

// take notes what is wanted.
func (o *obedient) take(w *penstockv1.WantedTrack) {
	o.mu.Lock()
	name, text := nameOf(w.GetTrack().GetPublication()), asText(w)
	o.wanted[name] = w.GetWanted()
	if all := o.told[name]; len(all) == 0 || all[len(all)-1] != text {
		o.told[name] = append(all, text)
	}
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// run adds and removes tracks until they are as wanted.
func (o *obedient) run(ctx context.Context) {
	for {
		o.mu.Lock()
		var change func(context.Context, ...*sfutest.Track) error
		var track *sfutest.Track
		var which string
		for name, t := range o.tracks {
			if o.wanted[name] != o.sent[name] {
				change, track, which = o.Remove, t, name
				if o.wanted[name] {
					change = o.Add
				}
				o.sent[name] = o.wanted[name]
				break
			}
		}
		o.mu.Unlock()
		if track == nil {
			select {
			case <-o.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		if err := change(ctx, track); err != nil && ctx.Err() == nil {
			o.k.g.t.Error(err)
			return
		}
		o.mu.Lock()
		o.offers[which] = o.sent[which]
		o.mu.Unlock()
	}
}

// sends tells whether a track was offered last, and not taken out.
func (o *obedient) sends(participant string, source penstockv1.Source) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.offers[fmt.Sprint(participant, " ", source)]
}

// announce publishes a track of which nothing is sent until it is wanted.
func (o *obedient) announce(participant string, source penstockv1.Source, clip clips.Clip) *sfutest.Track {
	o.k.g.t.Helper()
	t := newTrack(o.k.g.t, o.SFU, participant, source, clip)
	o.mu.Lock()
	o.tracks[nameOf(t.Publication())] = t
	o.mu.Unlock()
	must(o.k.g.t, o.Announce(o.k.g.ctx, t))
	return t
}

// says waits until the last that was told of a track is as given.
func (o *obedient) says(participant string, source penstockv1.Source, text string) {
	o.k.g.t.Helper()
	name := fmt.Sprint(participant, " ", source)
	o.k.until(name+" "+text, func(*penstockv1.SignalResponse) bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		all := o.told[name]
		return len(all) > 0 && all[len(all)-1] == text
	})
}

// history returns every value told of a track.
func (o *obedient) history(participant string, source penstockv1.Source) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return fmt.Sprint(o.told[fmt.Sprint(participant, " ", source)])
}

// box returns a request for pictures of alice's camera.
func box(width, height uint32, fps float64) *penstockv1.StreamTrackRequest {
	return &penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera),
		Format: videoOf(&penstockv1.VideoFormat{Width: width, Height: height, MaxFps: fps})}
}

// TestS21_WhatIsWantedIsSent has an SFU that sends only what is wanted. A camera that is only published is wanted, and sent, as soon as
// somebody waits for it; the largest size and rate that any consumer asks for is told at each change; the last one to leave
// stops it, and the next starts it again.
func TestS21_WhatIsWantedIsSent(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	o := g.obey("call")
	cam := o.announce("alice", camera, clips.AliceCamera())
	o.says("alice", camera, "nothing")

	small := g.open(box(320, 180, 5))
	o.says("alice", camera, "320×180@5")
	small.video()
	large := g.open(box(640, 0, 15))
	o.says("alice", camera, "640×0@15")
	large.video()
	encoded := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Format: encodedAs(),
		Selector: &penstockv1.TrackSelector{Selector: &penstockv1.TrackSelector_User{User: &penstockv1.UserTrack{UserId: "user-alice", Source: camera}}}})
	o.says("alice", camera, "0×0@0")
	encoded.video()
	for _, leave := range []struct {
		who  *reader
		left string
	}{{encoded, "640×0@15"}, {large, "320×180@5"}, {small, "nothing"}} {
		leave.who.cancel()
		o.says("alice", camera, leave.left)
	}
	media := func() int {
		n := 0
		l, err := g.tracks.ListTracks(g.ctx, &penstockv1.ListTracksRequest{SessionId: "call"})
		must(t, err)
		for _, track := range l.GetTracks() {
			if track.GetState() == penstockv1.TrackState_TRACK_STATE_LIVE {
				n++
			}
		}
		return n
	}
	g.eventually("call", func() bool { return media() == 0 })
	sent := cam.Packets()

	again := g.open(box(160, 90, 0))
	o.says("alice", camera, "160×90@0")
	for range 3 {
		again.video()
	}
	if cam.Packets() == sent {
		t.Error("frames without packets")
	}
	if got, want := o.history("alice", camera), "[nothing 320×180@5 640×0@15 0×0@0 640×0@15 320×180@5 nothing 160×90@0]"; got != want {
		t.Errorf("told %v, want %v", got, want)
	}
}

// TestS21_WhoeverWaitsWants has nothing sent of a microphone and two cameras, until somebody waits for each of them: with a stream, for one frame, and
// for its being live. Each is sent for as long as it is wanted.
func TestS21_WhoeverWaitsWants(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	o := g.obey("call")
	o.announce("alice", microphone, clips.AliceMicrophone())
	o.announce("alice", camera, clips.AliceCamera())
	o.announce("bob", camera, clips.BobCamera())
	o.says("alice", microphone, "nothing") // else it may be told to be wanted at once
	o.says("alice", camera, "nothing")
	o.says("bob", camera, "nothing")

	mic := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", microphone)})
	mic.audio()
	r, err := g.tracks.GetFrame(g.ctx, &penstockv1.GetFrameRequest{SessionId: "call", Selector: byParticipant("bob", camera),
		Format: &penstockv1.VideoFormat{Width: 160}})
	must(t, err)
	if r.GetFrame().GetWidth() != 160 {
		t.Errorf("a frame of %d×%d", r.GetFrame().GetWidth(), r.GetFrame().GetHeight())
	}
	resolved, err := g.tracks.ResolveTrack(g.ctx, &penstockv1.ResolveTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera)})
	must(t, err)
	if resolved.GetTrack().GetState() != penstockv1.TrackState_TRACK_STATE_LIVE {
		t.Errorf("resolved %v", resolved)
	}
	o.says("bob", camera, "nothing")
	o.says("alice", camera, "nothing")
	mic.cancel()
	o.says("alice", microphone, "nothing")
	for _, want := range []struct {
		who  string
		what penstockv1.Source
		told string
	}{
		{"alice", microphone, "[nothing 0×0@0 nothing]"}, {"bob", camera, "[nothing 160×0@1 nothing]"}, {"alice", camera, "[nothing 0×0@0 nothing]"},
	} {
		if got := o.history(want.who, want.what); got != want.told {
			t.Errorf("told %v of %s's %v, want %v", got, want.who, want.what, want.told)
		}
	}
}

// TestS21_RepublicationDoesNotFlicker unpublishes and publishes a camera that is streamed, both with other media and with the same. It is told
// to be wanted each time it is published, and never that it is not.
func TestS21_RepublicationDoesNotFlicker(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	k := g.talk("call")
	sfu := k.newSFU(sfutest.Config{})
	cam := newTrack(t, sfu, "alice", camera, clips.AliceCamera())
	must(t, sfu.Publish(g.ctx, cam))
	r := g.stream("call", byParticipant("alice", camera))
	wanted := func(m *penstockv1.SignalResponse) bool { return m.GetWantedTrack().GetWanted() }
	k.until("wanted", wanted)

	// At once, so that its track may never be seen without a publication.
	k.forget()
	gone := &penstockv1.CallEvent{Event: &penstockv1.CallEvent_TrackUnpublished{
		TrackUnpublished: &penstockv1.TrackUnpublished{ParticipantId: "alice", Source: camera},
	}}
	must(t, sfu.Report(g.ctx, gone, published("alice", camera)))
	k.until("wanted again", wanted)
	r.video()
	first := k.all()

	k.forget()
	must(t, sfu.Unpublish(g.ctx, cam))
	must(t, sfu.Publish(g.ctx, newTrack(t, sfu, "alice", camera, clips.BobCamera())))
	k.until("wanted with other media", wanted)
	r.until(func(m *penstockv1.StreamTrackResponse) bool {
		return m.GetVideo() != nil && shows(m.GetVideo(), clips.BobCamera())
	})
	for _, m := range append(first, k.all()...) {
		if m.GetWantedTrack() != nil && !wanted(m) {
			t.Errorf("told %v while it is streamed", m)
		}
	}
	r.cancel()
	k.until("nothing", func(m *penstockv1.SignalResponse) bool { return m.GetWantedTrack() != nil && !wanted(m) })
}

// TestS21_ToldAgainAfterSignallingWasLost changes what is wanted while nobody listens. Whoever opens again is told of every published track.
func TestS21_ToldAgainAfterSignallingWasLost(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	k := g.talk("call")
	for _, name := range []string{"alice", "bob", "carol"} {
		must(t, k.ReportEvents(g.ctx, published(name, camera)))
	}
	leaves := g.open(box(320, 0, 0))
	k.until("wanted", func(m *penstockv1.SignalResponse) bool { return m.GetWantedTrack().GetWanted() })
	k.Lose()
	leaves.cancel()
	g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("bob", camera)})
	want := map[string]string{"alice": "nothing", "bob": "0×0@0", "carol": "nothing"}
	_, err := g.sessions.ReportEvents(g.ctx, &penstockv1.ReportEventsRequest{SessionId: "call", Events: []*penstockv1.CallEvent{{
		Event: &penstockv1.CallEvent_TrackUnpublished{TrackUnpublished: &penstockv1.TrackUnpublished{ParticipantId: "carol", Source: camera}},
	}}})
	must(t, err)
	delete(want, "carol")
	g.eventually("call", func() bool {
		l, err := g.tracks.ListTracks(g.ctx, &penstockv1.ListTracksRequest{SessionId: "call"})
		must(t, err)
		return len(l.GetTracks()) == len(want)
	})
	for g.svc.session(key("call")).hub.announced() != len(want) { // What the store knows is told a little later.
		mustTick(t, g)
	}
	k.open(0)
	k.until("all that is wanted", func(*penstockv1.SignalResponse) bool {
		got := map[string]string{}
		for _, m := range k.all() {
			if w := m.GetWantedTrack(); w != nil {
				got[w.GetTrack().GetPublication().GetParticipant().GetParticipantId()] = asText(w)
			}
		}
		return fmt.Sprint(got) == fmt.Sprint(want)
	})
}

// TestS21_MuteIsNoWish has an SFU that sends only what is wanted, and a publisher that mutes and unmutes. What is wanted stays as it was: nothing is
// told of it, and the frames go on after. Whoever leaves while it is muted stops it, so that unmuting sends nothing; who comes
// while it is muted starts it, and gets frames when it is unmuted.
func TestS21_MuteIsNoWish(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	o := g.obey("call")
	cam := o.announce("alice", camera, clips.AliceCamera())
	paused := func(e *penstockv1.StreamEvent) bool { return e.GetPaused().GetMuted() }
	resumed := func(e *penstockv1.StreamEvent) bool { return e.GetResumed() != nil }
	o.says("alice", camera, "nothing")
	r := g.open(box(320, 180, 5))
	r.video()
	o.k.forget()
	for range 3 {
		must(t, o.Mute(g.ctx, cam, true))
		r.event(paused)
		must(t, o.Mute(g.ctx, cam, false))
		r.event(resumed)
		r.video()
	}
	for _, m := range o.k.all() {
		if m.GetWantedTrack() != nil {
			t.Errorf("told %v though nothing has changed", m)
		}
	}
	must(t, o.Mute(g.ctx, cam, true))
	r.event(paused)
	r.cancel()
	o.says("alice", camera, "nothing")
	for o.sends("alice", camera) {
		mustTick(t, g)
	}
	sent := cam.Packets()
	must(t, o.Mute(g.ctx, cam, false))
	if track := g.listed("call")["alice SOURCE_CAMERA"]; track.GetPublication().GetMuted() || cam.Packets() != sent {
		t.Errorf("%v, and %d packets of what nobody wants", track, cam.Packets()-sent)
	}

	must(t, o.Mute(g.ctx, cam, true))
	again := g.open(box(320, 0, 0))
	o.says("alice", camera, "320×0@0")
	again.event(paused)
	must(t, o.Mute(g.ctx, cam, false))
	again.event(resumed)
	if v := again.video(); !shows(v, clips.AliceCamera()) {
		t.Errorf("the picture is another: %v", v.GetInfo())
	}
	if got, want := o.history("alice", camera), "[nothing 320×180@5 nothing 320×0@0]"; got != want {
		t.Errorf("told %v, want %v", got, want)
	}
}
