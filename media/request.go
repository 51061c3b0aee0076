package media

import (
	"fmt"
	"slices"
	"time"
)

// normalize fills every default in and checks the request against the kind of the track. Errors: *FormatError,
// ErrKindMismatch, ErrNotImplemented.
func (r Request) normalize(kind Kind) (Request, error) {
	if r.Encoded && (r.Audio != nil || r.Video != nil) || r.Audio != nil && r.Video != nil {
		return r, &FormatError{Field: "format", Text: "more than one format; set one of audio, video and encoded"}
	}
	if r.Audio != nil && kind != KindAudio || r.Video != nil && kind != KindVideo {
		return r, fmt.Errorf("%w: the track is %s", ErrKindMismatch, kind)
	}
	var err error
	switch {
	case r.Encoded:
	case kind == KindAudio:
		r.Audio, err = r.Audio.normalize()
	default:
		r.Video, err = r.Video.normalize()
	}
	r.Replay = min(max(r.Replay, 0), MaxReplay)
	if r.Queue.MaxBytes <= 0 {
		r.Queue.MaxBytes = DefaultQueueBytes
	}
	if r.Queue.MaxDuration <= 0 {
		r.Queue.MaxDuration = DefaultQueueDuration
	}
	return r, err
}

var audioRates = []int{8000, 16000, 24000, 32000, 44100, 48000}

// Defaults of AudioFormat.
const (
	DefaultAudioRate  = 48000
	DefaultAudioChunk = 20 * time.Millisecond
)

func (f *AudioFormat) normalize() (*AudioFormat, error) {
	n := AudioFormat{}
	if f != nil {
		n = *f
	}
	if n.Rate == 0 {
		n.Rate = DefaultAudioRate
	}
	if n.Channels == 0 {
		n.Channels = 1
	}
	if n.Chunk == 0 {
		n.Chunk = DefaultAudioChunk
	}
	switch {
	case !slices.Contains(audioRates, n.Rate):
		return nil, &FormatError{"sample_rate_hz", fmt.Sprintf("%d is not offered; use 8000, 16000, 24000, 32000, 44100 or 48000", n.Rate)}
	case n.Channels < 1 || n.Channels > 2:
		return nil, &FormatError{"channels", fmt.Sprintf("%d is not offered; use 1 or 2", n.Channels)}
	case n.Chunk < 10*time.Millisecond || n.Chunk > 100*time.Millisecond || n.Chunk%time.Millisecond != 0:
		return nil, &FormatError{"chunk_ms", fmt.Sprintf("%v is not offered; use 10 to 100 ms", n.Chunk)}
	case n.Sample > F32LE:
		return nil, &FormatError{"sample_format", "not a sample format; use S16LE or F32LE"}
	}
	return &n, nil
}

// Bounds and defaults of VideoFormat.
const (
	MaxBoxPixels       = 8192 // in each direction
	MaxFPS             = 240
	DefaultJPEGQuality = 80
)

func (f *VideoFormat) normalize() (*VideoFormat, error) {
	n := VideoFormat{}
	if f != nil {
		n = *f
	}
	if n.JPEGQuality == 0 {
		n.JPEGQuality = DefaultJPEGQuality
	}
	if !(n.MaxFPS >= 0 && n.MaxFPS <= MaxFPS) { // not a number too
		return nil, &FormatError{"max_fps", fmt.Sprintf("%v is not offered; use more than 0 and at most %d, or 0 for no limit", n.MaxFPS, MaxFPS)}
	}
	if err := checkVideoFormat(n); err != nil {
		return nil, err
	}
	return &n, nil
}
