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
	f.feed()
	got := frame(t, first)
	b = first.Beginning()
	inOrder(t, b.Attached, b.KeyFrameAsked, b.FirstPacket, b.FirstFrame)
	if !b.FirstPacket.Equal(sent) || !got.Received.Equal(sent) {
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
