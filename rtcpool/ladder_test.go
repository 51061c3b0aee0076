package rtcpool_test

import (
	"bytes"
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/cc"
	"github.com/pion/interceptor/pkg/gcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// ladder chooses the layer of a track by what the path is said to carry, as an SFU does: up when that is enough for the next
// layer, down when it is not for this one; what is left is filled with padding, or nobody would find out that there is more.
type ladder struct {
	track  *sfutest.Track
	layers []clips.Clip
	target func() float64 // bits a second; 0 when not known
}

// bitrate is what a clip takes on the network.
func bitrate(t *testing.T, clip clips.Clip) float64 {
	t.Helper()
	b, err := clip.Bytes()
	must(t, err)
	return 1.05 * 8 * float64(len(b)) / clip.Length.Seconds()
}

func (l *ladder) run(ctx context.Context, rates []float64) {
	const step, padding = 20 * time.Millisecond, 8 * 240 // bits of a packet of padding, with its headers
	tick := time.NewTicker(step)
	defer tick.Stop()
	at, fill := 0, 0.0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		target, before := l.target(), at
		switch {
		case target == 0:
			continue
		case at+1 < len(rates) && target > 1.1*rates[at+1]:
			at++
		case at > 0 && target < rates[at]:
			at--
		}
		if at != before {
			_ = l.track.Switch(l.layers[at]) // all are video
			fill = 0
		}
		if at+1 == len(rates) {
			continue
		}
		fill += max(target-rates[at], 0) * step.Seconds()
		n := math.Floor(fill / padding)
		l.track.Probe(int(n))
		fill -= n * padding
	}
}

// bySenderSide is pion's congestion control, fed by transport-wide feedback.
func bySenderSide(cfg *sfutest.Config) (target func() float64) {
	var estimator atomic.Pointer[cc.BandwidthEstimator]
	cfg.Interceptors = func(_ *webrtc.MediaEngine, registry *interceptor.Registry) error {
		factory, err := cc.NewInterceptor(func() (cc.BandwidthEstimator, error) {
			return gcc.NewSendSideBWE(gcc.SendSideBWEInitialBitrate(900_000), gcc.SendSideBWEMinBitrate(300_000), gcc.SendSideBWEPacer(gcc.NewNoOpPacer()))
		})
		if err != nil {
			return err
		}
		factory.OnNewPeerConnection(func(_ string, e cc.BandwidthEstimator) { estimator.Store(&e) })
		registry.Add(factory)
		return nil
	}
	return func() float64 {
		if e := estimator.Load(); e != nil {
			return float64((*e).GetTargetBitrate())
		}
		return 0
	}
}

// byREMB is what the gateway tells.
func byREMB(w *witness) (target func() float64) {
	return func() (bits float64) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, p := range slices.Backward(w.heard) {
			if r, ok := p.(*rtcp.ReceiverEstimatedMaximumBitrate); ok {
				return float64(r.Bitrate)
			}
		}
		return 0
	}
}

// stamps writes abs-send-time into every packet.
type stamps struct{ interceptor.NoOp }

func (s *stamps) NewInterceptor(string) (interceptor.Interceptor, error) { return s, nil }

func (s *stamps) BindLocalStream(info *interceptor.StreamInfo, w interceptor.RTPWriter) interceptor.RTPWriter {
	id := uint8(0)
	for _, x := range info.RTPHeaderExtensions {
		if x.URI == sdp.ABSSendTimeURI {
			id = uint8(x.ID)
		}
	}
	start := time.Now()
	return interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, a interceptor.Attributes) (int, error) {
		if id != 0 {
			header := h.Clone()
			v := uint32(time.Since(start).Seconds() * (1 << 18))
			if err := header.SetExtension(id, []byte{byte(v >> 16), byte(v >> 8), byte(v)}); err != nil {
				return 0, err
			}
			h = &header
		}
		return w.Write(h, payload, a)
	})
}

