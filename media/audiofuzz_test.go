package media

import (
	"log/slog"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// FuzzG722 decodes any packet of G.722, and what may follow it.
func FuzzG722(f *testing.F) {
	f.Add(clipUnits(f, "g722.g722")[0])
	f.Add([]byte{0})
	f.Add(make([]byte, 1601))
	f.Fuzz(func(t *testing.T, packet []byte) {
		d, err := newAudioDecoder(g722Params, 16000, 1)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		out, err := d.Decode(nil, packet)
		switch {
		case err != nil && len(out) > 0, err == nil && len(out) != 2*len(packet), err == nil && len(packet) > 1600:
			t.Fatalf("%d bytes: %d samples, %v", len(packet), len(out), err)
		}
		if out, err = d.Conceal(nil, 320); err != nil || len(out) != 320 {
			t.Fatalf("concealed %d samples, %v", len(out), err)
		}
	})
}

// FuzzOpusPath decodes any packet of Opus after a real one, recovers what was lost before it, and makes up for what follows.
func FuzzOpusPath(f *testing.F) {
	good := clipUnits(f, "opus-fec.ogg")
	f.Add(good[1], uint16(320))
	f.Add([]byte{0x1b, 0x3f}, uint16(1))
	f.Add([]byte{0xff, 0xff, 0xfe}, uint16(5760))
	f.Fuzz(func(t *testing.T, packet []byte, samples uint16) {
		d, err := newAudioDecoder(opusParams, 16000, 2)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		n := int(samples) % 2000
		if _, err := d.Decode(nil, good[0]); err != nil {
			t.Fatal(err)
		}
		if out, _, err := d.Recover(nil, packet, n); err == nil && len(out) != 2*n {
			t.Fatalf("recovered %d samples of %d", len(out)/2, n)
		}
		if out, err := d.Decode(nil, packet); err == nil && (len(out) == 0 || len(out) > 2*1920) {
			t.Fatalf("%d samples", len(out)/2)
		}
		if out, err := d.Conceal(nil, n); err != nil || len(out) != 2*n {
			t.Fatalf("concealed %d samples of %d, %v", len(out)/2, n, err)
		}
		if n := packetSamples(opusParams, packet); n < 0 || n > 5760 {
			t.Fatalf("a packet of %d samples", n)
		}
	})
}

// FuzzAudioTrack writes what it is given, cut into packets whose first bytes choose payload type, numbers and time, into a track with consumers of every
// kind: nothing panics, and no frame goes back.
func FuzzAudioTrack(f *testing.F) {
	types := []CodecParameters{opusParams, redParams, {Codec: CodecRED, PayloadType: 64, ClockRate: 8000}, cnParams, keysAt48k, keysAt8k, g722Params, pcmuParams, pcmaParams}
	opus := clipUnits(f, "opus-mono.ogg")[0]
	f.Add(append([]byte{0, 1, 1, 1}, opus...), uint8(len(opus)+4))
	f.Add([]byte{3, 1, 0, 1, 5, 0x8a, 1, 64, 3, 1, 0, 1, 5, 0x8a, 1, 64, 2, 1, 5, 9, 40, 1, 2, 3}, uint8(8))
	f.Add(append([]byte{1, 3, 3, 1}, redPayload(block{111, 0, opus}, block{111, 960, opus}, block{63, 1920, []byte{111, 1}})...), uint8(200))
	pool := NewDecodePool(1)
	f.Cleanup(pool.Close)
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		track := NewTrack(TrackConfig{Kind: KindAudio, Pool: pool, Logger: slog.New(slog.DiscardHandler)})
		defer track.End(EndClosed)
		track.SetParameters(ReceiveParameters{Codecs: types})
		consumers := []*Consumer{
			subscribeTo(t, track, Request{Audio: &AudioFormat{Rate: 8000, Chunk: 10 * time.Millisecond}, Queue: patient}),
			subscribeTo(t, track, Request{Encoded: true, Queue: patient}),
		}
		now, head := time.Now().Add(-time.Hour), rtp.Header{Version: 2, SSRC: 7}
		for n := 0; len(data) > 4 && n < 64; n++ {
			cut := min(max(int(size), 5), len(data))
			packet := data[:cut]
			data = data[cut:]
			head.PayloadType = types[int(packet[0])%len(types)].PayloadType
			head.SequenceNumber += uint16(int8(packet[1]))
			head.Timestamp += uint32(int32(int8(packet[2])) * 480)
			now = now.Add(time.Duration(packet[3]) * time.Millisecond)
			raw, err := (&rtp.Packet{Header: head, Payload: packet[4:]}).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			track.WriteRTP(raw, now)
		}
		consumers = append(consumers, subscribeTo(t, track, Request{Audio: &AudioFormat{Rate: 44100}, Queue: patient, Replay: MaxReplay}))
		settle(track)
		for _, c := range consumers {
			var last time.Duration
			for {
				item, ok, _ := c.take()
				if !ok {
					break
				}
				if f := item.Frame; f != nil {
					if f.Time < last || f.Samples < 0 || f.Payload.Len() == 0 {
						t.Fatalf("a frame at %v follows one at %v: %+v", f.Time, last, f)
					}
					last = max(last, f.Time)
					f.Payload.Release()
				}
			}
			c.Close()
		}
	})
}

// subscribeTo subscribes; the caller closes.
func subscribeTo(t *testing.T, track *Track, r Request) *Consumer {
	t.Helper()
	c, err := track.Subscribe(r)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
