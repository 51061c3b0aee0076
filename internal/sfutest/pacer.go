package sfutest

import (
	"context"
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

// pacer sends a clip round after round in real time.
type pacer struct {
	clip      clips.Clip
	loop      *clips.Loop
	local     *webrtc.TrackLocalStaticRTP
	payloader rtp.Payloader
	sequence  rtp.Sequencer
	firstTime uint32 // RTP timestamp of the first unit

	muted       atomic.Bool
	keyFrame    atomic.Bool // asked for
	packets     atomic.Uint64
	keyRequests atomic.Uint64

	cancel context.CancelFunc // nil while not started; guarded by the owner
	done   sync.WaitGroup
}

// newPacer makes a pacer with the given msid ids (RFC 8830).
func newPacer(clip clips.Clip, trackID, streamID string) (*pacer, error) {
	loop, err := clip.Open()
	if err != nil {
		return nil, err
	}
	local, err := webrtc.NewTrackLocalStaticRTP(capability(clip), trackID, streamID)
	if err != nil {
		return nil, fmt.Errorf("create track %q: %w", trackID, err)
	}
	p := &pacer{clip: clip, loop: loop, local: local, sequence: rtp.NewRandomSequencer(), firstTime: rand.Uint32()}
	switch clip.Codec {
	case clips.VP8:
		p.payloader = &codecs.VP8Payloader{EnablePictureID: true}
	case clips.H264:
		p.payloader = &codecs.H264Payloader{}
	default:
		p.payloader = &codecs.OpusPayloader{}
	}
	return p, nil
}

// start begins to send when the peer is connected, and to read the sender's RTCP. The peer's close ends both; so does stop.
// Started already, it does nothing.
func (p *pacer) start(on *peer, sender *webrtc.RTPSender) {
	if p.cancel != nil {
		return
	}
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(on.ctx)
	run := func(f func()) {
		on.work.Add(1)
		p.done.Add(1)
		go func() {
			defer on.work.Done()
			defer p.done.Done()
			f()
		}()
	}
	run(func() { p.readRTCP(sender) })
	run(func() {
		select {
		case <-on.connected:
			p.send(ctx)
		case <-ctx.Done():
		}
	})
}

// stop ends sending and waits. The sender must have been stopped, or the RTCP reader does not end.
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
	begin, first := time.Now(), true
	perSecond := p.clip.UnitsPerSecond()
	for count := 0; ; count++ {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if p.keyFrame.Swap(false) {
			p.loop.SkipToKeyFrame()
		}
		unit := p.loop.Next()
		if p.muted.Load() {
			first = true
		} else {
			p.write(unit, uint32(count)*(p.clip.ClockRate/uint32(perSecond)), first)
			first = false
		}
		due := time.Duration(count+1) * time.Second / time.Duration(perSecond)
		timer.Reset(time.Until(begin.Add(due)))
	}
}

// write sends a unit at its RTP time. afterSilence marks the start of talk (RFC 3551 section 4.1).
func (p *pacer) write(unit clips.Unit, ticks uint32, afterSilence bool) {
	payloads := p.payloader.Payload(mtu, unit.Data)
	for i, payload := range payloads {
		packet := rtp.Packet{
			Header: rtp.Header{
				Version:        2,
				SequenceNumber: p.sequence.NextSequenceNumber(),
				Timestamp:      p.firstTime + ticks,
				Marker:         i == len(payloads)-1,
			},
			Payload: payload,
		}
		if p.clip.IsAudio() {
			packet.Marker = afterSilence
		}
		// An error is that of a peer connection on its way up or down: the packet is lost, as on a network.
		if p.local.WriteRTP(&packet) == nil {
			p.packets.Add(1)
		}
	}
}

// readRTCP answers requests for key frames (RFC 4585 section 6.3.1, RFC 5104 section 4.3.1) until the sender is stopped.
func (p *pacer) readRTCP(sender *webrtc.RTPSender) {
	for {
		reports, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, r := range reports {
			switch r.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				p.keyRequests.Add(1)
				p.keyFrame.Store(true)
			}
		}
	}
}
