package rtcpool_test

import (
	"fmt"
	"regexp"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool"
	"github.com/pion/rtcp"
)

// without takes lines out of an offer.
func without(pattern string) func(*sfutest.Config) {
	lines := regexp.MustCompile(`(?m)^` + pattern + `.*\r\n`)
	return func(cfg *sfutest.Config) {
		cfg.Mangle = func(offer string) string { return lines.ReplaceAllString(offer, "") }
	}
}

// Each kind alone gets the feedback that was offered for it, and none that was not.
func TestS20_FeedbackThatWasOfferedIsSent(t *testing.T) {
	for _, source := range []struct {
		of   penstockv1.Source
		clip clips.Clip
	}{{microphone, clips.AliceMicrophone()}, {camera, clips.BobCamera()}} {
		for name, change := range map[string]func(*sfutest.Config){
			"both": func(*sfutest.Config) {}, "transport-cc": func(cfg *sfutest.Config) { cfg.WithoutREMB = true },
			"goog-remb": func(cfg *sfutest.Config) { cfg.WithoutTransportCC = true },
			"neither":   func(cfg *sfutest.Config) { cfg.WithoutTransportCC, cfg.WithoutREMB = true, true },
			"no number": without("a=extmap:.*transport-wide-cc"),
		} {
			t.Run(fmt.Sprintf("%v/%s", source.of, name), func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				c := l.call("s", change)
				track := c.track("p", source.of, source.clip)
				m := c.add(track)[0]
				w := watch(track, nil)
				wantCC, wantREMB := name == "both" || name == "transport-cc", name == "goog-remb" || name == "no number"
				if source.clip.IsAudio() && wantREMB {
					wantREMB = false // pion offers it for video only
				}
				poll(t, "reports and feedback", func() string {
					s := l.pool.Stats()
					cc, remb := count[*rtcp.TransportLayerCC](w), count[*rtcp.ReceiverEstimatedMaximumBitrate](w)
					if s.ReceiverReports >= 2 && (!wantCC || cc >= 10) && (!wantREMB || remb >= 2) {
						return ""
					}
					return fmt.Sprintf("%d transport-cc, %d REMB, %+v", cc, remb, s)
				})
				s := l.pool.Stats()
				if (s.TransportCC > 0) != wantCC || (s.REMBs > 0) != wantREMB {
					t.Errorf("%d transport-cc, %d REMB", s.TransportCC, s.REMBs)
				}
				w.mu.Lock()
				defer w.mu.Unlock()
				for _, p := range w.heard {
					if cc, ok := p.(*rtcp.TransportLayerCC); ok && cc.MediaSSRC != m.SSRC {
						t.Errorf("feedback on source %d, not %d", cc.MediaSSRC, m.SSRC)
					}
				}
			})
		}
	}
}

// Key frames are asked for in the way that was negotiated: PLI, else FIR with a new number for each, else not at all.
func TestKeyFrameRequestsAreOfTheNegotiatedKind(t *testing.T) {
	for name, change := range map[string]func(*sfutest.Config){
		"both": func(*sfutest.Config) {}, "pli": without(`a=rtcp-fb:\d+ ccm fir`), "fir": without(`a=rtcp-fb:\d+ nack pli`),
		"none": without(`a=rtcp-fb:\d+ (ccm fir|nack pli)`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			c := l.call("s", change)
			track := c.track("p", camera, clips.BobCamera())
			m := c.add(track)[0]
			w := watch(track, nil)
			subscribe(t, m.Track, media.Request{Encoded: true})
			for n := 1; n <= 2; n++ {
				track.SetPackets(sfutest.Packets{PayloadType: 77}) // of which nothing can be made
				w.more(t, 3)
				track.SetPackets(sfutest.Packets{})
				asked(t, l.pool, uint64(n))
				keys := m.Track.Stats().KeyFrames
				poll(t, "a key frame", func() string {
					if m.Track.Stats().KeyFrames > keys {
						return ""
					}
					return "none"
				})
			}
			s, pli, fir := l.pool.Stats(), count[*rtcp.PictureLossIndication](w), count[*rtcp.FullIntraRequest](w)
			switch name {
			case "both", "pli":
				if pli < 2 || fir != 0 || s.KeyFrameRequestsUnknown != 0 {
					t.Errorf("%d PLI, %d FIR, %+v", pli, fir, s)
				}
			case "fir":
				if pli != 0 || fir < 2 {
					t.Errorf("%d PLI, %d FIR", pli, fir)
				}
				checkFIR(t, w, m.SSRC)
			case "none":
				if pli+fir != 0 || s.KeyFrameRequests != 0 {
					t.Errorf("%d PLI, %d FIR, %+v", pli, fir, s)
				}
			}
		})
	}
}

func asked(t *testing.T, p *rtcpool.Pool, n uint64) {
	t.Helper()
	poll(t, "a request for a key frame", func() string {
		if s := p.Stats(); s.KeyFrameRequests+s.KeyFrameRequestsUnknown >= n {
			return ""
		}
		return "none"
	})
}

// checkFIR checks that each FIR (RFC 5104 section 4.3.1) is a command of its own.
func checkFIR(t *testing.T, w *witness, ssrc uint32) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	next := uint8(1)
	for _, p := range w.heard {
		if f, ok := p.(*rtcp.FullIntraRequest); ok {
			if len(f.FIR) != 1 || f.MediaSSRC != 0 || f.FIR[0].SSRC != ssrc || f.FIR[0].SequenceNumber != next {
				t.Errorf("%+v, want number %d for %d", f, next, ssrc)
			}
			next++
		}
	}
}

// NACK is sent for sound too where it was negotiated for sound.
func TestNACKForSoundWhereNegotiated(t *testing.T) {
	l := newLab(t)
	network := sfutest.NewNetwork(5)
	opus := regexp.MustCompile(`(?m)^a=rtpmap:(\d+) opus/48000/2\r\n`)
	c := l.call("s", func(cfg *sfutest.Config) {
		cfg.Network = network
		cfg.Mangle = func(offer string) string { return opus.ReplaceAllString(offer, "${0}a=rtcp-fb:$1 nack\r\n") }
	})
	track := c.track("p", microphone, clips.AliceMicrophone())
	m := c.add(track)[0]
	w := watch(track, nil)
	network.SetOut(sfutest.Link{Match: sfutest.IsRTP, Loss: 0.2})
	poll(t, "NACKs", func() string {
		if n := count[*rtcp.TransportLayerNack](w); n < 5 {
			return fmt.Sprint(n)
		}
		return ""
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.heard {
		if n, ok := p.(*rtcp.TransportLayerNack); ok && n.MediaSSRC != m.SSRC {
			t.Errorf("a NACK for source %d", n.MediaSSRC)
		}
	}
}
