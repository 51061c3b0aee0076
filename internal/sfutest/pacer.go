package sfutest

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

// mtu is the largest RTP packet, as other WebRTC senders have it.
const mtu = 1200

// silence says why a track sends nothing: it sends while no reason is left.
type silence uint8

const (
	silentMuted silence = 1 << iota
	silentPaused
	silentHeld
)

// pacer sends a clip round after round in real time.
type pacer struct {
	local *local

	keyFrame    atomic.Bool // asked for
	packets     atomic.Uint64
	keyRequests atomic.Uint64

	mu        sync.Mutex // held while a unit is written
	clip      clips.Clip
	loop      *clips.Loop
	payloader rtp.Payloader
	numbering numbering
	units     int // that were due
	silent    silence
	restarts  bool // the next packet is the first after silence
	settings  Packets
	ssrc      uint32 // instead of the negotiated one; 0 is that
	started   bool
	first     uint32 // RTP timestamp of the first packet
	observer  Observer
	spoken    spoken
	hush      []byte // sent instead of the clip, unless nil

	cancel context.CancelFunc // nil while not started; guarded by the owner
	done   sync.WaitGroup
}

// numbering is where sequence numbers and timestamps stand.
type numbering struct {
	sequence  uint16 // of the last packet
	timestamp uint32 // of the next unit
}

// newPacer makes a pacer with the given msid ids (RFC 8830).
func newPacer(clip clips.Clip, trackID, streamID string) (*pacer, error) {
	p := &pacer{
		local: newLocal(clip, trackID, streamID), restarts: true,
		numbering: numbering{sequence: uint16(rand.Uint32()), timestamp: rand.Uint32()}, //nolint:gosec // the low bits
	}
	return p, p.setClip(clip)
}

// setClip is called with mu held, or before others know p.
func (p *pacer) setClip(clip clips.Clip) error {
	loop, err := clip.Open()
	if err != nil {
		return err
	}
	p.clip, p.loop = clip, loop
	switch clip.Codec {
	case clips.VP8:
		p.payloader = &codecs.VP8Payloader{EnablePictureID: true}
	case clips.H264:
		p.payloader = &codecs.H264Payloader{}
	case clips.PCMU:
		p.payloader = &codecs.G711Payloader{}
	default:
		p.payloader = &codecs.OpusPayloader{}
	}
	return nil
}

// start begins to send when connected is closed. stop, or the end of ctx, ends it. Started already, it does nothing.
func (p *pacer) start(ctx context.Context, connected <-chan struct{}) {
	if p.cancel != nil {
		return
	}
	ctx, p.cancel = context.WithCancel(ctx)
	p.done.Go(func() {
		select {
		case <-connected:
			p.send(ctx)
		case <-ctx.Done():
		}
	})
}

// stop ends sending and waits.
func (p *pacer) stop() {
	if p.cancel == nil {
		return
	}
	p.cancel()
	p.done.Wait()
	p.cancel = nil
}

// send writes unit after unit, each at its time. When the machine stalls it catches up: nothing is left out.
func (p *pacer) send(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	due := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		due = due.Add(p.step())
		timer.Reset(time.Until(due))
	}
}

// step sends a unit and returns the time until the next.
func (p *pacer) step() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keyFrame.Swap(false) {
		p.loop.SkipToKeyFrame()
	}
	unit := p.loop.Next()
	p.units++
	dtx := p.settings.DTX
	if p.silent == 0 && (dtx == 0 || p.units/dtx%2 == 0) {
		p.write(unit)
	} else {
		p.restarts = true
	}
	perSecond := uint32(p.clip.UnitsPerSecond()) //nolint:gosec // a small number
	p.numbering.timestamp += p.clip.ClockRate / perSecond
	return time.Second / time.Duration(perSecond)
}

// write sends a unit. The marker of audio tells the start of talk (RFC 3551 section 4.1).
func (p *pacer) write(unit clips.Unit) {
	if !p.started {
		p.started, p.first = true, p.numbering.timestamp
	}
	if p.observer.Unit != nil {
		p.observer.Unit(p.numbering.timestamp, unit)
	}
	if p.hush != nil {
		unit.Data = p.hush
	}
	size := uint16(mtu)
	payloads := p.payloader.Payload(size, unit.Data)
	for i, payload := range payloads {
		marker := i == len(payloads)-1
		if p.clip.IsAudio() {
			marker = p.restarts
			payload = p.spoken.again(payload, p.numbering.timestamp, p.settings.Redundancy)
		}
		p.packet(payload, marker, 0)
	}
	p.restarts = false
}

// packet sends one packet, and numbers it. padding is the number of bytes (RFC 3550 section 5.1).
func (p *pacer) packet(payload []byte, marker bool, padding uint8) {
	p.numbering.sequence++
	p.packets.Add(p.local.write(payload, func(b *binding) (rtp.Header, bool) {
		h := rtp.Header{
			Version: 2, SequenceNumber: p.numbering.sequence, Timestamp: p.numbering.timestamp, Marker: marker,
			SSRC: b.ssrc, PayloadType: p.settings.PayloadType, Padding: padding > 0, PaddingSize: padding,
		}
		if p.ssrc != 0 {
			h.SSRC = p.ssrc
		}
		if h.PayloadType == 0 {
			want := capability(p.clip)
			if p.settings.Redundancy > 0 {
				want = redundant
			}
			codec, ok := b.find(want)
			if !ok {
				return h, false
			}
			h.PayloadType = uint8(codec.PayloadType)
		}
		return h, p.settings.extend(&h, b) == nil
	}))
}

