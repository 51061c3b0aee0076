package media

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
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

// How long and how many packets wait for one that is missing: long enough for a NACK and its retransmission over
// a transatlantic path, short enough for a conversation.
const (
	audioReorderWait    = 60 * time.Millisecond
	audioReorderPackets = 16
	videoReorderWait    = 150 * time.Millisecond
	videoReorderPackets = 512
)

// DefaultPatience is how long packets wait for one that is missing, unless [Track.SetPatience] says otherwise.
func DefaultPatience(k Kind) time.Duration {
	if k == KindAudio {
		return audioReorderWait
	}
	return videoReorderWait
}

// Track is one received media. The peer connection's reader writes packets into it; consumers read frames out.
// All methods are safe for concurrent use.
type Track struct {
	cfg       TrackConfig
	keyFrames keyFrameAsker
	faults    faultLog
	video     *videoPath // of the two exactly one is set
	audio     *audioPath

	chosen atomic.Pointer[Layer] // the last that was

	mu sync.Mutex
	intake
	layers    *layerSet // nil: packets are given to the track itself
	params    ReceiveParameters
	clock     mediaClock
	keys      keyReader
	keying    bool        // the packet before was about a key
	keyTimer  *time.Timer // nil until there is one
	lastCodec CodecParameters
	lastTime  time.Duration // of the unit before
	spacing   time.Duration // between units, smoothed
	rotation  int
	consumers []*Consumer // copied on write: the decode worker reads it without the lock
	decoding  int         // consumers that want decoded frames
	unmet     bool        // a consumer has come since the last packet
	paused    *Event
	ended     *EndedError
	stats     TrackStats
}

// NewTrack returns a track that has received nothing. End must be called.
func NewTrack(cfg TrackConfig) *Track {
	if cfg.MaxPicturePixels <= 0 {
		cfg.MaxPicturePixels = DefaultMaxPicturePixels
	}
	t := &Track{cfg: cfg}
	if cfg.RequestKeyFrame != nil {
		t.keyFrames.send = t.requestKeyFrame
	}
	t.faults.logger = cfg.Logger
	t.intake.begin(t, t.unit, t.sourceChanged)
	t.assembler.stuck = t.stuck
	if cfg.Kind == KindAudio {
		t.audio = newAudioPath(t)
		t.keys.tell = t.key
	} else {
		t.video = newVideoPath(t)
	}
	cfg.Pool.tracks.add(t)
	return t
}

// SetParameters tells what was negotiated. It may be called again. Packets of other payload types are counted and skipped, and so
// are those of codecs of the other kind.
func (t *Track) SetParameters(p ReceiveParameters) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.params = p
	t.params.Codecs = slices.DeleteFunc(slices.Clone(p.Codecs), func(c CodecParameters) bool { return c.Codec.Kind() != t.cfg.Kind })
}

// WriteRTP takes one RTP packet (RFC 3550), header included, padding too. The bytes are not kept. Nothing that a peer can
// send makes it fail: what cannot be used is counted. It never blocks on consumers or decoders.
func (t *Track) WriteRTP(raw []byte, received time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended != nil {
		return
	}
	t.stats.Packets++
	t.stats.Bytes += uint64(len(raw))
	if t.unmet {
		t.firstPacketOf(received)
	}
	t.intake.write(raw, received)
}

// sound takes a packet of audio from the reorder buffer: keys go their own way. Called with t.mu.
func (t *Track) sound(p *packet) {
	t.keys.expire(p.received)
	if !p.isKey() || len(p.payload) == 0 {
		t.keying = t.keying && len(p.payload) == 0
		t.assembler.push(p)
		return
	}
	if p.lost > 0 && !t.keying { // what is missing between reports on keys was one
		t.assembler.lostBefore(p)
	}
	t.keying = true
	t.reportOnKey(p)
}

// sourceChanged is called when packets of another source follow. Called with t.mu.
func (t *Track) sourceChanged() {
	t.keys.sourceChanged()
	t.clock.sourceChanged()
}

// unit takes a unit from the assembler. Called with t.mu.
func (t *Track) unit(u *unit) {
	if u.codec.Codec == CodecComfortNoise && u.codec.ClockRate != t.lastCodec.ClockRate {
		t.assembler.pending.Frames += u.lost.Frames
		u.release() // it goes with another codec than the one that is used
		return
	}
	u.time = t.clock.at(u.timestamp, u.codec.ClockRate, u.received)
	if !u.captured.IsZero() {
		t.clock.capture(u.captured, u.timestamp)
	}
	u.captured = t.clock.captured(u.timestamp)
	t.stats.Units++
	if !u.codec.Codec.Companion() {
		t.lastCodec = u.codec
	}
	if t.audio != nil {
		u.lost.Duration = t.lostAudio(u)
		t.lastTime = u.time
		t.audio.add(u)
		return
	}
	if u.ext.hasRotation {
		t.rotation = u.ext.rotation
	}
	u.rotation = t.rotation
	t.measure(u)
	if u.key {
		t.stats.KeyFrames++
		t.keyFrames.satisfied()
	}
	t.video.add(u)
}

