package media

import (
	"encoding/binary"
	"time"
)

// telephoneKeys are the keys of RFC 4733 section 3.2 by event code. Other events (flash, tones of modems) are no keys.
const telephoneKeys = "0123456789*#ABCD"

// keySilence ends a key whose end was lost: senders repeat an event every 50 ms at the most (RFC 4733 section 2.5.1.2).
const keySilence = 200 * time.Millisecond

// longestSegment is the longest duration that a packet can tell; a longer event goes on in another segment
// (RFC 4733 section 2.5.1.3).
const longestSegment = 0xffff

// keyReader makes one event of each key that is pressed, out of the many packets that tell of it. It is used under the track's lock.
type keyReader struct {
	tell func(Key, *packet)

	open     bool
	code     uint8
	volume   uint8
	begin    uint32 // timestamp of the first segment
	segment  uint32 // timestamp of the segment under way
	before   uint32 // ticks of the segments before
	duration uint16 // of the segment under way
	last     packet // of it: what tell needs when no further one comes

	ended    bool // a key was told
	endedKey uint8
	endedAt  uint32 // its last segment
}

// Key is a telephone key that was pressed (RFC 4733).
type Key struct {
	Name      byte   // 0 to 9, *, #, A to D
	Volume    uint8  // 0 to 63, in -dBm0
	Timestamp uint32 // RTP, of its beginning
	Ticks     uint32 // how long, on the clock of its payload type
}

// packet takes a packet, in order. false when it is malformed.
func (k *keyReader) packet(p *packet) bool {
	timestamp, payload := p.timestamp, p.payload
	if len(payload) < 4 {
		return false
	}
	for ; len(payload) >= 4; payload = payload[4:] {
		end, volume, duration := payload[1]&0x80 != 0, payload[1]&0x3f, binary.BigEndian.Uint16(payload[2:])
		k.event(p, timestamp, payload[0], volume, duration, end)
		timestamp += uint32(duration) // several events in one packet follow each other (section 2.5.1.5)
	}
	return true
}

// event takes one report on an event.
func (k *keyReader) event(p *packet, timestamp uint32, code, volume uint8, duration uint16, end bool) {
	if int(code) >= len(telephoneKeys) || k.ended && code == k.endedKey && timestamp == k.endedAt {
		return // its end is told three times
	}
	switch {
	case k.open && code == k.code && timestamp == k.segment:
		k.duration = max(k.duration, duration)
	case k.open && code == k.code && k.duration == longestSegment && timestamp == k.segment+longestSegment:
		k.before += longestSegment
		k.segment, k.duration = timestamp, duration
	case k.open && int32(timestamp-k.segment) <= 0: //nolint:gosec // the wrap is wanted
		return // of an event before
	default:
		k.finish()
		k.open, k.code, k.begin, k.segment, k.before, k.duration = true, code, timestamp, timestamp, 0, duration
	}
	k.volume = volume
	k.last = packet{timestamp: p.timestamp, codec: p.codec, received: p.received}
	if end {
		k.finish()
	}
}

// finish tells of the key under way, if there is one.
func (k *keyReader) finish() {
	if !k.open {
		return
	}
	k.open = false
	k.ended, k.endedKey, k.endedAt = true, k.code, k.segment
	k.tell(Key{Name: telephoneKeys[k.code], Volume: k.volume, Timestamp: k.begin, Ticks: k.before + uint32(k.duration)}, &k.last)
}

// expire ends a key of which nothing was heard for a while: the packets that told its end were lost.
func (k *keyReader) expire(now time.Time) {
	if k.open && now.Sub(k.last.received) >= keySilence {
		k.finish()
	}
}

// key puts a key into its place between the packets of audio. Called with t.mu.
func (t *Track) key(k Key, p *packet) {
	length := ticks(int64(k.Ticks), max(p.codec.ClockRate, 1))
	at, ok := t.clock.locate(k.Timestamp, p.codec.ClockRate)
	if !ok { // on a clock of its own
		at = t.clock.reckon(p.received) - length
	}
	u := newUnit()
	u.codec, u.received = *p.codec, p.received
	u.event = &Event{Kind: EventKey, Time: max(at, 0), Key: k.Name, Volume: k.Volume, Length: length}
	t.audio.add(u)
}