// setSilent adds or takes away a reason to send nothing. When it returns, no packet is being written. What comes first after
// silence is a key frame.
func (p *pacer) setSilent(why silence, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on {
		p.silent |= why
		return
	}
	p.silent &^= why
	if p.silent == 0 {
		p.keyFrame.Store(true)
	}
}

// state returns the numbering, and the timestamp of the first packet, if there was one.
func (p *pacer) state() (n numbering, first uint32, started bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.numbering, p.first, p.started
}

// readRTCP reads what comes for a sender until it is stopped, and gives it to the pacer that the sender belongs to then.
func readRTCP(sender *webrtc.RTPSender, owner func() *pacer) {
	for {
		reports, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		owner().hear(reports)
	}
}

// hear answers requests for key frames (RFC 4585 section 6.3.1, RFC 5104 section 4.3.1).
func (p *pacer) hear(reports []rtcp.Packet) {
	p.mu.Lock()
	heard := p.observer.RTCP
	p.mu.Unlock()
	if heard != nil {
		heard(reports)
	}
	for _, r := range reports {
		switch r.(type) {
		case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
			p.keyRequests.Add(1)
			p.keyFrame.Store(true)
		}
	}
}

// Observer is told what a track sends and hears. Its functions may be nil; they are called one at a time each, must return soon, and
// must not call the track.
type Observer struct {
	// Unit is told of each access unit or audio packet before it is sent.
	Unit func(timestamp uint32, unit clips.Unit)
	// RTCP is told of each compound packet that comes for the track.
	RTCP func(packets []rtcp.Packet)
}

// Packets is how a track's packets are written. The zero value is plain.
type Packets struct {
	// PayloadType is written instead of the negotiated one; 0 is the codec's. One that was not negotiated can be chosen.
	PayloadType uint8
	// MID tells the mid in each packet (RFC 9143 section 15).
	MID bool
	// AudioLevel tells 1 + the level in -dBov of each packet (RFC 6464), and Voice its voice flag; 0 does not tell.
	AudioLevel uint8
	Voice      bool
	// Rotation tells the clockwise turn of pictures that is needed, in degrees (3GPP TS 26.114 section 7.4.5), when HasRotation.
	Rotation    int
	HasRotation bool
	// CaptureTime tells the NTP time of each packet (abs-capture-time): now less CaptureDelay.
	CaptureTime  bool
	CaptureDelay time.Duration
	// Redundancy sends so many packets of Opus again in each, 1 or 2 as Chromium does (RFC 2198); 0 is none.
	Redundancy int
	// DTX leaves every second run of so many units out, as encoders of Opus do with silence; the clock goes on. 0 sends all.
	DTX int
	// TwoByte writes the extensions with two-byte headers (RFC 8285 section 4.3).
	TwoByte bool
}

// extend writes the header extensions that were negotiated.
func (s *Packets) extend(h *rtp.Header, b *binding) error {
	set := func(uri string, payload []byte) error {
		id, negotiated := b.extensions[uri]
		if !negotiated {
			return nil
		}
		if h.Extension = true; h.ExtensionProfile == 0 {
			h.ExtensionProfile = rtp.ExtensionProfileOneByte
			if s.TwoByte {
				h.ExtensionProfile = rtp.ExtensionProfileTwoByte
			}
		}
		if err := h.SetExtension(id, payload); err != nil {
			return fmt.Errorf("write the header extension %s: %w", uri, err)
		}
		return nil
	}
	if s.MID && b.mid != "" {
		if err := set(uriMID, []byte(b.mid)); err != nil {
			return err
		}
	}
	if s.AudioLevel > 0 {
		level := s.AudioLevel - 1
		if s.Voice {
			level |= 0x80
		}
		if err := set(uriAudioLevel, []byte{level}); err != nil {
			return err
		}
	}
	if s.HasRotation {
		if err := set(uriOrientation, []byte{byte(s.Rotation / 90 & 3)}); err != nil {
			return err
		}
	}
	if s.CaptureTime {
		return set(uriAbsCaptureTime, binary.BigEndian.AppendUint64(nil, ntp(time.Now().Add(-s.CaptureDelay))))
	}
	return nil
}

// ntp returns a time as RTCP writes it (RFC 3550 section 4): seconds since 1900, 32 bits of fraction.
func ntp(t time.Time) uint64 {
	const since1900 = 2208988800
	seconds := uint64(t.Unix()) + since1900        //nolint:gosec // after 1970
	fraction := uint64(t.Nanosecond()) << 32 / 1e9 //nolint:gosec // below 2^30
	return seconds<<32 | fraction
}
