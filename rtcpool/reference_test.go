package rtcpool_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// patient is a queue that keeps everything.
var patient = media.Queue{MaxBytes: 1 << 30, MaxDuration: time.Hour}

// reference knows what each unit of a clip decodes to when nothing is lost.
type reference struct {
	units    []clips.Unit
	pictures [][sha256.Size]byte
}

// newReference decodes a clip, without a network.
func newReference(t *testing.T, clip clips.Clip) *reference {
	t.Helper()
	units, err := clip.Units()
	must(t, err)
	pool := media.NewDecodePool(1)
	defer pool.Close()
	track := media.NewTrack(media.TrackConfig{Kind: media.KindVideo, Pool: pool, Logger: slog.New(slog.DiscardHandler)})
	defer track.End(media.EndClosed)
	params := media.CodecParameters{Codec: media.CodecVP8, PayloadType: 96, ClockRate: 90000}
	payloader := rtp.Payloader(&codecs.VP8Payloader{EnablePictureID: true})
	if clip.Codec == clips.H264 {
		params.Codec, params.Fmtp = media.CodecH264, "packetization-mode=1"
		payloader = &codecs.H264Payloader{}
	}
	track.SetParameters(media.ReceiveParameters{Codecs: []media.CodecParameters{params}})
	consumer, err := track.Subscribe(media.Request{Queue: patient})
	must(t, err)
	defer consumer.Close()
	r := &reference{units: units}
	packets := rtp.NewPacketizer(1200, 96, 1, payloader, rtp.NewFixedSequencer(1), 90000)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for _, u := range units {
		for _, p := range packets.Packetize(u.Data, 3000) {
			raw, err := p.Marshal()
			must(t, err)
			track.WriteRTP(raw, time.Now())
		}
		item, err := consumer.Next(ctx)
		must(t, err)
		r.pictures = append(r.pictures, sum(item.Frame.Payload))
		item.Frame.Payload.Release()
	}
	return r
}

func sum(p *media.Payload) [sha256.Size]byte { return sha256.Sum256(bytes.Join(p.Parts(), nil)) }

// witness sees what a track sends and hears.
type witness struct {
	mu      sync.Mutex
	changed chan struct{}
	units   map[uint32]int // of the clip, by timestamp
	clip    []clips.Unit
	sent    int
	heard   []rtcp.Packet
}

func watch(track *sfutest.Track, clip []clips.Unit) *witness {
	w := &witness{changed: make(chan struct{}), units: map[uint32]int{}, clip: clip}
	track.Observe(sfutest.Observer{Unit: w.unit, RTCP: w.rtcp})
	return w
}

func (w *witness) tell(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *witness) unit(timestamp uint32, unit clips.Unit) {
	w.tell(func() {
		w.sent++
		for i := range w.clip {
			if bytes.Equal(w.clip[i].Data, unit.Data) {
				w.units[timestamp] = i
			}
		}
	})
}

func (w *witness) rtcp(packets []rtcp.Packet) {
	w.tell(func() { w.heard = append(w.heard, packets...) })
}

// until waits for a condition on what was seen; it is called with the lock.
func (w *witness) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	end := time.NewTimer(limit)
	defer end.Stop()
	for {
		w.mu.Lock()
		good, changed := holds(), w.changed
		w.mu.Unlock()
		if good {
			return
		}
		select {
		case <-changed:
		case <-end.C:
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

// more waits until n more units are sent.
func (w *witness) more(t *testing.T, n int) {
	t.Helper()
	w.mu.Lock()
	want := w.sent + n
	w.mu.Unlock()
	w.until(t, "more units", func() bool { return w.sent >= want })
}

// count returns how many packets of a type were heard.
func count[P rtcp.Packet](w *witness) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, p := range w.heard {
		if _, ok := p.(P); ok {
			n++
		}
	}
	return n
}

// indexOf returns which unit of the clip was sent at a timestamp.
func (w *witness) indexOf(timestamp uint32) (int, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, ok := w.units[timestamp]
	return i, ok
}

// viewer consumes decoded pictures and judges each.
type viewer struct {
	t        *testing.T
	consumer *media.Consumer
	ref      *reference
	witness  *witness

	pictures, wrong, lost int
	astray                int // followed a loss, and were no key frame
	last                  *media.Frame
}

func view(t *testing.T, track *media.Track, ref *reference, w *witness) *viewer {
	t.Helper()
	c, err := track.Subscribe(media.Request{Queue: patient})
	must(t, err)
	t.Cleanup(c.Close)
	return &viewer{t: t, consumer: c, ref: ref, witness: w}
}

// next judges the next picture: it is what the clip has at its timestamp, to the bit, or it is marked.
func (v *viewer) next() *media.Frame {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), limit)
	defer cancel()
	for {
		item, err := v.consumer.Next(ctx)
		if err != nil {
			v.t.Fatalf("after %d pictures: %v", v.pictures, err)
		}
		if f := item.Frame; f != nil {
			v.judge(f)
			f.Payload.Release()
			v.last = f
			return f
		}
	}
}

func (v *viewer) judge(f *media.Frame) {
	v.pictures++
	v.lost += int(f.Lost.Frames)
	if f.Lost.Frames > 0 && !f.KeyFrame {
		v.astray++
	}
	i, sent := v.witness.indexOf(f.RTPTimestamp)
	if !f.Corrupt && (!sent || sum(f.Payload) != v.ref.pictures[i]) {
		v.wrong++
		v.t.Errorf("picture %d, unit %d of the clip: not what was sent, and not marked", v.pictures, i)
	}
}

// drain judges what comes until the track ends.
func (v *viewer) drain() {
	v.t.Helper()
	var ended *media.EndedError
	for {
		item, err := v.consumer.Next(v.t.Context())
		if errors.As(err, &ended) {
			return
		}
		must(v.t, err)
		if item.Frame != nil {
			v.judge(item.Frame)
			item.Frame.Payload.Release()
		}
	}
}
