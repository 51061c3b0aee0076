package media

import (
	"context"
	"log/slog"
	"time"
)

// TrackConfig is what a Track needs.
type TrackConfig struct {
	Kind Kind
	// Pool decodes. Required.
	Pool *DecodePool
	// RequestKeyFrame asks the sender for a key frame. It is called without locks, must not block, and may be nil.
	RequestKeyFrame func()
	// MaxPicturePixels refuses larger pictures before anything is allocated for them. 0 is DefaultMaxPicturePixels.
	MaxPicturePixels int
	// Logger is never called more than once a second for faults of packets. Required.
	Logger *slog.Logger
}

// DefaultMaxPicturePixels is 4096 × 2304.
const DefaultMaxPicturePixels = 4096 * 2304

// Track is one received media. The peer connection's reader writes packets into it; consumers read frames out.
// All methods are safe for concurrent use, except that WriteRTP has one caller at a time.
type Track struct{}

// NewTrack returns a track that has received nothing. End must be called.
func NewTrack(cfg TrackConfig) *Track { panic("x") }

// SetParameters tells what was negotiated. It may be called again; packets of other payload types are counted and skipped.
func (t *Track) SetParameters(p ReceiveParameters) {}

// WriteRTP takes one RTP packet (RFC 3550), header included. The bytes are not kept. Nothing that a peer can
// send makes it fail: what cannot be used is counted. It never blocks on consumers.
func (t *Track) WriteRTP(packet []byte, received time.Time) {}

// WriteSenderReport gives the NTP and RTP time of an RTCP sender report (RFC 3550 section 6.4.1).
func (t *Track) WriteSenderReport(ntp uint64, rtp uint32) {}

// SetPaused tells consumers that no packets are to be expected, or are again.
func (t *Track) SetPaused(paused, muted bool) {}

// Subscribe attaches a consumer. Errors: *FormatError, *SizeError, ErrKindMismatch, ErrUnsupportedCodec,
// ErrCodecNotAccepted, ErrNotImplemented, *EndedError. The caller must Close the consumer.
func (t *Track) Subscribe(r Request) (*Consumer, error) { return nil, nil }

// End ends the track: consumers get what is queued, then *EndedError. It waits for a decode that is under way,
// and frees the decoder. It is idempotent.
func (t *Track) End(reason EndReason) {}

// Stats returns counters.
func (t *Track) Stats() TrackStats { return TrackStats{} }

// TrackStats counts what a track did.
type TrackStats struct {
	Codec                   CodecParameters // of the last packet
	SSRC                    uint32          // of the last packet
	Width, Height           int             // of the last decoded picture; 0 when unknown
	Packets, Bytes          uint64          // received
	Lost                    uint64          // packets given up
	Late, Duplicate         uint64          // packets that came after they were given up, or twice
	Unusable                uint64          // packets that could not be parsed, or of unknown payload types
	Units                   uint64          // access units or audio packets assembled
	UnitsDropped            uint64          // units not decoded: incomplete, or depending on what was lost
	Decoded, DecodeErrors   uint64          // units that gave a frame, units that gave an error
	Converted               uint64          // conversions, shared ones counted once
	KeyFrames, KeyFrameAsks uint64          // key frames received, requests sent
	Consumers               int             // attached now
}

// Consumer is one subscription. Next has one caller at a time; Close may be called from anywhere.
type Consumer struct{}

// Format returns what is delivered, every default filled in. Of an encoded consumer both are nil.
func (c *Consumer) Format() (*AudioFormat, *VideoFormat) { return nil, nil }

// Next waits for the next frame or event. Errors: ctx's, *EndedError, ErrStalled, ErrClosed, *SizeError when the very
// first picture does not fit, ErrUnsupportedCodec.
func (c *Consumer) Next(ctx context.Context) (Item, error) { return Item{}, nil }

// Close detaches, releases what is queued and wakes Next. It is idempotent.
func (c *Consumer) Close() {}

// DecodePool is a bounded set of workers that decode for all tracks: each track's units in order, fair between tracks,
// some workers for audio only.
type DecodePool struct{}

// NewDecodePool starts workers: 0 is one a core for video and one for audio alone. Close must be called.
func NewDecodePool(workers int) *DecodePool { return nil }

// Close waits for the workers. Every track must have ended.
func (p *DecodePool) Close() {}
