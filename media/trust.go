package media

import (
	"fmt"
	"time"
)

// undecodableAfter is how many key frames must fail, with no run of good units between, before consumers are told.
const undecodableAfter = 3

// provenAfter is how many units in a row must be decoded before a failure is forgotten. What is encrypted end to end is not always
// noise that a decoder refuses: VP8's takes one key frame in three for a picture.
const provenAfter = 10

// trust follows whether what comes can be decoded at all.
type trust struct {
	failures int // key frames
	good     int // units in a row
	// Of the last key frame that failed.
	reason string
	codec  Codec
	at     time.Duration
}

// undecodable tells whether nothing is believed until a run of good units comes.
func (t *trust) undecodable() bool { return t.failures >= undecodableAfter }

// judge draws the conclusions of a decode, and tells whether its pictures are to be shown. Whatever is assembled is complete, so
// that a unit without a whole picture is at fault itself.
func (v *videoPath) judge(u *unit, err error, consumers []*Consumer) bool {
	if err == nil {
		err = v.wholePictures(u)
	}
	if err == nil {
		v.decoded.Add(1)
		if v.trust.good++; v.trust.good >= provenAfter || v.trust.failures == 0 {
			v.believe(u, consumers)
		}
		return !v.trust.undecodable()
	}
	v.errs.Add(1)
	v.t.faults.note("decode", err)
	// It may hold back what it made of the fault, and keep sizes and tables of it: what follows begins with another one.
	v.closeDecoder()
	v.trust.good = 0
	if u.key {
		v.trust.failures++
		v.trust.reason, v.trust.codec, v.trust.at = err.Error(), u.codec.Codec, u.time
	}
	v.t.keyFrames.failed()
	v.t.keyFrames.want()
	for _, c := range consumers {
		v.tellUndecodable(c)
	}
	return !u.key && !v.trust.undecodable()
}

// believe forgets the failures.
func (v *videoPath) believe(u *unit, consumers []*Consumer) {
	if v.trust.failures > 0 {
		for _, c := range consumers {
			c.toldUndecodable = false
		}
	}
	if u.key || v.trust.failures > 0 {
		v.t.keyFrames.proved()
	}
	v.trust = trust{good: v.trust.good}
}

// tellUndecodable tells a consumer of pictures, once, if nothing can be decoded.
func (v *videoPath) tellUndecodable(c *Consumer) {
	if !v.trust.undecodable() || c.req.Video == nil || c.toldUndecodable {
		return
	}
	c.toldUndecodable = true
	c.tell(Event{Kind: EventUndecodable, Time: v.trust.at, Codec: v.trust.codec, Reason: v.trust.reason})
}

// wholePictures says what is wrong with the pictures of a unit. H.264 and H.265 may hold some back, to put pictures into order.
func (v *videoPath) wholePictures(u *unit) error {
	if c := u.codec.Codec; u.key && len(v.pictures) == 0 && c != CodecH264 && c != CodecH265 {
		return fmt.Errorf("%w: a key frame without a picture", ErrCorrupt)
	}
	for _, p := range v.pictures {
		if im, err := p.Download(); err != nil || im.Corrupt {
			return fmt.Errorf("%w: a damaged picture", ErrCorrupt)
		}
	}
	return nil
}
