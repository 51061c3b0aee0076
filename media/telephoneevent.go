package media

import (
	"encoding/binary"
	"time"
)

// telephoneKeys are the keys of RFC 4733 section 3.2 by event code. Other events (flash, tones of modems) are no keys.
const telephoneKeys = "0123456789*#ABCD"

const (
	// keySilence ends a key whose end was lost: senders repeat an event every 50 ms at the most (RFC 4733 section 2.5.1.2).
	keySilence = 200 * time.Millisecond
	// keyTimeout ends it when no packet of any kind comes after.
	keyTimeout = time.Second
	// longestKey is after how long a key is told that is still held, once.
	longestKey = 10 * time.Second
)

// longestSegment is the longest duration that a packet can tell; a longer event goes on in another segment
// (RFC 4733 section 2.5.1.3).
const longestSegment = 0xffff

// keyReader makes one event of each key that is pressed, out of the many packets that tell of it. It is used under the track's lock.
type keyReader struct {
	tell func(Key, *packet)

	open     bool
	told     bool // though it is still held
	opened   time.Time
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
		k.open, k.told, k.opened = true, false, p.received
		k.code, k.begin, k.segment, k.before, k.duration = code, timestamp, timestamp, 0, duration
	}
	k.volume = volume
	k.last = packet{timestamp: p.timestamp, codec: p.codec, received: p.received}
	switch {
	case end:
		k.finish()
	case k.last.received.Sub(k.opened) >= longestKey:
		k.say()
	}
}

// finish tells of the key under way, if there is one.
func (k *keyReader) finish() {
	if !k.open {
		return
	}
	k.open = false
	k.ended, k.endedKey, k.endedAt = true, k.code, k.segment
	k.say()
}

// sourceChanged ends what is under way: timestamps that follow mean something else.
func (k *keyReader) sourceChanged() {
	k.finish()
	k.ended = false
}

// say tells of the key under way, once.
func (k *keyReader) say() {
	if k.told {
		return
	}
	k.told = true
	k.tell(Key{Name: telephoneKeys[k.code], Volume: k.volume, Timestamp: k.begin, Ticks: k.before + uint32(k.duration)}, &k.last)
}

// expire ends a key of which nothing was heard for a while: the packets that told its end were lost.
func (k *keyReader) expire(now time.Time) {
	if k.open && now.Sub(k.last.received) >= keySilence {
		k.finish()
	}
}

// reportOnKey takes a packet about a key. Called with t.mu.
func (t *Track) reportOnKey(p *packet) {
	if !t.keys.packet(p) {
		t.stats.Unusable++
	}
	switch {
	case !t.keys.open:
	case t.keyTimer == nil:
		t.keyTimer = time.AfterFunc(keyTimeout, t.expireKey)
	default:
		t.keyTimer.Reset(keyTimeout)
	}
}

// expireKey is called when no packet has come for a while that could end a key.
func (t *Track) expireKey() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended == nil {
		t.keys.finish()
	}
}

// endKeys tells of the key under way at the end of the track, when no packet is decoded any more. Called with t.mu.
func (t *Track) endKeys() {
	if t.keyTimer != nil {
		t.keyTimer.Stop()
	}
	t.keys.tell = func(k Key, p *packet) {
		for _, c := range t.consumers {
			c.tell(t.keyEvent(k, p))
		}
	}
	t.keys.finish()
}

// keyEvent puts a key on the time line. Called with t.mu.
func (t *Track) keyEvent(k Key, p *packet) Event {
	length := ticks(int64(k.Ticks), max(p.codec.ClockRate, 1))
	at, ok := t.clock.locate(k.Timestamp, p.codec.ClockRate)
	if !ok { // on a clock of its own
		at = t.clock.reckon(p.received) - length
	}
	return Event{Kind: EventKey, Time: max(at, 0), Key: k.Name, Volume: k.Volume, Length: length}
}

// key puts a key into its place between the packets of audio. Called with t.mu.
func (t *Track) key(k Key, p *packet) {
	e := t.keyEvent(k, p)
	u := newUnit()
	u.codec, u.received, u.event = *p.codec, p.received, &e
	t.audio.add(u)
}
