package media

import (
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What is sent after all encodings were taken out is another source: nothing of it is shown before its key frame, for which it is asked, not an
// encoding that is gone, and its pictures lie after those before.
func TestF20_WhatFollowsTheEncodingsIsAnotherSource(t *testing.T) {
	noCMemory(t)
	s := newSimulcast(t)
	asked := make(chan struct{}, 8)
	s.track.cfg.RequestKeyFrame = func() { asked <- struct{}{} }
	v := &viewer{t: t, c: s.subscribe(0)}
	s.key(large)
	s.feed(3)
	v.sees(3, large, "before")
	for i, l := range s.layers {
		l.End()
		s.asked[i].Store(0)
	}
	f := s.feeders[middle]
	f.layer, f.next = nil, 1
	for range 3 {
		f.feed()
	}
	within(t, asked)
	for i := range s.asked {
		if n := s.asked[i].Load(); n != 0 {
			t.Errorf("an encoding that is gone was asked for %d key frames", n)
		}
	}
	f.next = 0
	f.feed()
	if layer, at := v.next(); layer != middle || at < 350*time.Millisecond || at > 500*time.Millisecond {
		t.Errorf("what follows begins with a picture of %d at %v", layer, at)
	}
	if st := s.track.Stats(); st.UnitsDropped != 3 {
		t.Errorf("%d pictures were left out before its key frame, want 3", st.UnitsDropped)
	}
}

// Encodings that send a picture every two seconds, one after another, have not stopped in between: no key frame is asked for again and again.
func TestF20_SlowEncodingsHaveNotStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSimulcast(t)
		s.subscribe(0)
		for range 30 {
			for _, i := range []int{small, middle, large} {
				s.feeders[i].now = time.Now()
				s.feeders[i].feed()
				time.Sleep(50 * time.Millisecond)
			}
			time.Sleep(1850 * time.Millisecond)
		}
		s.chosen(large, "after a minute")
		for i := range s.asked {
			if n := s.asked[i].Load(); n > 5 {
				t.Errorf("encoding %d was asked for %d key frames in a minute, want 5 at most", i, n)
			}
		}
	})
}

// A switch shows no picture twice: the one that the old encoding has shown already is decoded, and not delivered again, to those who have it.
func TestF20_NoPictureIsShownTwice(t *testing.T) {
	noCMemory(t)
	s := newSimulcast(t)
	s.feed(1)
	v := &viewer{t: t, c: s.subscribe(160)}
	s.key(small)
	s.feed(5)
	v.sees(5, small, "alone")
	more := s.subscribe(0)
	s.wanted(large)
	s.key(large)
	s.feed(5)
	v.sees(5, large, "the other wants large pictures")
	more.Close()
	s.key(small)
	s.feed(5)
	v.sees(1, large, "this picture of the large layer came first")
	for range 4 {
		before := v.last
		if layer, at := v.next(); layer != small || at-before < 30*time.Millisecond {
			t.Errorf("a picture of layer %d lies %v after the one before", layer, at-before)
		}
	}
	if n := s.track.Stats().Decoded; n != 16 {
		t.Errorf("%d pictures were decoded, want 16: what is not shown is needed by others", n)
	}
}

// Who attaches while a limit is lifted is not left with it.
func TestLoadLimitIsToldAsItIs(t *testing.T) {
	p := newPublisher(t, newPool(t, 1), false, 0)
	defer p.track.End(EndClosed)
	subscribe(t, p.track, Request{})
	p.track.video.limitTo(limits{width: 640, height: 360})
	var told []QualityLimit
	r, err := Request{Video: &VideoFormat{}, Limited: func(q QualityLimit) { told = append(told, q) }}.normalize(KindVideo)
	if err != nil {
		t.Fatal(err)
	}
	c, limited, err := p.track.attach(r)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p.track.video.limitTo(limits{})
	limited()
	if n := len(told); n == 0 || told[n-1] != (QualityLimit{}) {
		t.Errorf("told %v, the limit was lifted", told)
	}
}

// A consumer whose media have ended is not taken for one that stalls when the queues are made shorter.
func TestF6_WhoseMediaHaveEndedDoesNotStall(t *testing.T) {
	pool := newPool(t, 1, WithQueueBytes(1000))
	track := NewTrack(TrackConfig{Kind: KindAudio, Pool: pool, Logger: slog.New(slog.DiscardHandler)})
	stalled := false
	c := subscribe(t, track, Request{Queue: patient, Stalled: func() { stalled = true }})
	c.push(&Frame{Payload: newPayload(nil, make([]byte, 600))})
	track.End(EndClosed)
	other := subscribe(t, newPoolTrack(t, pool, KindAudio), Request{Queue: patient})
	other.push(&Frame{Payload: newPayload(nil, make([]byte, 500))})
	if stalled {
		t.Error("it is said to have stalled")
	}
	if got := frame(t, other); got.Dropped != (Loss{}) {
		t.Errorf("%+v was dropped of the shorter queue", got.Dropped)
	}
}

// A track that was suspended comes back when it is the last, however much it takes.
func TestLoadGivesTheLastTrackBack(t *testing.T) {
	overloaded(t, func(t *testing.T, pool *DecodePool, readers *sync.WaitGroup) []*publisher {
		const cost = 30 * time.Millisecond // 0.9 of a worker
		few, many := newPublisher(t, pool, false, cost), newPublisher(t, pool, false, cost)
		few.deaf, many.deaf = true, true
		few.consume(readers, Request{})
		others := []*Consumer{many.consume(readers, Request{}), many.consume(readers, Request{})}
		play(20*time.Second, few, many)
		few.wantNews("too much", "640×360", "suspended")
		for _, c := range others {
			c.Close()
		}
		play(2*time.Second, few)
		few.news()
		play(10*time.Second, few)
		if _, n := few.news(); n < 295 {
			t.Errorf("%d pictures of 300 though nothing else is decoded", n)
		}
		return []*publisher{few, many}
	})
}
