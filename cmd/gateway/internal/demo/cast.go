// Package demo plays a small call on one machine and proves by its content that every frame came from the right
// source: a publisher process (an SFU made of pion, with clips of real encoded media), the gateway, and
// workers that stream over gRPC.
package demo

import (
	"slices"
	"strings"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// Names of the tracks in the demo: in commands, in the table, and of the files.
const (
	aliceCamera     = "alice-camera"
	aliceMicrophone = "alice-microphone"
	bobCamera       = "bob-camera"
	bobMicrophone   = "bob-microphone"
	bobScreen       = "bob-screen"
)

// role is one track of the call: who publishes what, and how a worker asks for it.
type role struct {
	name        string
	participant sfutest.Participant
	source      penstockv1.Source
	clip        clips.Clip
	format      *penstockv1.StreamFormat
	// byTrackID makes the worker select the track by its id, so that the stream ends with it. Otherwise it is by
	// participant, or by user.
	byTrackID, byUser bool
}

// cast returns the tracks of the call in the order of the table.
func cast() []role {
	alice := sfutest.Participant{ParticipantID: "alice-laptop", UserID: "alice", Name: "Alice", Prefix: "a1b2c3d4"}
	bob := sfutest.Participant{ParticipantID: "bob-desktop", UserID: "bob", Name: "Bob", Prefix: "e5f6a7b8"}
	return []role{
		{
			name: aliceCamera, participant: alice, source: penstockv1.Source_SOURCE_CAMERA, clip: clips.AliceCamera(),
			format: videoFormat(&penstockv1.VideoFormat{PixelFormat: penstockv1.PixelFormat_PIXEL_FORMAT_I420}),
		},
		{
			name: aliceMicrophone, participant: alice, source: penstockv1.Source_SOURCE_MICROPHONE, clip: clips.AliceMicrophone(),
			format: speechFormat(), byUser: true,
		},
		{
			name: bobCamera, participant: bob, source: penstockv1.Source_SOURCE_CAMERA, clip: clips.BobCamera(), byTrackID: true,
			format: videoFormat(&penstockv1.VideoFormat{PixelFormat: penstockv1.PixelFormat_PIXEL_FORMAT_RGB24, Width: 480, Height: 270, MaxFps: 15}),
		},
		{
			name: bobMicrophone, participant: bob, source: penstockv1.Source_SOURCE_MICROPHONE, clip: clips.BobMicrophone(),
			format: speechFormat(),
		},
		{
			name: bobScreen, participant: bob, source: penstockv1.Source_SOURCE_SCREEN_SHARE, clip: clips.BobScreen(),
			format: videoFormat(&penstockv1.VideoFormat{PixelFormat: penstockv1.PixelFormat_PIXEL_FORMAT_JPEG, JpegQuality: 85}),
		},
	}
}

func videoFormat(f *penstockv1.VideoFormat) *penstockv1.StreamFormat {
	return &penstockv1.StreamFormat{Format: &penstockv1.StreamFormat_Video{Video: f}}
}

// speechFormat is what speech recognition takes: 16 kHz mono in chunks of 20 ms.
func speechFormat() *penstockv1.StreamFormat {
	return &penstockv1.StreamFormat{Format: &penstockv1.StreamFormat_Audio{Audio: &penstockv1.AudioFormat{
		SampleFormat: penstockv1.SampleFormat_SAMPLE_FORMAT_S16LE, SampleRateHz: 16000, Channels: 1, ChunkMs: 20,
	}}}
}

// perSecond is the number of frames a second that the worker should get.
func (r role) perSecond() float64 {
	if v := r.format.GetVideo(); v.GetMaxFps() > 0 {
		return min(v.GetMaxFps(), float64(r.clip.FPS))
	}
	return float64(r.clip.UnitsPerSecond())
}

// sourceName is the source in words.
func (r role) sourceName() string { return inWords(r.source.String(), "SOURCE_") }

// inWords makes words of the name of an enumeration's value.
func inWords(name, prefix string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, prefix), "_", " "))
}

// Fault is something that the publisher does wrong on purpose, to show that the demo would notice.
type Fault string

// The faults.
const (
	FaultNone        Fault = "none"
	FaultCameras     Fault = "cameras"     // bob's camera shows what alice's should
	FaultMicrophones Fault = "microphones" // the microphones are exchanged
	FaultMissing     Fault = "missing"     // the screen is announced, but never sent
)

// clipOf returns the clip that the publisher sends for a role.
func clipOf(r role, fault Fault) clips.Clip {
	switch {
	case fault == FaultCameras && r.name == bobCamera:
		return clips.AliceCamera()
	case fault == FaultMicrophones && r.name == bobMicrophone:
		return clips.AliceMicrophone()
	case fault == FaultMicrophones && r.name == aliceMicrophone:
		return clips.BobMicrophone()
	default:
		return r.clip
	}
}

// find returns the role of that name, or false.
func find(name string) (role, bool) {
	all := cast()
	i := slices.IndexFunc(all, func(r role) bool { return r.name == name })
	if i < 0 {
		return role{}, false
	}
	return all[i], true
}
