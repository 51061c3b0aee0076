package media

import (
	"sync"
	"sync/atomic"
	"time"
)

// Totals is what all tracks of a pool did since it was made, those that have ended among them, and what their consumers hold now.
type Totals struct {
	Audio, Video TrackTotals
	Decoded      map[Codec]DecodeTotals // by codec; all that can be decoded
	Consumers    ConsumerTotals
}

// TrackTotals sums up the counters of tracks.
type TrackTotals struct {
	Tracks                          int // that have not ended
	Packets, Bytes                  uint64
	Lost, Late, Duplicate           uint64
	Restored, Filler, Unusable      uint64
	Units, UnitsDropped             uint64
	UnitsSkipped                    uint64
	Decoded, DecodeErrors           uint64
	Converted                       uint64
	KeyFrames, KeyFrameAsks, Frames uint64 // Frames were made for consumers
}

// DecodeTotals is what decoding took. Of audio each distinct rate and channel count is decoded by itself.
type DecodeTotals struct {
	Units uint64
	Time  time.Duration // by the wall clock
}

// ConsumerTotals is what consumers hold now and did not get.
type ConsumerTotals struct {
	Encoded int                  // attached now
	Audio   map[SampleFormat]int // attached now
	Video   map[PixelFormat]int  // attached now

	QueuedFrames int
	QueuedBytes  int64
	LongestBytes int64 // the queue that holds most

	DroppedQueueFull     uint64 // frames, since a consumer's own queue was full
	DroppedAllQueuesFull uint64 // since all together were
	DroppedStalled       uint64 // since the consumer was ended for it
}

// Totals looks at every track and every consumer, one after another, and holds none of them up for longer than that takes. What it counts never grows less. It is safe for
// concurrent use.
func (p *DecodePool) Totals() Totals {
	out := Totals{Decoded: make(map[Codec]DecodeTotals)}
	live, ended := p.tracks.list()
	out.Audio, out.Video = ended[KindAudio], ended[KindVideo]
	for _, t := range live { // One that has ended meanwhile still tells all that it did.
		to := &out.Video
		if t.cfg.Kind == KindAudio {
			to = &out.Audio
		}
		to.Tracks++
		to.add(t.Stats())
	}
	var frames [KindVideo + 1]uint64
	out.Consumers, frames = p.queues.totals()
	out.Audio.Frames, out.Video.Frames = frames[KindAudio], frames[KindVideo]
	for c := range codecNames {
		if d := &p.decodes[c]; Decodable(Codec(c)) {
			out.Decoded[Codec(c)] = DecodeTotals{Units: d.units.Load(), Time: time.Duration(d.time.Load())}
		}
	}
	return out
}

// add adds a track's counters.
func (t *TrackTotals) add(s TrackStats) {
	t.Packets, t.Bytes = t.Packets+s.Packets, t.Bytes+s.Bytes
	t.Lost, t.Late, t.Duplicate = t.Lost+s.Lost, t.Late+s.Late, t.Duplicate+s.Duplicate
	t.Restored, t.Filler, t.Unusable = t.Restored+s.Restored, t.Filler+s.Filler, t.Unusable+s.Unusable
	t.Units, t.UnitsDropped, t.UnitsSkipped = t.Units+s.Units, t.UnitsDropped+s.UnitsDropped, t.UnitsSkipped+s.UnitsSkipped
	t.Decoded, t.DecodeErrors, t.Converted = t.Decoded+s.Decoded, t.DecodeErrors+s.DecodeErrors, t.Converted+s.Converted
	t.KeyFrames, t.KeyFrameAsks = t.KeyFrames+s.KeyFrames, t.KeyFrameAsks+s.KeyFrameAsks
}

// trackList is the tracks of a pool, and the sum of those that have ended.
type trackList struct {
	mu    sync.Mutex // before any track's
	live  map[*Track]struct{}
	ended [KindVideo + 1]TrackTotals
}

func (l *trackList) add(t *Track) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.live == nil {
		l.live = make(map[*Track]struct{})
	}
	l.live[t] = struct{}{}
}

// remove takes a track out that has ended and counts no more.
func (l *trackList) remove(t *Track) {
	s := t.Stats()
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.live[t]; ok {
		delete(l.live, t)
		l.ended[t.cfg.Kind].add(s)
	}
}

// list returns the tracks that have not ended, and the sums of the others at that moment.
func (l *trackList) list() ([]*Track, [KindVideo + 1]TrackTotals) {
	l.mu.Lock()
	defer l.mu.Unlock()
	live := make([]*Track, 0, len(l.live))
	for t := range l.live {
		live = append(live, t)
	}
	return live, l.ended
}

// decodes counts what decoding one codec took.
type decodes struct{ units, time atomic.Uint64 }

// decoded notes how long it took to decode a unit and hand it out.
func (p *DecodePool) decoded(c Codec, since time.Time) {
	if int(c) < len(p.decodes) {
		p.decodes[c].units.Add(1)
		p.decodes[c].time.Add(uint64(max(time.Since(since), 0)))
	}
}

// gaveUp counts the frames that a consumer did not get, by the reason.
type gaveUp struct{ queueFull, allQueuesFull, stalled uint64 }

func (g *gaveUp) add(o gaveUp) {
	g.queueFull += o.queueFull
	g.allQueuesFull += o.allQueuesFull
	g.stalled += o.stalled
}

// totals returns what consumers hold, and how many frames were made for them by the kind of media.
func (b *queueBudget) totals() (out ConsumerTotals, frames [KindVideo + 1]uint64) {
	out.Audio, out.Video = make(map[SampleFormat]int), make(map[PixelFormat]int)
	b.mu.Lock()
	members := make([]*Consumer, 0, len(b.members))
	for c := range b.members {
		members = append(members, c)
	}
	frames, lost := b.frames, b.lost
	b.mu.Unlock()
	for _, c := range members {
		switch {
		case c.req.Audio != nil:
			out.Audio[c.req.Audio.Sample]++
		case c.req.Video != nil:
			out.Video[c.req.Video.Pixel]++
		default:
			out.Encoded++
		}
		queued, held, made, gave := c.account()
		out.QueuedFrames += queued
		out.QueuedBytes += held
		out.LongestBytes = max(out.LongestBytes, held)
		frames[c.track.cfg.Kind] += made
		lost.add(gave)
	}
	out.DroppedQueueFull, out.DroppedAllQueuesFull, out.DroppedStalled = lost.queueFull, lost.allQueuesFull, lost.stalled
	return out, frames
}

// account tells what waits in the queue, how many frames were ever made and how many were given up.
func (c *Consumer) account() (queued int, held int64, made uint64, gave gaveUp) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue) - c.head - c.events, c.held.Load(), c.seq, c.gave
}
