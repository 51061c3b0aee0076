package media

import (
	"testing"
	"testing/synctest"
	"time"
)

// poll attaches once a second for as long as the scene takes, waits for a picture no longer than that, and leaves, while pictures
// are fed. It returns how many polls got one.
func poll(t *testing.T, track *Track, r Request, seconds int, feed func()) (served int) {
	t.Helper()
	for range seconds {
		c, err := track.Subscribe(r)
		if err != nil {
			t.Fatal(err)
		}
		next := time.Now().Add(time.Second)
		got := false
		for time.Now().Before(next) {
			feed()
			synctest.Wait()
			if !got && waiting(c) > 0 {
				got = true
				c.Close()
			}
			time.Sleep(time.Second / 30)
		}
		c.Close()
		if got {
			served++
		}
	}
	return served
}

// fewAMinute checks that no more than five requests were sent in any minute.
func fewAMinute(t *testing.T, at []time.Time) {
	t.Helper()
	for i := 5; i < len(at); i++ {
		if d := at[i].Sub(at[i-5]); d < time.Minute-time.Second/30 { // looked at picture by picture
			t.Errorf("six requests within %v", d)
		}
	}
}

// TestF10_PollingAsksForFewKeyFrames attaches for one picture a second, for some minutes. However the sender answers, no more than five key frames
// are asked for in any minute.
func TestF10_PollingAsksForFewKeyFrames(t *testing.T) {
	const seconds = 130
	for name, answers := range map[string]bool{"a sender that answers": true, "one that does not": false} {
		for form, r := range map[string]Request{"pictures": {Queue: patient}, "encoded": {Encoded: true, Queue: patient}} {
			t.Run(name+"/"+form, func(t *testing.T) {
				joins(t, func(t *testing.T, j *joining) {
					var at []time.Time
					j.live(70) // no run is kept
					served := poll(t, j.track, r, seconds, func() {
						for j.units[j.next%len(j.units)].KeyFrame {
							j.next++
						}
						if n := int(j.asks.Load()); n > len(at) {
							at = append(at, time.Now())
							if answers {
								j.next = 0
							}
						}
						j.now = time.Now()
						j.feed()
					})
					fewAMinute(t, at)
					want := seconds / 20
					if !r.Encoded {
						want = 1 // the decoder rests meanwhile
					}
					if answers && (len(at) < want || served < 2*len(at)) || !answers && (len(at) < 5 || served != 0) {
						t.Errorf("%d key frames were asked for, %d polls served", len(at), served)
					}
				})
			})
		}
	}
}

// The same with a simulcast track of which a small encoding is enough for a consumer who stays: polls for large pictures are served at once, with
// what there is, and the large encoding is asked for a key frame at most five times in any minute.
func TestF10_PollingALargerEncoding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		noCMemory(t)
		s := newSimulcast(t)
		s.feed(1)
		stays := s.subscribe(160)
		s.key(small)
		s.feed(1)
		synctest.Wait()
		const seconds = 130
		asked := s.asked[large].Load()
		var at []time.Time
		served := poll(t, s.track, Request{Video: &VideoFormat{}, Queue: patient}, seconds, func() {
			if n := s.asked[large].Load(); n > asked {
				asked, at = n, append(at, time.Now())
				s.key(large)
			}
			s.feed(1)
		})
		fewAMinute(t, at)
		if len(at) < seconds/20 || served < seconds {
			t.Errorf("%d key frames of the large encoding were asked for, %d polls of %d served", len(at), served, seconds)
		}
		if n := waiting(stays); n < seconds {
			t.Errorf("%d pictures for who stays", n)
		}
	})
}
