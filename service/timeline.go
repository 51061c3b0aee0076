package service

import "time"

// timeline is a stream's own time, which goes on over all the media that serve it one after another. Within a media
// it follows the RTP clock; from one to the next it follows the gateway's clock.
type timeline struct {
	start  time.Time     // presentation time 0
	last   time.Duration // never goes back
	frames time.Duration // of the last frame: the next one is later
	offset time.Duration // from the media's time to the stream's, valid when placed
	placed bool
	base   uint64 // sequence number before the first frame of the media
	seq    uint64 // of the last frame
}

// next begins another media.
func (t *timeline) next() {
	t.placed = false
	t.base = t.seq
}

// frame returns the presentation time and the sequence number of a frame that the media gives its own. No two have the same time.
func (t *timeline) frame(media time.Duration, sequence uint64, received time.Time) (time.Duration, uint64) {
	if !t.placed {
		t.placed = true
		t.offset = max(received.Sub(t.start), t.last) - media
	}
	t.last = max(t.last, t.offset+media)
	if t.last == t.frames && (t.seq > 0 || t.frames > 0) { // not before the first one
		t.last++
	}
	t.frames = t.last
	t.seq = t.base + sequence
	return t.last, t.seq
}

// startAt makes the stream begin with what the media received at some time in the past, at a place of their time line.
func (t *timeline) startAt(received time.Time, media time.Duration) {
	t.start, t.offset, t.placed = received, -media, true
}

// goOn makes the stream go on where a worker is, behind what it has. The start may be of another pod's clock.
func (t *timeline) goOn(m mark, epoch uint64) {
	t.start, t.last, t.frames = m.start, m.at, m.at
	if m.epoch == epoch {
		t.seq = m.sequence
	}
}

// replayAt places what the media received at some time in the past, of a stream that goes on: behind what was sent before.
func (t *timeline) replayAt(received time.Time, media time.Duration) {
	t.offset, t.placed = max(received.Sub(t.start), t.last)-media, true
}

// skip leaves the next frame of the media out, as if it had not been made.
func (t *timeline) skip() { t.base-- }

// at returns the presentation time of something at a place of the media's time line, which may be before what was sent last.
func (t *timeline) at(media time.Duration, now time.Time) time.Duration {
	if !t.placed {
		return t.wall(now)
	}
	return max(t.offset+media, 0)
}

// event returns the presentation time of an event that the media gives its own.
func (t *timeline) event(media time.Duration, now time.Time) time.Duration {
	if !t.placed {
		return t.wall(now)
	}
	t.last = max(t.last, t.offset+media)
	return t.last
}

// wall returns the presentation time of what no media tells.
func (t *timeline) wall(now time.Time) time.Duration {
	if !t.placed {
		t.last = max(t.last, now.Sub(t.start))
	}
	return t.last
}
