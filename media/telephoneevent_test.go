package media

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"
)

var (
	keysAt8k  = CodecParameters{Codec: CodecTelephoneEvent, PayloadType: 126, ClockRate: 8000, Fmtp: "0-16"}
	keysAt48k = CodecParameters{Codec: CodecTelephoneEvent, PayloadType: 110, ClockRate: 48000, Fmtp: "0-16"}
)

// press sends a key as RFC 4733 section 2.5.1 has it: its beginning and each 20 ms how long it is by now, in packets with the timestamp of the
// beginning; the end three times. lost tells which of the packets the network loses.
func press(s *speaker, keys CodecParameters, code, volume byte, length time.Duration, lost func(i int) bool) {
	speech, begin := s.head.PayloadType, s.head.Timestamp
	rate := time.Duration(keys.ClockRate)
	n := int(length / (20 * time.Millisecond))
	for i := 1; i <= n+2; i++ {
		at := min(i, n)
		payload := []byte{code, volume, 0, 0}
		if i >= n {
			payload[1] |= 0x80
		}
		binary.BigEndian.PutUint16(payload[2:], uint16(rate*20*time.Duration(at)/1000))
		s.head.PayloadType, s.head.Timestamp = keys.PayloadType, begin
		arrives := s.now
		raw := s.packet(payload, 0, 20*time.Millisecond)
		if lost == nil || !lost(i) {
			s.track.WriteRTP(raw, arrives)
		}
	}
	s.head.PayloadType = speech
	s.head.Timestamp = begin + uint32(n+2)*960
}