// stuck asks for a key frame though no unit comes that says so: of pictures of many packets, each may miss one. Called with t.mu.
func (t *Track) stuck() {
	if len(t.consumers) > 0 {
		t.keyFrames.want()
	}
}

// lostAudio is how much is missing before a packet after a loss.
func (t *Track) lostAudio(u *unit) time.Duration {
	if u.lost.Frames == 0 {
		return 0
	}
	length := ticks(int64(packetSamples(u.codec, u.data)), max(u.codec.ClockRate, 1))
	return max(u.time-t.lastTime-length, 0)
}

// samePicture is how far apart, on the time line, two encodings of one picture may lie.
const samePicture = 8 * time.Millisecond

// measure learns the spacing of the pictures, and tells by it what a gap has cost.
func (t *Track) measure(u *unit) {
	u.span = max(u.time-t.lastTime, 0)
	if u.again = u.smaller && u.span < min(t.spacing/2, samePicture); u.again {
		return
	}
	t.lastTime = max(u.time, t.lastTime)
	if !u.gap {
		if t.spacing == 0 {
			t.spacing = u.span
		}
		t.spacing += (min(u.span, time.Second) - t.spacing) / 8
		u.lost = Loss{}
		return
	}
	missing := max(u.span-t.spacing, 0)
	u.lost = Loss{Frames: 1, Duration: missing}
	if t.spacing > 0 {
		u.lost.Frames = uint32(max(1, (missing+t.spacing/2)/t.spacing))
	}
	u.span -= missing
}

// SetPatience sets how long packets wait for one that is missing: as long as it can still be sent again. Packets of audio wait for so
// long only until it is known how late missing ones really come.
func (t *Track) SetPatience(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.each(func(in *intake) { in.reorder.maxWait = d })
}

// WriteSenderReport gives the NTP and RTP time of an RTCP sender report (RFC 3550 section 6.4.1).
func (t *Track) WriteSenderReport(ntp uint64, timestamp uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clock.report(senderReport{ntpTime(ntp), timestamp})
}

// SetPaused tells consumers that no packets are to be expected, or are again. Saying it twice tells it once.
func (t *Track) SetPaused(paused, muted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if paused == (t.paused != nil) && (!paused || t.paused.Muted == muted) {
		return
	}
	e := Event{Kind: EventResumed, Time: t.clock.last}
	t.paused = nil
	if paused {
		e = Event{Kind: EventPaused, Time: t.clock.last, Muted: muted}
		t.paused = &e
	}
	for _, c := range t.consumers {
		c.tell(e)
	}
}

// Subscribe attaches a consumer. Errors: *FormatError, ErrKindMismatch, ErrUnsupportedCodec, ErrCodecNotAccepted,
// ErrNotImplemented, *SizeError, *EndedError. The caller must Close the consumer.
func (t *Track) Subscribe(r Request) (*Consumer, error) {
	r, err := r.normalize(t.cfg.Kind)
	if err != nil {
		return nil, err
	}
	c, limited, err := t.attach(r)
	if limited != nil {
		limited()
	}
	return c, err
}

// attach makes a consumer. limited, if it is not nil, is to be called without locks.
func (t *Track) attach(r Request) (c *Consumer, limited func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended != nil {
		return nil, nil, t.ended
	}
	if err := t.fits(r); err != nil {
		return nil, nil, err
	}
	c = newConsumer(t, r)
	c.known.codec = t.lastCodec.Codec
	c.budget().join(c)
	t.unmet = true
	t.consumers = append(slices.Clone(t.consumers), c)
	if !r.Encoded {
		t.decoding++
	}
	if t.paused != nil {
		c.tell(*t.paused)
	}
	if t.video != nil {
		t.layers.demand(len(t.consumers) == 1)
		limited = t.video.attach(c, time.Now())
	} else {
		t.audio.attach(c, time.Now())
	}
	return c, limited, nil
}

// fits checks a request against what is known of the media by now.
func (t *Track) fits(r Request) error {
	codec := t.lastCodec.Codec
	if r.Encoded {
		if codec == CodecUnknown {
			return nil
		}
		return r.acceptsCodec(codec)
	}
	if codec != CodecUnknown && !Decodable(codec) {
		return fmt.Errorf("%w: %s", ErrUnsupportedCodec, codec)
	}
	if r.Video == nil {
		return nil
	}
	if r.Video.AllowUpscale && r.Video.Width*r.Video.Height > t.cfg.MaxPicturePixels {
		return t.tooLarge(r.Video.Width, r.Video.Height)
	}
	return t.fitsMessage(r)
}

// tooLarge refuses a size to which pictures would be enlarged.
func (t *Track) tooLarge(width, height int) error {
	return &FormatError{"width", fmt.Sprintf("and height of %d×%d are more than pictures are enlarged to; ask for %d pixels at most, or leave allow_upscale out",
		width, height, t.cfg.MaxPicturePixels)}
}

