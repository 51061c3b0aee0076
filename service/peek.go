package service

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// Numbers of fields that a relay looks at, beside those of sender.go.
const (
	streamHeaderField  = 1
	streamEventField   = 4
	infoField          = 1 // of AudioFrame and VideoFrame
	audioSamplesField  = 2
	infoEpochField     = 1
	infoSequenceField  = 2
	infoPresentedField = 4
)

// peekSize is how much of a message a relay looks at, in bytes: a frame's info is its first field, and below 100.
const peekSize = 128

// peeked is what a relay knows of a message of StreamTrack.
type peeked struct {
	field     protowire.Number // of StreamTrackResponse, that is set; 0 where that cannot be told
	epoch     uint64           // of a frame
	sequence  uint64
	presented time.Duration
	samples   uint64 // of audio
}

// frame tells whether it is one.
func (p peeked) frame() bool { return p.field == streamAudioField || p.field == streamVideoField }

// peek reads the first bytes of a message. What it does not find stays 0: it is not its place to judge.
func peek(b []byte) (p peeked) {
	field, kind, n := protowire.ConsumeTag(b)
	if n < 0 || kind != protowire.BytesType {
		return p
	}
	p.field = field
	if !p.frame() {
		return p
	}
	if _, m := protowire.ConsumeVarint(b[n:]); m >= 0 { // The length is of more than is here.
		p.readFrame(b[n+m:])
	}
	return p
}

// readFrame reads the fields before a frame's payload.
func (p *peeked) readFrame(b []byte) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		switch {
		case field == infoField && kind == protowire.BytesType:
			size, m := protowire.ConsumeVarint(b[n:])
			if m < 0 {
				return
			}
			info := b[n+m:] // It may be of a later version, and longer than what is here; what is known comes first.
			p.readInfo(info[:min(size, uint64(len(info)))])
		case field == audioSamplesField && kind == protowire.VarintType && p.field == streamAudioField:
			p.samples, _ = protowire.ConsumeVarint(b[n:])
		}
		m := protowire.ConsumeFieldValue(field, kind, b[n:])
		if m < 0 {
			return
		}
		b = b[n+m:]
	}
}

// readInfo reads a FrameInfo.
func (p *peeked) readInfo(b []byte) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		if kind == protowire.VarintType {
			v, _ := protowire.ConsumeVarint(b[n:])
			switch field {
			case infoEpochField:
				p.epoch = v
			case infoSequenceField:
				p.sequence = v
			case infoPresentedField:
				p.presented = time.Duration(v) //nolint:gosec // as int64 is on the wire
			}
		}
		m := protowire.ConsumeFieldValue(field, kind, b[n:])
		if m < 0 {
			return
		}
		b = b[n+m:]
	}
}

// samplesPerSecond returns the rate in which AudioFrame.sample_count counts, by a stream's header; 0 for video.
func samplesPerSecond(h *penstockv1.StreamHeader) uint32 {
	switch {
	case h.GetFormat().GetAudio() != nil:
		return h.GetFormat().GetAudio().GetSampleRateHz()
	case h.GetTrack().GetKind() == penstockv1.MediaKind_MEDIA_KIND_AUDIO:
		return h.GetClockRateHz()
	}
	return 0
}
