package media

import (
	"bytes"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media/internal/cmem"
)

// rests tells whether a track's decoder rests, and what waits for it.
func (j *joining) rests() (on bool, units, bytes int) {
	j.track.mu.Lock()
	defer j.track.mu.Unlock()
	v := j.track.video
	return v.resting.on, len(v.queue), v.resting.bytes
}

// TestF14_AFewPollsCostOneKeyFrame polls for a picture once a second, and then every 10 s, of a sender that makes no key frames but those that it is asked for.
// One is asked for in all; each poll gets the newest picture. Between polls nothing is decoded, and some seconds after the last no decoder is left.
func TestF14_AFewPollsCostOneKeyFrame(t *testing.T) {
	joins(t, func(t *testing.T, j *joining) {
		j.live(70) // no run is kept
		feed := func() {
			if j.units[j.next%len(j.units)].KeyFrame {
				j.next++
			}
			if j.asks.Load() == 1 && j.track.Stats().KeyFrames == 1 {
				j.next = 0
			}
			j.live(1)
		}
		polled := func() {
			t.Helper()
			c := subscribe(t, j.track, Request{Video: &VideoFormat{Pixel: JPEG}, Queue: patient})
			defer c.Close()
			for i := 0; waiting(c) == 0; i++ {
				if i > 30 {
					t.Fatal("a poll gets no picture")
				}
				synctest.Wait()
				if waiting(c) == 0 {
					feed()
				}
			}
			if got := frame(t, c); got.Time != j.track.lastTime || got.Corrupt {
				t.Errorf("got the picture at %v, the newest is at %v", got.Time, j.track.lastTime)
			}
		}
		pause := func(d time.Duration) {
			t.Helper()
			before := j.track.Stats().Decoded
			for until := time.Now().Add(d); time.Now().Before(until); {
				feed()
			}
			if n := j.track.Stats().Decoded - before; n != 0 {
				t.Errorf("%d pictures were decoded for nobody", n)
			}
		}
		for range 60 {
			polled()
			pause(time.Second)
		}
		for range 6 {
			polled()
			pause(10 * time.Second)
		}
		if s := j.track.Stats(); j.asks.Load() != 1 || s.DecodeErrors != 0 {
			t.Errorf("%d key frames were asked for: %+v", j.asks.Load(), s)
		}
		if live := cmem.Live(); len(live) == 0 {
			t.Error("no decoder rests")
		}
		pause(DefaultRest - 9*time.Second)
		synctest.Wait()
		if on, units, _ := j.rests(); on || units != 0 || len(cmem.Live()) != 0 {
			t.Errorf("%+v is left, and %d units", cmem.Live(), units)
		}
	})
}

// A picture after a rest is that of a decoder which saw all as it came, also where units to which nothing refers were left out.
func TestF14_ARestChangesNoPicture(t *testing.T) {
	for name, clip := range map[string]clips.Clip{"VP8": clips.AliceCamera(), "H.264 with discardable pictures": clips.BobCamera()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				noCMemory(t)
				var tracks [2]*Track
				var feeders [2]*feeder
				for i := range tracks {
					tracks[i] = newTestTrack(t, KindVideo)
					feeders[i] = newFeeder(t, tracks[i], clip, 7)
					if clip.Codec != clips.H264 {
						continue
					}
					feeders[i].units = nil
					for n, u := range clipUnits(t, "h264-layers.h264") {
						feeders[i].units = append(feeders[i].units, clips.Unit{Data: u, Duration: time.Second / 30, KeyFrame: n == 0})
					}
				}
				stays := subscribe(t, tracks[0], Request{Queue: patient})
				for n := range 3 * len(feeders[0].units) {
					for _, f := range feeders {
						f.now = time.Now()
						f.feed()
					}
					time.Sleep(time.Second / 30)
					_, want := newestPicture(t, stays)
					if n%7 != 3 {
						continue
					}
					c := subscribe(t, tracks[1], Request{Queue: patient})
					f, got := newestPicture(t, c)
					c.Close()
					if f == nil || f.Corrupt || !bytes.Equal(got, want) {
						t.Fatalf("unit %d: another picture, %+v", n, f)
					}
				}
				some, all := tracks[1].Stats(), tracks[0].Stats()
				if some.DecodeErrors != 0 || some.KeyFrameAsks > 1 || clip.Codec == clips.H264 && some.Decoded*4 > all.Decoded*3 {
					t.Errorf("%d of %d units were decoded: %+v", some.Decoded, all.Decoded, some)
				}
			})
		})
	}
}