// TestF21_KeysAreEventsAndDisturbNothing presses keys between speech, on the clock of Opus and on one of their own. Each is one event in its place, for
// decoded and encoded consumers, and the speech before and after lies where it belongs, with nothing lost.
func TestF21_KeysAreEventsAndDisturbNothing(t *testing.T) {
	for name, keys := range map[string]CodecParameters{"48 kHz": keysAt48k, "8 kHz": keysAt8k} {
		t.Run(name, func(t *testing.T) {
			noCMemory(t)
			track := newTestTrack(t, KindAudio)
			decoded := subscribe(t, track, Request{Audio: &AudioFormat{Rate: 16000}, Queue: patient})
			received := subscribe(t, track, Request{Encoded: true, Queue: patient})
			s := newSpeaker(t, track, opusParams, keysAt48k, keysAt8k)
			s.now = s.now.Add(-time.Hour)
			packets := clipUnits(t, "opus-mono.ogg")
			talk := func(from, to int) {
				for _, p := range packets[from:to] {
					s.say(p, 960, 20*time.Millisecond)
				}
			}
			talk(0, 10)
			press(s, keys, 5, 10, 160*time.Millisecond, nil)
			talk(10, 20)
			press(s, keys, 11, 63, 100*time.Millisecond, func(i int) bool { return i == 3 || i == 5 || i == 6 })
			talk(20, 30)
			for _, c := range []*Consumer{decoded, received} {
				frames, events := heard(t, c)
				for i, want := range []Event{
					{Kind: EventKey, Time: 200 * time.Millisecond, Key: '5', Volume: 10, Length: 160 * time.Millisecond},
					{Kind: EventKey, Time: 600 * time.Millisecond, Key: '#', Volume: 63, Length: 100 * time.Millisecond},
				} {
					if i >= len(events) {
						t.Fatalf("%d events", len(events))
					}
					got := *events[i]
					if keys.ClockRate == 8000 && (got.Time-want.Time).Abs() <= 60*time.Millisecond { // by its arrival
						got.Time = want.Time
					}
					if got != want {
						t.Errorf("event %d is %+v, want %+v", i, got, want)
					}
				}
				if len(events) != 2 {
					t.Errorf("%d events, want 2", len(events))
				}
				talking := 0
				for i, f := range frames {
					if f.Concealed || f.Lost.Frames > 0 {
						t.Errorf("the frame at %v: concealed %v, %d lost", f.Time, f.Concealed, f.Lost.Frames)
					}
					if c == received && f.Payload.Len() != len(packets[i]) {
						t.Errorf("packet %d is not what was said", i)
					}
					if !f.Silent {
						talking++
					}
				}
				if want := 30; c == received && len(frames) != want || talking < want {
					t.Errorf("%d frames, %d of them sound, want %d", len(frames), talking, want)
				}
				if last := frames[len(frames)-1]; last.Time != 920*time.Millisecond {
					t.Errorf("the last frame lies at %v", last.Time)
				}
			}
			if s := track.Stats(); s.Codec.Codec != CodecOpus || s.Unusable != 0 || s.DecodeErrors != 0 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// keysOf returns what a reader makes of packets.
func keysOf(packets ...packet) []Key {
	var out []Key
	k := keyReader{tell: func(key Key, _ *packet) { out = append(out, key) }}
	for i := range packets {
		k.expire(packets[i].received)
		k.packet(&packets[i])
	}
	k.expire(time.Unix(1000, 0))
	return out
}

func TestF21_KeyReports(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(0, int64(ms)*1e6) }
	one := func(timestamp uint32, ms int, reports ...byte) packet {
		return packet{timestamp: timestamp, payload: reports, received: at(ms), codec: &keysAt8k}
	}
	for name, c := range map[string]struct {
		packets []packet
		want    []Key
	}{
		"end three times": {[]packet{one(80, 0, 1, 10, 0, 160), one(80, 20, 1, 0x80|10, 1, 64), one(80, 20, 1, 0x80|10, 1, 64), one(80, 20, 1, 0x80|10, 1, 64)}, []Key{{'1', 10, 80, 320}}},
		"end lost, another key follows": {[]packet{one(80, 0, 1, 10, 1, 64), one(4000, 400, 2, 0x80|9, 0, 160)},
			[]Key{{'1', 10, 80, 320}, {'2', 9, 4000, 160}}},
		"end lost, nothing follows":      {[]packet{one(80, 0, 12, 63, 1, 64)}, []Key{{'A', 63, 80, 320}}},
		"the same key twice":             {[]packet{one(80, 0, 15, 0x80, 0, 160), one(800, 90, 15, 0x80, 0, 160)}, []Key{{'D', 0, 80, 160}, {'D', 0, 800, 160}}},
		"the same key twice, ends lost":  {[]packet{one(80, 0, 10, 0, 0, 160), one(800, 90, 10, 0, 0, 160)}, []Key{{'*', 0, 80, 160}, {'*', 0, 800, 160}}},
		"a segment after the longest":    {[]packet{one(80, 0, 3, 0, 0xff, 0xff), one(80+0xffff, 20, 3, 0, 0, 160), one(80+0xffff, 40, 3, 0x80, 1, 64)}, []Key{{'3', 0, 80, 0xffff + 320}}},
		"over the wrap":                  {[]packet{one(1<<32-80, 0, 3, 0, 0, 160), one(1<<32-80, 20, 3, 0x80, 1, 64)}, []Key{{'3', 0, 1<<32 - 80, 320}}},
		"several in one packet":          {[]packet{one(80, 0, 1, 0x80, 0, 160, 2, 0x80, 0, 240)}, []Key{{'1', 0, 80, 160}, {'2', 0, 240, 240}}},
		"an older report comes late":     {[]packet{one(800, 0, 2, 5, 0, 160), one(80, 0, 1, 5, 0, 160), one(800, 20, 2, 0x80|5, 1, 64)}, []Key{{'2', 5, 800, 320}}},
		"flash, modem tones, a fragment": {[]packet{one(80, 0, 16, 0x80, 0, 160), one(800, 0, 70, 0x80, 0, 160), one(900, 0, 1, 0x80, 0)}, nil},
	} {
		if got := keysOf(c.packets...); !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func FuzzTelephoneEvent(f *testing.F) {
	f.Add([]byte{1, 10, 0, 160, 1, 0x80 | 10, 1, 64}, uint32(80), uint32(80))
	f.Add([]byte{3, 0, 0xff, 0xff, 3, 0x80, 0, 1}, uint32(80), uint32(80+0xffff))
	f.Fuzz(func(t *testing.T, payload []byte, first, second uint32) {
		keys := keysOf(packet{timestamp: first, payload: payload, codec: &keysAt8k}, packet{timestamp: second, payload: payload, codec: &keysAt8k},
			packet{timestamp: first, payload: payload, codec: &keysAt8k})
		for _, k := range keys {
			if k.Volume > 63 || k.Name == 0 {
				t.Fatalf("%+v", k)
			}
		}
		if len(keys) > 3*(len(payload)/4) {
			t.Fatalf("%d keys out of %d bytes", len(keys), len(payload))
		}
	})
}