func withSendTimes(cfg *sfutest.Config) {
	cfg.Interceptors = func(engine *webrtc.MediaEngine, registry *interceptor.Registry) error {
		registry.Add(&stamps{})
		return engine.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: sdp.ABSSendTimeURI}, webrtc.RTPCodecTypeVideo)
	}
}

// lossy is a path that loses packets; narrow, one that has a queue before it.
func lossy() sfutest.Link { return sfutest.Link{Match: sfutest.IsRTP, Loss: 0.3} }

func narrow() sfutest.Link { return sfutest.Link{Match: sfutest.IsRTP, BitsPerSecond: 600_000} }

// An SFU that is driven by the feedback goes up to its top layer, down when the path gets worse, and up again.
func TestS20_TheSFUGoesUpAndDownByTransportCC(t *testing.T) { // alone: it measures delays
	testLadder(t, false, false, lossy())
}

func TestS20_TheSFUGoesUpAndDownByREMB(t *testing.T) {
	t.Run("loss", func(t *testing.T) {
		t.Parallel()
		testLadder(t, true, false, lossy())
	})
	t.Run("abs-send-time and a narrow path", func(t *testing.T) {
		t.Parallel()
		testLadder(t, true, true, narrow())
	})
}

func testLadder(t *testing.T, remb, stamped bool, worse sfutest.Link) {
	layers := []clips.Clip{clips.BobScreen(), clips.BobCamera(), clips.AliceCamera()}
	l := newLab(t)
	network := sfutest.NewNetwork(9)
	var target func() float64
	c := l.call("s", func(cfg *sfutest.Config) {
		cfg.Network, cfg.WithoutTransportCC, cfg.WithoutREMB = network, remb, !remb
		if !remb {
			target = bySenderSide(cfg)
			cfg.WithoutRTX = true // pion's congestion control does not let retransmissions out in a stream of their own
		}
		if stamped {
			withSendTimes(cfg)
		}
	})
	track := c.track("p", camera, layers[0])
	w := watch(track, nil)
	if remb {
		target = byREMB(w)
	}
	m := c.add(track)[0]
	consumer := subscribe(t, m.Track, media.Request{Queue: patient})
	ctx, cancel := context.WithCancel(l.ctx)
	var work sync.WaitGroup
	rates := []float64{bitrate(t, layers[0]), bitrate(t, layers[1]), bitrate(t, layers[2])}
	work.Go(func() { (&ladder{track: track, layers: layers, target: target}).run(ctx, rates) })
	defer work.Wait()
	defer cancel()
	top, middle := layers[2].Watermark, layers[1].Watermark
	shown := func(what string, fits func(mark int) bool) (marks []int) {
		frameSuch(t, consumer, what, func(mark int) bool {
			if len(marks) == 0 || marks[len(marks)-1] != mark {
				marks = append(marks, mark)
			}
			return fits(mark)
		})
		t.Logf("%s: pictures of %v; %.0f bits a second are the target", what, marks, target())
		return marks
	}
	up := shown("up", func(mark int) bool { return mark == top })
	if !slices.Contains(up, layers[0].Watermark) || !slices.Contains(up, middle) {
		t.Errorf("it came to the top by %v", up)
	}
	network.SetOut(worse)
	shown("down", func(mark int) bool { return mark != top })
	network.SetOut(sfutest.Link{})
	if !stamped { // After a queue it takes much longer; the others show that it comes back.
		shown("up again", func(mark int) bool { return mark == top })
	}
	if s := l.pool.Stats(); remb != (s.REMBs > 0) || remb == (s.TransportCC > 0) {
		t.Errorf("%d REMB, %d transport-cc", s.REMBs, s.TransportCC)
	}
}

// frameSuch takes pictures until the watermark of one fits.
func frameSuch(t *testing.T, c *media.Consumer, what string, fits func(mark int) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		item, err := c.Next(ctx)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		f := item.Frame
		if f == nil {
			continue
		}
		mark, ok := clips.ReadWatermark(bytes.Join(f.Payload.Parts(), nil), f.Width, f.Height, f.Planes[0].Stride)
		f.Payload.Release()
		if ok && fits(mark) {
			return
		}
	}
}
