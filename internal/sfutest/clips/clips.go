// Package clips embeds small clips of real encoded media, and tells by looking at decoded pictures and
// samples which clip they came from. It is for tests and for the demo.
//
// Every video carries a watermark, every microphone a quiet tone: see [ReadWatermark] and [ToneAt]. README.md
// of the directory names sources and licences; make.sh makes the files.
package clips

import (
	"embed"
	"fmt"
	"time"
)

//go:embed *.ivf *.h264 *.ogg
var files embed.FS

// Codec is the encoding of a clip.
type Codec string

// The codecs, as in SDP's a=rtpmap.
const (
	VP8  Codec = "VP8"
	H264 Codec = "H264"
	Opus Codec = "opus"
	PCMU Codec = "PCMU" // ITU-T G.711
)

// Clip describes one clip. It is a value; the media is read by [Clip.Units] or [Clip.Open].
type Clip struct {
	// Name is the name of its file, if it has one.
	Name  string
	Codec Codec
	// ClockRate is in ticks a second of the RTP timestamp (RFC 7741, RFC 6184, RFC 7587).
	ClockRate uint32
	// Length of one round. The clip then starts again.
	Length time.Duration

	// Width and Height in pixels and FPS of video.
	Width, Height, FPS int
	// Watermark is what ReadWatermark finds in its pictures, 1 to 254; 0 for audio.
	Watermark int

	// Channels of audio.
	Channels int
	// ToneHz is the frequency that ToneAt finds in its samples; 0 for video.
	ToneHz int
}

// IsAudio tells audio from video.
func (c Clip) IsAudio() bool { return c.Codec == Opus || c.Codec == PCMU }

// UnitsPerSecond is the number of pictures or packets in a second.
func (c Clip) UnitsPerSecond() int {
	if c.IsAudio() {
		return int(time.Second / packetDuration)
	}
	return c.FPS
}

// MimeType is the codec as pion spells it: "video/VP8".
func (c Clip) MimeType() string {
	if c.IsAudio() {
		return "audio/" + string(c.Codec)
	}
	return "video/" + string(c.Codec)
}

// AliceCamera returns the camera of alice.
func AliceCamera() Clip {
	return Clip{Name: "alice-camera.ivf", Codec: VP8, ClockRate: 90000, Length: 5 * time.Second, Width: 1280, Height: 720, FPS: 30, Watermark: 53}
}

// CarolLayers returns the camera of carol in three encodings of the same pictures, the smallest first. Each begins with its only key frame.
func CarolLayers() []Clip {
	layer := Clip{Codec: VP8, ClockRate: 90000, Length: 2 * time.Second, FPS: 15}
	small, middle, large := layer, layer, layer
	small.Name, small.Width, small.Height, small.Watermark = "carol-q.ivf", 160, 90, 21
	middle.Name, middle.Width, middle.Height, middle.Watermark = "carol-h.ivf", 320, 180, 42
	large.Name, large.Width, large.Height, large.Watermark = "carol-f.ivf", 640, 360, 84
	return []Clip{small, middle, large}
}

// BobCamera returns the camera of bob.
func BobCamera() Clip {
	return Clip{Name: "bob-camera.h264", Codec: H264, ClockRate: 90000, Length: 4 * time.Second, Width: 640, Height: 360, FPS: 30, Watermark: 154}
}

// BobScreen returns the screen share of bob.
func BobScreen() Clip {
	return Clip{Name: "bob-screen.h264", Codec: H264, ClockRate: 90000, Length: 5 * time.Second, Width: 1280, Height: 720, FPS: 10, Watermark: 198}
}

// AliceMicrophone returns the microphone of alice.
func AliceMicrophone() Clip {
	return Clip{Name: "alice-microphone.ogg", Codec: Opus, ClockRate: 48000, Length: 5 * time.Second, Channels: 1, ToneHz: 1000}
}

// BobMicrophone returns the microphone of bob.
func BobMicrophone() Clip {
	return Clip{Name: "bob-microphone.ogg", Codec: Opus, ClockRate: 48000, Length: 5 * time.Second, Channels: 2, ToneHz: 1500}
}

// Telephone returns a microphone of a telephone. It is no file: it is made when it is opened, and has its tone only.
func Telephone() Clip {
	return Clip{Name: "telephone", Codec: PCMU, ClockRate: 8000, Length: time.Second, Channels: 1, ToneHz: 2200}
}

// All returns every clip that is a file.
func All() []Clip {
	return append([]Clip{AliceCamera(), BobCamera(), BobScreen(), AliceMicrophone(), BobMicrophone()}, CarolLayers()...)
}

// ByName returns the clip of that name, or ErrUnknownClip.
func ByName(name string) (Clip, error) {
	for _, c := range All() {
		if c.Name == name {
			return c, nil
		}
	}
	return Clip{}, fmt.Errorf("%w: %q", ErrUnknownClip, name)
}

// Bytes returns the clip's file: IVF, an Annex B byte stream (ITU-T H.264) or Ogg (RFC 7845).
func (c Clip) Bytes() ([]byte, error) {
	b, err := files.ReadFile(c.Name)
	if err != nil {
		return nil, fmt.Errorf("%w: %q", ErrUnknownClip, c.Name)
	}
	return b, nil
}
