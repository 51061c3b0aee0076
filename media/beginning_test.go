package media

import (
	"log/slog"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// inOrder checks that times are known and none is before the one before it.
func inOrder(t *testing.T, times ...time.Time) {
	t.Helper()
	for i, at := range times {
		if at.IsZero() || i > 0 && at.Before(times[i-1]) {
			t.Errorf("time %d of %v is missing or too early", i, times)
		}
	}
}

// TestBeginningOfAConsumer follows what consumers wait for: one that begins with a key frame that is asked for, one that joins and is served at once with the last picture, and one
// of a track that has ended its run. Each step is known as soon as it has happened, and no sooner.
func TestBeginningOfAConsumer(t *testing.T) {
	pool := NewDecodePool(1)
	defer pool.Close()
	asks := make(chan struct{}, 10)
	track := NewTrack(TrackConfig{Kind: KindVideo, Pool: pool, Logger: slog.New(slog.DiscardHandler), RequestKeyFrame: func() { asks <- struct{}{} }})
	defer track.End(EndClosed)
	f := newFeeder(t, track, clips.AliceCamera(), 7)
	first := subscribe(t, track, Request{Queue: patient})
	within(t, asks)
	b := first.Beginning()
	inOrder(t, b.Attached, b.KeyFrameAsked)
	if !b.FirstPacket.IsZero() || !b.FirstFrame.IsZero() {
		t.Errorf("nothing was sent, but %+v", b)
	}
	f.now = time.Now()
	sent := f.now
	if f.next = 1; f.feed().KeyFrame {
		t.Fatal("the clip has its key frames elsewhere")
	}
	if b := first.Beginning(); !b.FirstPacket.Equal(sent) || !b.FirstFrame.IsZero() {
		t.Errorf("a packet of no use came at %v, but %+v", sent, b)
	}
	f.next = 0 // a key frame
	f.feed()
	got := frame(t, first)
	b = first.Beginning()
	inOrder(t, b.Attached, b.KeyFrameAsked, b.FirstPacket, b.FirstFrame)
	if !b.FirstPacket.Equal(sent) || !got.Received.After(sent) {
		t.Errorf("the first packet came at %v, not %v", b.FirstPacket, sent)
	}
	made := b.FirstFrame
	for range 3 {
		f.feed()
		frame(t, first)
	}
	if b := first.Beginning(); b.FirstFrame != made || b.FirstPacket != sent {
		t.Errorf("later frames change the beginning: %+v", b)
	}
	joined := subscribe(t, track, Request{Queue: patient})
	last := frame(t, joined)
	if b := joined.Beginning(); !b.FirstPacket.Equal(last.Received) || !b.KeyFrameAsked.IsZero() {
		t.Errorf("who is served with what was kept begins with %+v", b)
	} else {
		inOrder(t, b.Attached, b.FirstFrame)
	}
}

// TestBeginningWithWhatWasKept gives a consumer a frame that is older than the packet which came first after it.
func TestBeginningWithWhatWasKept(t *testing.T) {
	now := time.Now()
	c := &Consumer{firstPacket: now}
	if c.beginsWith(&Frame{Received: now.Add(-time.Second)}); !c.firstPacket.Equal(now.Add(-time.Second)) || c.firstFrame.IsZero() {
		t.Errorf("the first packet is told to have come at %v", c.firstPacket)
	}
	c = &Consumer{firstPacket: now}
	if c.beginsWith(&Frame{Received: now.Add(time.Second)}); !c.firstPacket.Equal(now) {
		t.Errorf("the first packet is told to have come at %v, not before the frame", c.firstPacket)
	}
}

// TestBeginningIsToldToAllWhoWait lets two consumers of audio wait for one packet.
func TestBeginningIsToldToAllWhoWait(t *testing.T) {
	track := newTestTrack(t, KindAudio)
	f := newFeeder(t, track, clips.AliceMicrophone(), 7)
	waiting := []*Consumer{subscribe(t, track, Request{}), subscribe(t, track, Request{Encoded: true})}
	f.now = time.Now()
	sent := f.now
	for range 20 { // the first packets of the clip give no frame yet
		f.feed()
	}
	for _, c := range waiting {
		frame(t, c)
		b := c.Beginning()
		inOrder(t, b.Attached, b.FirstPacket, b.FirstFrame)
		if !b.FirstPacket.Equal(sent) || !b.KeyFrameAsked.IsZero() {
			t.Errorf("the beginning is %+v, the first packet came at %v", b, sent)
		}
	}
}
