package rtcpool_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
	"github.com/pion/rtcp"
)

// frameThat takes frames until one fits.
func frameThat(t *testing.T, c *media.Consumer, fits func(*media.Frame) bool) *media.Frame {
	t.Helper()
	for n := 0; n < 600; n++ {
		item, err := c.Next(t.Context())
		must(t, err)
		if f := item.Frame; f != nil {
			if f.Payload.Release(); fits(f) {
				return f
			}
		}
	}
	t.Fatal("none of 600 frames fits")
	return nil
}

// What senders tell in header extensions, in both forms of RFC 8285, reaches consumers.
func TestHeaderExtensionsReachConsumers(t *testing.T) {
	const delay = time.Hour // of the capture, as a publisher whose clock is wrong has it
	for _, twoByte := range []bool{false, true} {
		t.Run(fmt.Sprintf("twoByte=%v", twoByte), func(t *testing.T) {
			l := newLab(t)
			c := l.call("s")
			mic, cam := c.track("p", microphone, clips.AliceMicrophone()), c.track("p", camera, clips.BobCamera())
			mic.SetPackets(sfutest.Packets{AudioLevel: 1 + 37, Voice: true, CaptureTime: true, CaptureDelay: delay, TwoByte: twoByte})
			cam.SetPackets(sfutest.Packets{Rotation: 270, HasRotation: true, CaptureTime: true, CaptureDelay: delay, TwoByte: twoByte})
			m := c.add(mic, cam)
			ears := subscribe(t, m[0].Track, media.Request{})
			eyes := subscribe(t, m[1].Track, media.Request{Video: &media.VideoFormat{ReportRotation: true}})
			heard := frameThat(t, ears, func(f *media.Frame) bool { return f.HasLevel })
			if heard.Level != 37 || !heard.Voice {
				t.Errorf("level %d, voice %v", heard.Level, heard.Voice)
			}
			seen := frameThat(t, eyes, func(f *media.Frame) bool { return f.Rotation != 0 })
			if seen.Rotation != 270 {
				t.Errorf("turned by %d", seen.Rotation)
			}
			for _, f := range []*media.Frame{heard, seen} {
				if d := f.Received.Sub(f.Captured) - delay; f.Captured.IsZero() || d.Abs() > 30*time.Second {
					t.Errorf("captured %v, received %v", f.Captured, f.Received)
				}
			}
			mic.SetPackets(sfutest.Packets{AudioLevel: 1 + 127, TwoByte: twoByte})
			cam.SetPackets(sfutest.Packets{HasRotation: true, TwoByte: twoByte})
			quiet := frameThat(t, ears, func(f *media.Frame) bool { return f.HasLevel && !f.Voice })
			upright := frameThat(t, eyes, func(f *media.Frame) bool { return f.Rotation == 0 })
			if quiet.Level != 127 {
				t.Errorf("level %d", quiet.Level)
			}
			// Capture times that are left out are reckoned from the last one that was told.
			for _, pair := range [][2]*media.Frame{{heard, quiet}, {seen, upright}} {
				apart := pair[1].Captured.Sub(pair[0].Captured) - (pair[1].Time - pair[0].Time)
				if apart.Abs() > 30*time.Second {
					t.Errorf("reckoned %v, %v before", pair[1].Captured, pair[0].Captured)
				}
			}
		})
	}
}

// Without the header extension, sender reports tell when frames were captured.
func TestSenderReportsTellCaptureTimes(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.call("s")
	m := c.add(c.track("p", microphone, clips.AliceMicrophone()))[0]
	ears := subscribe(t, m.Track, media.Request{})
	f := frameThat(t, ears, func(f *media.Frame) bool { return !f.Captured.IsZero() })
	if d := f.Received.Sub(f.Captured); d.Abs() > 30*time.Second {
		t.Errorf("captured %v, received %v", f.Captured, f.Received)
	}
}

// A BYE ends a source, not the media; RTCP of every kind, also such as makes no sense to a receiver, leaves it alone.
func TestByeAndStrangeRTCPLeaveTheMediaAlone(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.call("s")
	track := c.track("p", camera, clips.BobCamera())
	m := c.add(track)[0]
	w := watch(track, nil)
	must(t, c.sfu.WriteRTCP(
		&rtcp.SenderReport{SSRC: m.SSRC, NTPTime: 1, Reports: []rtcp.ReceptionReport{{SSRC: 1, TotalLost: 1<<24 - 1, FractionLost: 255}}},
		&rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{Source: m.SSRC, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "x"}}}}},
		&rtcp.Goodbye{Sources: []uint32{1, m.SSRC}, Reason: "gone"},
	))
	poll(t, "the BYE", func() string {
		if n := l.pool.Stats().Byes; n != 1 {
			return fmt.Sprint(n)
		}
		return ""
	})
	for _, p := range []rtcp.Packet{
		&rtcp.PictureLossIndication{MediaSSRC: m.SSRC}, &rtcp.FullIntraRequest{MediaSSRC: m.SSRC, FIR: []rtcp.FIREntry{{SSRC: m.SSRC}}},
		&rtcp.TransportLayerNack{MediaSSRC: m.SSRC, Nacks: []rtcp.NackPair{{PacketID: 1, LostPackets: 0xffff}}},
		&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1e18, SSRCs: []uint32{m.SSRC}}, &rtcp.SliceLossIndication{MediaSSRC: m.SSRC},
		&rtcp.RapidResynchronizationRequest{MediaSSRC: m.SSRC}, &rtcp.ReceiverReport{SSRC: m.SSRC},
		&rtcp.ExtendedReport{SenderSSRC: m.SSRC, Reports: []rtcp.ReportBlock{&rtcp.ReceiverReferenceTimeReportBlock{}}},
		&rtcp.ApplicationDefined{SSRC: m.SSRC, Name: "nope", Data: []byte{1, 2, 3, 4}},
		&rtcp.RawPacket{0x80, 207, 0, 0}, &rtcp.RawPacket{0x9f, 200, 0, 1, 0, 0, 0, 0}, &rtcp.RawPacket{0x81, 255, 0xff, 0xff},
	} {
		// What pion itself finds unfit to send has not reached the gateway; the rest has.
		if err := c.sfu.WriteRTCP(p); err != nil {
			t.Logf("%T: %v", p, err)
		}
	}
	before := m.Track.Stats().Units
	w.more(t, 20)
	poll(t, "more pictures", func() string {
		if s := m.Track.Stats(); s.Units < before+20 {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	if now := c.seen.now(m.ID); now.Track != m.Track || now.SSRC != m.SSRC {
		t.Errorf("was %+v, is %+v", m, now)
	}
	poll(t, "a receiver report on the source", func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, p := range w.heard {
			if r, ok := p.(*rtcp.ReceiverReport); ok && len(r.Reports) > 0 && r.Reports[0].SSRC == m.SSRC {
				return ""
			}
		}
		return "none"
	})
}