// What a decoder that rests cannot go on with, or would have to keep too much for, ends the rest at once. So does the end of the track.
func TestF14_ARestIsBounded(t *testing.T) {
	for name, do := range map[string]func(t *testing.T, j *joining){
		"a gap": func(_ *testing.T, j *joining) {
			j.drop = func(int) bool { return true }
			j.feed()
			j.drop = nil
			time.Sleep(videoReorderWait)
			j.live(10)
		},
		"too many bytes": func(t *testing.T, j *joining) {
			big := clips.Unit{Data: bytes.Repeat(j.units[1].Data, 1+maxRestBytes/10/len(j.units[1].Data)), Duration: time.Second / 30}
			j.units = append(j.units[:1:1], big)
			for i := range 10 {
				if on, _, n := j.rests(); !on || n > maxRestBytes {
					t.Errorf("resting %v with %d bytes of %d pictures", on, n, i)
				}
				j.next = 1
				j.live(1)
			}
		},
		"too many units": func(_ *testing.T, j *joining) {
			for range maxRunUnits + 2 {
				j.next = 1
				j.now = time.Now()
				j.feed()
			}
		},
		"time": func(_ *testing.T, j *joining) {
			time.Sleep(DefaultRest)
		},
		"the end": func(_ *testing.T, j *joining) {
			j.track.End(EndMediaGone)
		},
	} {
		t.Run(name, func(t *testing.T) {
			joins(t, func(t *testing.T, j *joining) {
				c := subscribe(t, j.track, Request{Queue: patient})
				j.live(2)
				c.Close()
				j.live(3)
				if on, _, _ := j.rests(); !on || len(cmem.Live()) == 0 {
					t.Fatal("no decoder rests")
				}
				do(t, j)
				synctest.Wait()
				if on, units, _ := j.rests(); on || units != 0 || len(cmem.Live()) != 0 {
					t.Errorf("resting %v, with %d units; %+v is held", on, units, cmem.Live())
				}
			})
		})
	}
}

// A key frame makes what a decoder that rests has not seen superfluous.
func TestF14_AKeyFrameShortensARest(t *testing.T) {
	joins(t, func(t *testing.T, j *joining) {
		c := subscribe(t, j.track, Request{Queue: patient})
		j.live(2)
		c.Close()
		j.live(20)
		j.next = 0
		j.live(3)
		before := j.track.Stats()
		c = subscribe(t, j.track, Request{Queue: patient})
		synctest.Wait()
		s := j.track.Stats()
		if got := frame(t, c); got.Time != j.track.lastTime || s.Decoded-before.Decoded != 3 || s.UnitsSkipped != 20 || s.UnitsDropped != 0 {
			t.Errorf("the picture at %v of %v; %+v", got.Time, j.track.lastTime, s)
		}
	})
}

// What is older than 500 ms a decoder sees after its rest, and nobody else: the first picture is the next that comes, without a key frame, though one is asked for.
func TestF10_AfterARestNothingOldIsLive(t *testing.T) {
	joins(t, func(t *testing.T, j *joining) {
		first := subscribe(t, j.track, Request{Queue: patient})
		j.live(70)
		first.Close()
		j.live(10)
		time.Sleep(time.Second)
		before := j.asks.Load()
		c := subscribe(t, j.track, Request{Queue: patient})
		time.Sleep(time.Millisecond) // all is done by then
		if n, asks := waiting(c), j.asks.Load()-before; n != 0 || asks != 1 {
			t.Errorf("%d pictures are delivered, %d key frames asked for", n, asks)
		}
		if j.units[j.next%len(j.units)].KeyFrame {
			t.Fatal("the clip has its key frames elsewhere")
		}
		j.live(1)
		if got := frame(t, c); got.Time != j.track.lastTime || got.KeyFrame {
			t.Errorf("got %+v", got)
		}
	})
}

// A pool without rests closes decoders at once.
func TestF14_WithoutARest(t *testing.T) {
	noCMemory(t)
	synctest.Test(t, func(t *testing.T) {
		pool := newPool(t, 1, WithRest(-1))
		track := NewTrack(TrackConfig{Kind: KindVideo, Pool: pool, Logger: slog.New(slog.DiscardHandler)})
		t.Cleanup(func() { track.End(EndClosed) })
		f := newFeeder(t, track, clips.AliceCamera(), 7)
		c := subscribe(t, track, Request{Queue: patient})
		f.feed()
		take(t, c).Payload.Release()
		c.Close()
		synctest.Wait()
		if live := cmem.Live(); len(live) != 0 {
			t.Errorf("%+v is held", live)
		}
	})
}

// The next poll of a simulcast track goes on with the encoding that it had; one for another encoding begins with that one's key frame.
func TestF14_PollsOfASimulcastTrack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		noCMemory(t)
		s := newSimulcast(t)
		poll := func(width int) *Frame {
			t.Helper()
			c := subscribe(t, s.track, Request{Video: &VideoFormat{Width: width}, Queue: patient})
			defer c.Close()
			f, _ := newestPicture(t, c)
			for i := 0; f == nil && i < 40; i++ {
				for layer := range s.layers {
					if s.asked[layer].Swap(0) > 0 {
						s.key(layer)
					}
				}
				for _, f := range s.feeders {
					f.now = time.Now()
				}
				s.feed(1)
				time.Sleep(time.Second / 15)
				f, _ = newestPicture(t, c)
			}
			if f == nil || f.Corrupt || f.Width != width {
				t.Fatalf("a poll for %d pixels gets %+v", width, f)
			}
			return f
		}
		for i, width := range []int{160, 160, 640, 640, 160} {
			poll(width)
			want := map[int]int{160: small, 640: large}[width]
			s.chosen(want, "poll "+string(rune('0'+i)))
		}
	})
}
