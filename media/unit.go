package media

import (
	"sync"
	"sync/atomic"
	"time"
)

// unit is an access unit of video or a packet of audio as received, complete and in order. It is reference-counted and
// read-only once it has left the assembler.
type unit struct {
	codec     CodecParameters
	data      []byte
	timestamp uint32
	time      time.Duration // on the track's time line
	span      time.Duration // since the unit before, of video
	captured  time.Time
	received  time.Time
	traits
	// gap tells that something before it is missing, so that a picture which is not a key frame cannot be trusted.
	gap      bool
	lost     Loss
	rotation int
	ext      extensions
	event    *Event // in place of media: what happened here
	smaller  bool   // the first of an encoding that has taken a larger one's place
	again    bool   // the larger one has shown this very picture
	index    uint64 // counts the units of an audio track, from 1
	refs     atomic.Int32

	// Where data lies, once it is complete; large is nil when small was enough.
	small []byte
	large *buffer
}

// traits is what a unit of video says of itself and of who refers to it. Whoever decodes less than all may leave out what is
// discardable, or every unit from some temporal layer up; it comes back into a layer with a unit that is a
// key frame or switches up.
type traits struct {
	key bool
	// temporalID is the temporal layer, 0 where the codec or the sender tells none. No unit refers to a higher layer.
	temporalID uint8
	// switchUp tells that the unit refers to no earlier one of its own layer, nor do later ones of the layer to what was before it: all
	// that it needs are units of lower layers.
	switchUp bool
	// discardable tells that no other unit refers to this one.
	discardable bool
	pictureSize
	// blank tells that the unit shows nothing: see blankAfter.
	blank bool
}

// temporalEntries follows which temporal layers may be entered. It has a bit for each whose next picture refers only to lower ones.
type temporalEntries uint8

// pass takes the next picture, of a layer, with the layers that may be entered from it on, and tells whether its own was entered with it.
func (e *temporalEntries) pass(layer, enters uint8) bool {
	own := temporalEntries(1) << layer
	*e |= temporalEntries(enters)
	entered := *e&own != 0 && layer > 0
	*e &^= own
	return entered
}

// pictureSize is what the newest headers say of the largest picture in a unit, in pixels; 0 where nothing was told.
type pictureSize struct{ width, height int }

// maxBlankSize is the side of the largest picture that stands for none. LiveKit ends a track that is muted or closed with black key frames of
// 8×8 (VP8) or 2×2 pixels (H.264), so that browsers do not show the last picture for ever.
const maxBlankSize = 8

// blankAfter tells whether a key frame's picture stands for none, coming after others that were larger.
func (s pictureSize) blankAfter(before pictureSize) bool {
	return s.width > 0 && s.width <= maxBlankSize && s.height <= maxBlankSize && (before.width > maxBlankSize || before.height > maxBlankSize)
}

// units that are free.
var units = sync.Pool{New: func() any { return new(unit) }}

// newUnit returns an empty unit with one reference.
func newUnit() *unit {
	u, _ := units.Get().(*unit)
	small := u.small
	*u = unit{small: small}
	u.refs.Store(1)
	return u
}

// hold gives the unit a copy of bytes, in memory of about their size: units are kept for seconds, and none may hold the room of the largest
// that ever was.
func (u *unit) hold(b []byte) {
	if len(b) <= 1<<minPooledBits {
		u.small = append(u.small[:0], b...)
		u.data = u.small
		return
	}
	u.large = newBuffer(len(b))
	u.data = u.large.bytes
	copy(u.data, b)
}

// assembly is memory in which units are put together, one after another.
type assembly struct{ bytes []byte }

// assemblies that are free.
var assemblies = sync.Pool{New: func() any { return new(assembly) }}

// free lets others use the memory, or what it has grown to.
func (a *assembly) free(grown []byte) {
	if cap(grown) > cap(a.bytes) {
		a.bytes = grown
	}
	assemblies.Put(a)
}

func (u *unit) retain() { u.refs.Add(1) }

// release gives a reference back; with the last the unit may serve again.
func (u *unit) release() {
	switch n := u.refs.Add(-1); {
	case n == 0:
		u.large.free()
		u.data, u.large = nil, nil
		units.Put(u)
	case n < 0:
		panic("media: unit released twice")
	}
}

// payload returns the unit's bytes as a payload that keeps the unit. The bytes are Go memory.
func (u *unit) payload() *Payload {
	u.retain()
	return newPayload(u.release, u.data)
}
