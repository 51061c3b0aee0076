package media

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-media/penstock/media/internal/picture"
)

// slowDecoder takes a time for each picture, the longer the larger it is.
type slowDecoder struct {
	videoDecoder
	cost *atomic.Int64 // ns for a picture of 640×360
}

func (d slowDecoder) Decode(dst []picture.Picture, unit []byte, tag int64) ([]picture.Picture, error) {
	dst, err := d.videoDecoder.Decode(dst, unit, tag)
	for _, p := range dst {
		w, h := p.Size()
		time.Sleep(time.Duration(d.cost.Load()) * time.Duration(w*h) / (640 * 360))
	}
	return dst, err
}

// Of a simulcast track that takes too long to decode the smaller encoding is taken, with a key frame, though its consumer wants the larger one and the
// sender heeds nothing. When there is room again the larger one takes its place.
func TestLoadTakesTheSmallerEncoding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		noCMemory(t)
		pool := newPool(t, 1)
		track := NewTrack(TrackConfig{Kind: KindVideo, Pool: pool, Logger: slog.New(slog.DiscardHandler)})
		t.Cleanup(func() { track.End(EndClosed) })
		s := newSimulcastOf(t, track)
		cost := new(atomic.Int64)
		cost.Store(int64(10 * time.Millisecond))
		track.video.newDecoder = func(codec Codec, maxPixels int) (videoDecoder, error) {
			d, err := newVideoDecoder(codec, maxPixels)
			return slowDecoder{d, cost}, err
		}
		c := s.subscribe(640)
		var told []string
		wide := 640
		play := func(d time.Duration) {
			t.Helper()
			told = nil
			for until := time.Now().Add(d); time.Now().Before(until); {
				for i, f := range s.feeders {
					if f.now = time.Now(); s.asked[i].Swap(0) > 0 {
						s.key(i)
					}
				}
				s.feed(1)
				time.Sleep(time.Second / 15)
				for waiting(c) > 0 {
					item, err := next(t, c)
					if err != nil {
						t.Fatal(err)
					}
					if e := item.Event; e != nil && e.Kind == EventQualityLimited {
						told = append(told, limitText(e.Limit))
					}
					if f := item.Frame; f != nil {
						// The key frame of the smaller one is left out where the larger one has shown that picture.
						if f.Width > wide && !f.KeyFrame || f.Corrupt {
							t.Errorf("from %d to %d pixels without a key frame", wide, f.Width)
						}
						wide = f.Width
						f.Payload.Release()
					}
				}
			}
		}
		want := func(when string, layer, width int, news ...string) {
			t.Helper()
			s.chosen(layer, when)
			if wide != width || len(told) != len(news) || len(news) == 1 && told[0] != news[0] {
				t.Errorf("%s: %d pixels wide, told %q; want %d, %q", when, wide, told, width, news)
			}
		}
		play(5 * time.Second)
		want("it fits", large, 640)
		cost.Store(int64(90 * time.Millisecond)) // of 66
		play(20 * time.Second)
		want("too long", middle, 320, "320×180")
		if st := track.Stats(); st.DecodeErrors != 0 {
			t.Errorf("%+v", st)
		}
		play(30 * time.Second)
		want("too long for more", middle, 320)
		cost.Store(int64(10 * time.Millisecond))
		play(20 * time.Second)
		want("room again", large, 640, "free")
		c.Close()
	})
}
