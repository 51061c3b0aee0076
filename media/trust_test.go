package media

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// unitSender sends units of video to a track as packets of one source.
type unitSender struct {
	t         testing.TB
	track     *Track
	params    CodecParameters
	payloader rtp.Payloader
	seq       uint16
	timestamp uint32
}

// payloaderOf returns pion's packetizer of a codec.
func payloaderOf(c Codec) rtp.Payloader {
	switch c {
	case CodecVP8:
		return &codecs.VP8Payloader{EnablePictureID: true}
	case CodecVP9:
		return &codecs.VP9Payloader{}
	case CodecH264:
		return &codecs.H264Payloader{}
	case CodecH265:
		return &codecs.H265Payloader{}
	default:
		return &codecs.AV1Payloader{}
	}
}

// send sends a unit as it is packetized, a thirtieth of a second after the one before.
func (s *unitSender) send(unit []byte) { s.payloads(s.payloader.Payload(1100, unit)...) }

// payloads sends the payloads of one picture.
func (s *unitSender) payloads(all ...[]byte) {
	s.timestamp += s.params.ClockRate / 30
	for i, payload := range all {
		s.packet(rtp.Header{Timestamp: s.timestamp, Marker: i == len(all)-1}, payload, 0)
	}
}

// packet sends a packet with padding.
func (s *unitSender) packet(h rtp.Header, payload []byte, padding byte) {
	s.t.Helper()
	h.Version, h.PayloadType, h.SSRC, h.SequenceNumber = 2, s.params.PayloadType, 7, s.seq
	h.Padding = padding > 0
	s.seq++
	raw, err := (&rtp.Packet{Header: h, Payload: payload, PaddingSize: padding}).Marshal()
	if err != nil {
		s.t.Fatal(err)
	}
	s.track.WriteRTP(raw, time.Now())
}

// noise replaces what comes after the first bytes, as end-to-end encryption does.
func noise(rnd *rand.Rand, unit []byte, plain int) []byte {
	out := append([]byte(nil), unit...)
	for i := plain; i < len(out); i++ {
		out[i] = byte(1 + rnd.IntN(255)) // no start codes
	}
	return out
}

// encryption is how a codec's units look when they are encrypted end to end.
type encryption struct {
	codec Codec
	clip  string
	send  func(s *unitSender, rnd *rand.Rand, unit []byte, key bool)
}

func encryptions() []encryption {
	return []encryption{
		{CodecVP8, "vp8.ivf", func(s *unitSender, rnd *rand.Rand, unit []byte, key bool) {
			plain := 3 // what an SFU must read
			if key {
				plain = 10
			}
			s.send(noise(rnd, unit, plain))
		}},
		{CodecVP9, "vp9.ivf", func(s *unitSender, rnd *rand.Rand, unit []byte, key bool) {
			descriptor := byte(0x0c)
			if !key {
				descriptor |= 0x40
			}
			s.payloads(append([]byte{descriptor}, noise(rnd, unit[:min(len(unit), 1000)], 0)...))
		}},
		{CodecH264, "h264-baseline.h264", func(s *unitSender, rnd *rand.Rand, unit []byte, _ bool) {
			nals := annexBNALs(unit)
			last := len(nals) - 1
			nals[last] = noise(rnd, nals[last], 2)
			s.send(annexB(nals...))
		}},
		{CodecH265, "h265.h265", func(s *unitSender, rnd *rand.Rand, unit []byte, _ bool) {
			nals := annexBNALs(unit)
			last := len(nals) - 1
			nals[last] = noise(rnd, nals[last], 2)
			s.send(annexB(nals...))
		}},
		{CodecAV1, "av1.ivf", func(s *unitSender, rnd *rand.Rand, unit []byte, key bool) {
			head := byte(0x10)
			if key {
				head |= 0x08
			}
			s.payloads(append([]byte{head}, noise(rnd, unit[:min(len(unit), 1000)], 0)...))
		}},
	}
}