// fitsMessage refuses a format whose pictures cannot fit, as far as their size is known before the first.
func (t *Track) fitsMessage(r Request) error {
	if r.MaxPayloadBytes <= 0 || r.Video.Pixel == JPEG {
		return nil
	}
	w, h := int(t.video.width.Load()), int(t.video.height.Load())
	if w == 0 || h == 0 {
		if r.Video.Fit != Stretch || !r.Video.AllowUpscale {
			return nil
		}
		w, h = r.Video.Width, r.Video.Height // whatever comes, it is brought to this size
	}
	rotation := t.rotation
	if r.Video.ReportRotation {
		rotation = 0
	}
	pl, err := planVideo(w, h, rotation, *r.Video)
	if err != nil {
		return err
	}
	if pl.bytes > r.MaxPayloadBytes {
		return &SizeError{Width: pl.width, Height: pl.height, PayloadBytes: pl.bytes, Limit: r.MaxPayloadBytes}
	}
	return nil
}

// acceptsCodec checks a codec against AcceptCodecs.
func (r Request) acceptsCodec(c Codec) error {
	if len(r.AcceptCodecs) == 0 || !r.Encoded || slices.Contains(r.AcceptCodecs, c) {
		return nil
	}
	return fmt.Errorf("%w: it is %s", ErrCodecNotAccepted, c)
}

// detach forgets a consumer.
func (t *Track) detach(c *Consumer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.consumers, c)
	if i < 0 {
		return
	}
	t.consumers = slices.Concat(t.consumers[:i], t.consumers[i+1:])
	if len(t.consumers) == 0 {
		t.keyFrames.withdraw()
	}
	if c.req.Encoded {
		t.layers.demand(false)
		return
	}
	t.decoding--
	switch {
	case t.audio != nil:
		if t.decoding == 0 {
			t.audio.idle()
		}
	case t.decoding == 0:
		t.cfg.Pool.load.remove(t.video)
		t.video.limits = limits{}
		t.video.rest()
	default:
		t.video.relimit()
	}
	t.layers.demand(false)
}

// End ends the track: consumers get what is queued, then *EndedError. It waits for a decode that is under way,
// and frees the decoder. It is idempotent.
func (t *Track) End(reason EndReason) {
	t.mu.Lock()
	if t.ended != nil {
		t.mu.Unlock()
		return
	}
	t.ended = &EndedError{Reason: reason}
	t.each((*intake).stop)
	t.endKeys()
	layers := t.layers
	consumers := t.consumers
	t.mu.Unlock()
	t.keyFrames.close()
	layers.close()
	if t.video != nil {
		t.video.close()
	} else {
		t.audio.close()
	}
	for _, c := range consumers {
		c.fail(t.ended)
	}
	t.cfg.Pool.tracks.remove(t)
}

// Stats returns counters.
func (t *Track) Stats() TrackStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.Codec, s.SSRC, s.Consumers = t.lastCodec, t.ssrc, len(t.consumers)
	s.Patience = t.reorder.wait()
	if t.layers != nil && t.layers.current != nil {
		s.SSRC = t.layers.current.ssrc
	}
	t.each(func(in *intake) {
		s.Filler += in.assembler.filler
		s.Lost, s.Late, s.Duplicate = s.Lost+in.reorder.lost, s.Late+in.reorder.late, s.Duplicate+in.reorder.duplicate
		s.Unusable += in.assembler.malformed
		s.UnitsDropped += in.assembler.incomplete
	})
	s.KeyFrameAsks = t.keyFrames.asked()
	if v := t.video; v != nil {
		s.Width, s.Height = int(v.width.Load()), int(v.height.Load())
		s.Decoded, s.DecodeErrors, s.Converted = v.decoded.Load(), v.errs.Load(), v.converted.Load()
		s.UnitsDropped += v.dropped.Load()
		s.UnitsSkipped = v.skipped.Load()
		return s
	}
	s.Decoded, s.DecodeErrors = t.audio.decoded.Load(), t.audio.errs.Load()
	s.UnitsDropped += t.audio.dropped.Load()
	return s
}

// TrackStats counts what a track did.
type TrackStats struct {
	Codec                   CodecParameters // of the last packet
	SSRC                    uint32          // of the last packet
	Width, Height           int             // of the last decoded picture; 0 when unknown
	Packets, Bytes          uint64          // received
	Lost                    uint64          // packets given up
	Late, Duplicate         uint64          // packets that came after they were given up, or twice
	Restored                uint64          // missing packets that redundant ones (RFC 2198) brought
	Filler                  uint64          // packets of silence and blank pictures by which an SFU fills a track that is muted
	Patience                time.Duration   // how long packets wait now for one that is missing
	Unusable                uint64          // packets that could not be parsed, or of unknown payload types
	Units                   uint64          // access units or audio packets assembled
	UnitsDropped            uint64          // units not decoded: incomplete, or depending on what was lost
	UnitsSkipped            uint64          // units not decoded since nobody needed them
	Decoded, DecodeErrors   uint64          // units that gave a frame, units that gave an error
	Converted               uint64          // conversions, shared ones counted once
	KeyFrames, KeyFrameAsks uint64          // key frames received, requests sent
	Consumers               int             // attached now
}
