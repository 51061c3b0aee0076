package media

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-media/penstock/media/internal/picture"
)

// blank is a picture without content.
type blank struct{ *picture.Image }

func newBlank(width int) blank {
	im := &picture.Image{Layout: picture.I420, Width: width, Height: width * 9 / 16}
	for i := range im.Planes {
		row, rows := im.PlaneSize(i)
		im.Planes[i], im.Strides[i] = make([]byte, row*rows), row
	}
	return blank{im}
}

func (b blank) Size() (int, int)                  { return b.Width, b.Height }
func (b blank) Download() (*picture.Image, error) { return b.Image, nil }
func (blank) Tag() int64                          { return 0 }
func (blank) Retain()                             {}
func (blank) Release()                            {}

// publisher sends pictures of one temporal layer or three, which take a decoder as long as the test says.
type publisher struct {
	t      *testing.T
	track  *Track
	layers bool
	cost   atomic.Int64 // ns for a picture of 1280×720
	width  atomic.Int32 // 1280 or 640
	small  atomic.Bool  // the sender was asked for half the size
	deaf   bool         // the sender does not heed it
	key    atomic.Bool  // a key frame was asked for
	asks   atomic.Int32

	pictures map[int]blank // by width
	n        int           // units sent

	mu     sync.Mutex
	told   []string
	frames int
	wide   int // of the last one
}

// newPublisher returns a publisher and a consumer of what it sends, who reads all.
func newPublisher(t *testing.T, pool *DecodePool, layers bool, cost time.Duration) *publisher {
	p := &publisher{t: t, layers: layers, pictures: map[int]blank{1280: newBlank(1280), 640: newBlank(640)}}
	p.cost.Store(int64(cost))
	p.width.Store(1280)
	p.track = NewTrack(TrackConfig{Kind: KindVideo, Pool: pool, Logger: slog.New(slog.DiscardHandler), RequestKeyFrame: func() {
		p.asks.Add(1)
		p.key.Store(true)
	}})
	p.track.SetParameters(ReceiveParameters{Codecs: []CodecParameters{vp8Params}})
	p.track.video.newDecoder = func(Codec, int) (videoDecoder, error) { return p, nil }
	return p
}

// Decode implements videoDecoder.
func (p *publisher) Decode(dst []picture.Picture, unit []byte, _ int64) ([]picture.Picture, error) {
	width := int(unit[len(unit)-1]) * 10
	time.Sleep(time.Duration(p.cost.Load()) * time.Duration(width*width) / (1280 * 1280))
	return append(dst, p.pictures[width]), nil
}

// Close implements videoDecoder.
func (p *publisher) Close() error { return nil }

// send sends the next picture, and if the size is to change a key frame of the other size.
func (p *publisher) send() {
	key := p.n == 0 || p.key.Swap(false)
	if half := p.small.Load() && !p.deaf; half != (p.width.Load() == 640) {
		p.width.Store(map[bool]int32{true: 640, false: 1280}[half])
		key = true
	}
	tid, up, leaf := byte(0), false, false
	if p.layers {
		tid = []byte{0, 2, 1, 2}[p.n%4]
		up, leaf = p.n%4 == 1 || tid == 1, tid == 2
	}
	if key {
		tid, up, leaf = 0, false, false
	}
	head := []byte{0x90, 0xe0, byte(p.n & 0x7f), 0, tid << 6}
	if leaf {
		head[0] |= 0x20
	}
	if up {
		head[4] |= 0x20
	}
	unit := append(head, vp8Unit(20, key, uint64(p.n))...)
	unit[len(unit)-1] = byte(p.width.Load() / 10)
	raw := []byte{0x80, 0x80 | vp8Params.PayloadType, byte(p.n >> 8), byte(p.n), 0, 0, 0, 0, 0, 0, 0, 7}
	at := uint32(p.n) * 3000
	raw[4], raw[5], raw[6], raw[7] = byte(at>>24), byte(at>>16), byte(at>>8), byte(at)
	p.track.WriteRTP(append(raw, unit...), time.Now())
	p.n++
}

// consume reads all that the track delivers to a consumer, and keeps what is told of its quality.
func (p *publisher) consume(readers *sync.WaitGroup, r Request) *Consumer {
	r.Limited = func(q QualityLimit) { p.small.Store(q.Width > 0) }
	r.Queue = patient
	c := subscribe(p.t, p.track, r)
	readers.Go(func() {
		for {
			item, err := c.Next(context.Background())
			if err != nil {
				return
			}
			p.mu.Lock()
			switch e := item.Event; {
			case e == nil:
				p.frames++
				p.wide = item.Frame.Width
				item.Frame.Payload.Release()
			case e.Kind == EventQualityLimited:
				p.told = append(p.told, limitText(e.Limit))
			}
			p.mu.Unlock()
		}
	})
	return c
}

func limitText(q QualityLimit) string {
	switch {
	case q == QualityLimit{}:
		return "free"
	case q.Suspended:
		return "suspended"
	case q.Width > 0 && q.MaxFPS > 0:
		return fmt.Sprintf("%.1f fps %d×%d", q.MaxFPS, q.Width, q.Height)
	case q.Width > 0:
		return fmt.Sprintf("%d×%d", q.Width, q.Height)
	default:
		return fmt.Sprintf("%.1f fps", q.MaxFPS)
	}
}

// news returns what was told since the last call, and how many frames came.
func (p *publisher) news() (told []string, frames int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	told, frames = p.told, p.frames
	p.told, p.frames = nil, 0
	return told, frames
}