// A publisher that answers each request with a key frame, and sends one every two seconds besides, for three minutes.
func TestF18_WhatCannotBeDecodedIsToldAndAskedForEverLess(t *testing.T) {
	for _, e := range encryptions() {
		for seed := range uint64(3) {
			t.Run(fmt.Sprint(e.codec, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testUndecodable(t, e, seed) })
			})
		}
	}
}

func testUndecodable(t *testing.T, e encryption, seed uint64) {
	noCMemory(t)
	pool := newPool(t, 1)
	var mu sync.Mutex
	var asks []time.Time
	wanted := false
	track := NewTrack(TrackConfig{Kind: KindVideo, Pool: pool, Logger: slog.New(slog.DiscardHandler), RequestKeyFrame: func() {
		mu.Lock()
		defer mu.Unlock()
		asks, wanted = append(asks, time.Now()), true
	}})
	t.Cleanup(func() { track.End(EndClosed) })
	params := CodecParameters{Codec: e.codec, PayloadType: 96, ClockRate: 90000}
	track.SetParameters(ReceiveParameters{Codecs: []CodecParameters{params}})
	s := &unitSender{t: t, track: track, params: params, payloader: payloaderOf(e.codec)}
	units, rnd := clipUnits(t, e.clip), rand.New(rand.NewPCG(seed, 1))
	first := subscribe(t, track, Request{Queue: patient})
	events := 0
	look := func(c *Consumer) int {
		pictures, told := takeWaiting(t, c, e.codec)
		events += told
		return pictures
	}
	const step = 200 * time.Millisecond
	for i := range int(3 * time.Minute / step) {
		mu.Lock()
		key := wanted || i%10 == 0
		wanted = false
		mu.Unlock()
		unit := units[1+i%(len(units)-1)]
		if key {
			unit = units[0]
		}
		e.send(s, rnd, unit, key)
		synctest.Wait()
		told := events > 0
		if n := look(first); n > 0 && told {
			t.Fatalf("%d pictures after it was told that nothing can be decoded", n)
		}
		time.Sleep(step)
	}
	if events != 1 {
		t.Fatalf("told %d times that nothing can be decoded, %+v", events, track.Stats())
	}
	mu.Lock()
	for i := range asks {
		if i+5 < len(asks) && asks[i+5].Sub(asks[i]) < time.Minute {
			t.Errorf("6 requests in %v: %v", asks[i+5].Sub(asks[i]), asks)
		}
	}
	if n := len(asks); n < 5 || n > 9 {
		t.Errorf("%d requests in 3 minutes, want 5 to 9", n)
	}
	mu.Unlock()
	late := subscribe(t, track, Request{Queue: patient})
	synctest.Wait()
	if n := look(late); n != 0 || events != 2 {
		t.Errorf("who joins later gets %d pictures, and %d events in all", n, events)
	}
	pictures := 0
	for range 4 { // it is plain again
		for _, unit := range units {
			s.send(unit)
			synctest.Wait()
			pictures += look(first)
			time.Sleep(step)
		}
	}
	if pictures < 3*len(units) || look(late) < 3*len(units) || events != 2 {
		t.Errorf("%d of %d pictures once they can be decoded, %d events", pictures, 4*len(units), events)
	}
}

// takeWaiting counts the pictures that wait for a consumer, and how often it is told that the codec cannot be decoded.
func takeWaiting(t *testing.T, c *Consumer, codec Codec) (pictures, told int) {
	t.Helper()
	for waiting(c) > 0 {
		item, err := next(t, c)
		switch {
		case err != nil:
			t.Fatal(err)
		case item.Frame != nil:
			item.Frame.Payload.Release()
			pictures++
		case item.Event.Kind != EventUndecodable || item.Event.Codec != codec || item.Event.Reason == "":
			if item.Event.Kind != EventFormatChanged {
				t.Errorf("%+v", *item.Event)
			}
		default:
			told++
		}
	}
	return pictures, told
}
