package main

import (
	"flag"
	"fmt"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// load is what is sent: so many sessions of so many tracks of one kind.
type load struct {
	kind     string // "video" or "audio"
	sessions int
	tracks   int // in each session
}

// flags declares the load's flags.
func (l *load) flags(f *flag.FlagSet) {
	f.StringVar(&l.kind, "kind", "video", "video or audio")
	f.IntVar(&l.sessions, "sessions", 1, "number of sessions")
	f.IntVar(&l.tracks, "tracks", 4, "tracks in each session")
}

// args are the flags that say this load.
func (l load) args() []string {
	return []string{"-kind", l.kind, "-sessions", fmt.Sprint(l.sessions), "-tracks", fmt.Sprint(l.tracks)}
}

func (l load) validate() error {
	if l.kind != "video" && l.kind != "audio" || l.sessions < 1 || l.tracks < 1 {
		return fmt.Errorf("%w: a load is video or audio, and at least one session of one track", errUsage)
	}
	return nil
}

// clip is what each track sends, round after round.
func (l load) clip() clips.Clip {
	if l.kind == "audio" {
		return clips.BobMicrophone()
	}
	return clips.AliceCamera()
}

func (l load) source() penstockv1.Source {
	if l.kind == "audio" {
		return penstockv1.Source_SOURCE_MICROPHONE
	}
	return penstockv1.Source_SOURCE_CAMERA
}

// rate is how many frames a second the whole load sends.
func (l load) rate() float64 {
	return float64(l.sessions * l.tracks * l.clip().UnitsPerSecond())
}

// interval is the time between two frames of one track.
func (l load) interval() time.Duration {
	return time.Second / time.Duration(l.clip().UnitsPerSecond())
}

func sessionID(i int) string { return fmt.Sprintf("bench-%d", i) }

func participantID(i int) string { return fmt.Sprintf("publisher-%d", i) }