// play lets publishers send for a while, 30 pictures a second.
func play(d time.Duration, all ...*publisher) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Second / 30) {
		for _, p := range all {
			p.send()
		}
	}
	synctest.Wait()
}

// wantNews checks what was told.
func (p *publisher) wantNews(what string, want ...string) (frames int) {
	p.t.Helper()
	told, frames := p.news()
	if !slices.Equal(told, want) {
		p.t.Errorf("%s: told %q, want %q", what, told, want)
	}
	return frames
}

// overloaded runs a scene with one worker for video, on a clock of its own.
func overloaded(t *testing.T, f func(t *testing.T, pool *DecodePool, readers *sync.WaitGroup) []*publisher) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewDecodePool(1)
		var readers sync.WaitGroup
		all := f(t, pool, &readers)
		time.Sleep(time.Minute) // what is queued is decoded
		for _, p := range all {
			p.track.End(EndClosed)
		}
		readers.Wait()
		pool.Close()
	})
}

// When decoding takes longer and longer, first pictures become fewer, layer by layer, then a smaller size is asked for; each is told. When there
// is room again all of it is given back, in the reverse order, not before the pool has kept up for a while, and no key
// frame is asked for on the way.
func TestLoadIsShedInOrder(t *testing.T) {
	overloaded(t, func(t *testing.T, pool *DecodePool, readers *sync.WaitGroup) []*publisher {
		p := newPublisher(t, pool, true, 20*time.Millisecond)
		p.consume(readers, Request{})
		play(10*time.Second, p)
		if n := p.wantNews("fits"); n < 295 {
			t.Errorf("%d pictures of 300", n)
		}
		asks := p.asks.Load()
		p.cost.Store(int64(45 * time.Millisecond))
		play(20*time.Second, p)
		if n := p.wantNews("one layer too many", "15.0 fps"); n < 295 {
			t.Errorf("%d pictures at 15 fps", n)
		}
		p.cost.Store(int64(100 * time.Millisecond))
		play(20*time.Second, p)
		p.wantNews("two layers too many", "7.5 fps")
		p.cost.Store(int64(180 * time.Millisecond))
		play(20*time.Second, p)
		p.wantNews("the base is too much", "7.5 fps 640×360")
		if s := p.track.Stats(); s.Width != 640 || s.UnitsDropped != 0 || s.UnitsSkipped == 0 {
			t.Errorf("%+v", s)
		}
		p.cost.Store(int64(5 * time.Millisecond))
		begun := time.Now()
		play(3*time.Second, p)
		p.wantNews("room again", "7.5 fps")
		play(firstHold-time.Since(begun), p)
		p.wantNews("not before the pool has kept up for a while")
		play(3*time.Second, p)
		p.wantNews("then the next", "15.0 fps")
		play(firstHold+3*time.Second, p)
		p.wantNews("more room", "free")
		play(10*time.Second, p)
		if n := p.wantNews("as before"); n < 295 || p.wide != 1280 {
			t.Errorf("%d pictures of 300, %d wide", n, p.wide)
		}
		if n := p.asks.Load(); n != asks {
			t.Errorf("%d key frames were asked for", n-asks)
		}
		return []*publisher{p}
	})
}

// Where nothing can be left out, the least important track is suspended: the one with the fewest consumers. Only when it comes back a key
// frame is asked for, one.
func TestLoadSuspendsTheLeastImportant(t *testing.T) {
	overloaded(t, func(t *testing.T, pool *DecodePool, readers *sync.WaitGroup) []*publisher {
		const cost = 12 * time.Millisecond // of 1280×720: two of three tracks fit
		few, many, more := newPublisher(t, pool, false, cost), newPublisher(t, pool, false, cost), newPublisher(t, pool, false, cost)
		all := []*publisher{few, many, more}
		for _, p := range all {
			p.deaf = true // No sender does what it is asked.
			p.consume(readers, Request{})
		}
		many.consume(readers, Request{})
		more.consume(readers, Request{})
		play(time.Second, few) // who came first is suspended all the same
		few.news()
		asks := few.asks.Load()
		play(20*time.Second, all...)
		few.wantNews("one consumer", "640×360", "suspended")
		many.wantNews("two consumers", "640×360", "640×360")
		decoded := few.track.Stats().Decoded
		play(30*time.Second, all...)
		if s := few.track.Stats(); s.Decoded != decoded || few.asks.Load() != asks {
			t.Errorf("a suspended track: %d pictures decoded, %d key frames asked for", s.Decoded-decoded, few.asks.Load()-asks)
		}
		late := subscribe(t, few.track, Request{})
		if e := event(t, late); e.Kind != EventQualityLimited || !e.Limit.Suspended {
			t.Errorf("who comes late is told %+v", e)
		}
		late.Close()
		if n := many.wantNews("meanwhile"); n < 2*895 {
			t.Errorf("%d pictures of 2 × 900", n)
		}
		for _, p := range all {
			p.cost.Store(int64(cost / 4))
		}
		play(30*time.Second, all...)
		few.wantNews("room again", "640×360", "free")
		if n := few.asks.Load() - asks; n != 1 {
			t.Errorf("%d key frames were asked for to resume, want 1", n)
		}
		few.news()
		play(10*time.Second, all...)
		if n := few.wantNews("as before"); n < 295 {
			t.Errorf("%d pictures of 300", n)
		}
		return all
	})
}
