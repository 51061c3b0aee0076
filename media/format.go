package media

import "time"

// SampleFormat is the layout of a PCM sample; channels are interleaved.
type SampleFormat uint8

// The sample formats. The zero value is the default.
const (
	S16LE SampleFormat = iota // signed 16 bit, little endian
	F32LE                     // IEEE 754 32 bit, full scale -1 to 1
)

// PixelFormat is the layout of a picture's bytes.
type PixelFormat uint8

// The pixel formats. The zero value is the default.
const (
	I420  PixelFormat = iota // planes Y, U, V; chroma (w+1)/2 × (h+1)/2
	NV12                     // plane Y, plane UV interleaved
	RGB24                    // bytes R, G, B
	RGBA                     // bytes R, G, B, A=255
	JPEG                     // baseline JFIF
)

// Fit is how a picture is brought into the box asked for.
type Fit uint8

// The fit modes. The zero value is the default.
const (
	Contain Fit = iota // as large as fits, aspect ratio kept
	Cover              // fills the box, the rest is cut off evenly
	Stretch            // exactly the box
)

// AudioFormat asks for decoded PCM.
type AudioFormat struct {
	Sample   SampleFormat
	Rate     int           // 8000, 16000, 24000, 32000, 44100 or 48000 Hz
	Channels int           // 1 or 2
	Chunk    time.Duration // 10 to 100 ms, whole milliseconds
	// OmitSilence leaves silence out that was not sent (DTX, comfort noise), rather than to fill short pauses. Frame.Silence tells how much.
	OmitSilence bool
}

// VideoFormat asks for decoded pictures.
type VideoFormat struct {
	Pixel           PixelFormat
	Width, Height   int // the box in pixels; 0 does not limit
	Fit             Fit
	AllowUpscale    bool
	MaxFPS          float64 // 0 does not limit
	JPEGQuality     int     // 1 to 100
	ReportRotation  bool    // leave the picture as coded, and report the turn that is needed
	AllowRowPadding bool    // Plane.Stride may exceed the row
}

// Overflow is what happens when a consumer's queue is full.
type Overflow uint8

// The overflow actions. The zero value is the default.
const (
	DropOldest Overflow = iota
	Disconnect
)

// Queue bounds what is kept for a consumer that reads slowly.
type Queue struct {
	MaxBytes    int           // 0 is DefaultQueueBytes
	MaxDuration time.Duration // 0 is DefaultQueueDuration
	Overflow    Overflow
}

// Defaults of Queue.
const (
	DefaultQueueBytes    = 16 << 20
	DefaultQueueDuration = 500 * time.Millisecond
)

// Request is what a consumer asks of a track. At most one of Audio, Video and Encoded is set; none is the
// default of the track's kind.
type Request struct {
	Audio   *AudioFormat
	Video   *VideoFormat
	Encoded bool
	// AcceptCodecs limits an encoded request; empty accepts any.
	AcceptCodecs []Codec
	Queue        Queue
	// StallAfter ends a consumer whose queue overflows and that has not been read for so long, whatever Overflow says. 0 never does.
	StallAfter time.Duration
	// Stalled is called when the consumer has ended with ErrStalled: whoever reads it may be blocked in something else. It may be called more
	// than once, must not block, and must call nothing of the track. It may be nil.
	Stalled func()
	// Limited is called when the pool becomes too slow for what the consumer asks, and when that is over: see EventQualityLimited. Its
	// size is for whoever asks the sender. It must not block, and must call nothing of the track. It may be nil.
	Limited func(QualityLimit)
	// MaxPayloadBytes is the largest payload that the consumer can take; 0 is no limit. A picture beyond it is
	// not converted; EventTooLarge says so, once until it fits again.
	MaxPayloadBytes int
	// NotBefore leaves out what was received before it, so that a consumer that comes back to the media sees nothing twice. Zero is what
	// serves best: the consumer starts at once with what was received last.
	NotBefore time.Time
	// Replay asks for what was received just before: as much of it as the track has kept, MaxReplay at most, and nothing
	// from before NotBefore. Audio only.
	Replay time.Duration
}
