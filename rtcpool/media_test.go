package rtcpool

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/media"
	"github.com/pion/webrtc/v4"
)

func TestS7_RenegotiationLeavesWhatGoesOnAlone(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	f.negotiate(s, 0)
	cam := r.flowing(t, "cam")
	for _, id := range []string{"t1", "t2", "t3", "t4", "t5"} {
		f.add(opus, id, id)
		f.negotiate(s, 0)
		r.flowing(t, id)
		morePackets(t, cam.Track, 5)
		if now, ok := s.Media(cam.ID); !ok || now != cam {
			t.Fatalf("camera was %+v, is %+v", cam, now)
		}
	}
	if told := r.told(); len(told.added) != 6 || len(told.removed) != 0 {
		t.Errorf("added %v, removed %v", told.added, told.removed)
	}
}

func TestS8_ICERestartLeavesWhatGoesOnAlone(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	before := f.negotiate(s, 0)
	cam := r.flowing(t, "cam")
	for range 3 {
		after := f.exchange(s, 0, f.offer(restartOptions))
		if sdpAttribute(after.SDP, "ice-ufrag") == sdpAttribute(before.SDP, "ice-ufrag") {
			t.Error("the answer repeats the credentials")
		}
		before = after
		morePackets(t, cam.Track, 30)
	}
	if now, ok := s.Media(cam.ID); !ok || now != cam || len(r.told().added) != 1 {
		t.Errorf("was %+v, is %+v", cam, now)
	}
}

func TestS8_RemovalOfAnotherTrack(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	other := f.add(vp8, "screen", "alice")
	f.negotiate(s, 0)
	cam, screen := r.flowing(t, "cam"), r.flowing(t, "screen")
	if err := f.pc.RemoveTrack(other.sender); err != nil {
		t.Fatal(err)
	}
	f.negotiate(s, 0)
	r.until(t, "the screen share is not active", func() bool { return !r.media[screen.ID].Active })
	if m := r.told().media[screen.ID]; m.TrackID != "screen" || m.StreamID != "alice" {
		t.Errorf("a pause forgets whose it is: %+v", m)
	}
	morePackets(t, cam.Track, 20)
}

func TestS9_InactiveAndBackIsTheSameMedia(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	f.negotiate(s, 0)
	cam := r.flowing(t, "cam")
	consumer, err := cam.Track.Subscribe(media.Request{Encoded: true})
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	paused := strings.ReplaceAll(f.offer(nil), "a=sendonly", "a=inactive")
	f.exchange(s, 0, paused)
	r.until(t, "paused", func() bool { return !r.media[cam.ID].Active })
	f.negotiate(s, 0)
	r.until(t, "active again", func() bool { return r.media[cam.ID].Active })
	nextEvent(t, consumer, media.EventPaused)
	nextEvent(t, consumer, media.EventResumed)
	morePackets(t, cam.Track, 20)
	if len(r.told().added) != 1 || len(r.told().removed) != 0 || r.told().media[cam.ID].SSRC != cam.SSRC {
		t.Errorf("added %v, removed %v", r.told().added, r.told().removed)
	}
}

func TestS10_ReusedMediaDescriptionIsAnotherMedia(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	source := f.add(vp8, "cam", "alice")
	f.negotiate(s, 0)
	alice := r.flowing(t, "cam")
	if err := f.pc.RemoveTrack(source.sender); err != nil {
		t.Fatal(err)
	}
	f.negotiate(s, 0)
	track, err := webrtc.NewTrackLocalStaticRTP(vp8, "cam", "bob")
	if err != nil {
		t.Fatal(err)
	}
	sender, err := f.pc.AddTrack(track)
	if err != nil {
		t.Fatal(err)
	}
	bobs := &testSource{track: track, sender: sender}
	f.work.Go(func() { f.readRTCP(sender) })
	f.pump(bobs)
	f.negotiate(s, 0)
	r.until(t, "bob's packets", func() bool {
		for _, m := range r.media {
			if m.StreamID == "bob" && m.SSRC != 0 {
				return true
			}
		}
		return false
	})
	bob := r.byTrack(t, "cam")
	if bob.ID == alice.ID || bob.Track == alice.Track || bob.MID != alice.MID {
		t.Errorf("alice %+v, bob %+v", alice, bob)
	}
	if len(r.told().removed) != 1 || r.told().removed[0].ID != alice.ID {
		t.Errorf("removed: %+v", r.told().removed)
	}
	got := alice.Track.Stats().Packets
	morePackets(t, bob.Track, 20)
	if now := alice.Track.Stats().Packets; now != got {
		t.Errorf("%d of bob's packets went to alice's track", now-got)
	}
}

func TestS11_RenamedMSIDFollows(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "unknown")
	f.negotiate(s, 0)
	cam := r.flowing(t, "cam")
	renamed := regexp.MustCompile(`\bunknown\b`).ReplaceAllString(f.offer(nil), "alice")
	f.exchange(s, 0, renamed)
	r.until(t, "renamed", func() bool { return r.media[cam.ID].StreamID == "alice" })
	morePackets(t, cam.Track, 20)
	if len(r.told().added) != 1 || r.told().media[cam.ID].Track != cam.Track {
		t.Errorf("added: %+v", r.told().added)
	}
}

// A sender that names no source in a single media description: pion reports it on a transceiver without a mid.
func TestS18_SingleMediaDescriptionWithoutSSRC(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	bare := regexp.MustCompile(`(?m)^a=ssrc(-group)?:.*\r\n`).ReplaceAllString(f.offer(nil), "")
	f.exchange(s, 0, bare)
	cam := r.flowing(t, "cam")
	morePackets(t, cam.Track, 20)
}

func TestStoppedMediaDescriptionEndsItsMedia(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	f.add(vp8, "screen", "alice")
	f.negotiate(s, 0)
	cam, screen := r.flowing(t, "cam"), r.flowing(t, "screen")
	text := f.offer(nil)
	i := strings.LastIndex(text, "m=video 9")
	res, err := s.Negotiate(context.Background(), Offer{SDP: text[:i] + "m=video 0" + text[i+len("m=video 9"):]})
	if err != nil || res.Answer == nil || len(res.Answer.Rejected) != 0 {
		t.Fatal(res, err)
	}
	r.until(t, "the screen share is gone", func() bool { _, there := r.media[screen.ID]; return !there })
	morePackets(t, cam.Track, 20)
}

func TestKeyFrameRequestsReachTheSenderAtALimitedRate(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	f.negotiate(s, 0)
	cam := r.flowing(t, "cam")
	e := entryByID(t, s, cam.ID)
	for range 1000 {
		e.main.requestKeyFrame()
	}
	waitFor(t, "a PLI", func() bool { return f.pliCount() > 0 })
	if st := p.Stats(); st.KeyFrameRequestsHeld < 900 {
		t.Errorf("%+v", st)
	}
}

// nextEvent reads until an event of that kind.
func nextEvent(t *testing.T, c *media.Consumer, kind media.EventKind) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	for {
		item, err := c.Next(ctx)
		if err != nil {
			t.Fatalf("waiting for event %v: %v", kind, err)
		}
		if item.Frame != nil {
			item.Frame.Payload.Release()
		}
		if item.Event != nil && item.Event.Kind == kind {
			return
		}
	}
}

func entryByID(t *testing.T, s *Session, id string) *entry {
	t.Helper()
	found := make(chan *entry, 1)
	if _, err := s.do(context.Background(), func() {
		for _, e := range s.entries {
			if e.id == id {
				found <- e
				return
			}
		}
		found <- nil
	}); err != nil {
		t.Fatal(err)
	}
	e := <-found
	if e == nil {
		t.Fatalf("no media %q", id)
	}
	return e
}

func sdpAttribute(sdp, key string) string {
	_, rest, _ := strings.Cut(sdp, "a="+key+":")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}
