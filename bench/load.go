package main

import (
	"flag"
	"fmt"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// load is what is sent, so many sessions of so many tracks of one kind, and what is taken of it.
type load struct {
	kind     string // "video" or "audio"
	sessions int
	tracks   int // in each session
	// file is a video clip that was made for this run, named CODEC-WIDTHxHEIGHT-FPS.ivf or .h264; empty is one of clips.
	file string
	// consumers is how many streams the worker takes of each track. 0 is one.
	consumers int
	// format is how pictures are taken: "i420", "jpeg" (640x360, one a second) or "glance" (64x36 as I420, one a second). Empty is i420.
	format string
}

// flags declares the load's flags.
func (l *load) flags(f *flag.FlagSet) {
	f.StringVar(&l.kind, "kind", "video", "video or audio")
	f.IntVar(&l.sessions, "sessions", 1, "number of sessions")
	f.IntVar(&l.tracks, "tracks", 4, "tracks in each session")
	f.StringVar(&l.file, "file", "", "a clip of video named CODEC-WIDTHxHEIGHT-FPS.ivf or .h264; empty is one of the tests' clips")
	f.IntVar(&l.consumers, "consumers", 1, "streams that the worker takes of each track")
	f.StringVar(&l.format, "format", "i420", "how the worker takes pictures: i420, jpeg or glance (small, one a second)")
}

// args are the flags that say this load.
func (l load) args() []string {
	args := []string{"-kind", l.kind, "-sessions", fmt.Sprint(l.sessions), "-tracks", fmt.Sprint(l.tracks), "-consumers", fmt.Sprint(max(l.consumers, 1))}
	if l.file != "" {
		args = append(args, "-file", l.file)
	}
	if l.format != "" {
		args = append(args, "-format", l.format)
	}
	return args
}

func (l load) validate() error {
	if l.kind != "video" && l.kind != "audio" || l.sessions < 1 || l.tracks < 1 || l.consumers < 0 {
		return fmt.Errorf("%w: a load is video or audio, and at least one session of one track", errUsage)
	}
	switch l.format {
	case "", "i420", "jpeg", "glance":
	default:
		return fmt.Errorf("%w: pictures are taken as i420, jpeg or glance", errUsage)
	}
	if l.file != "" {
		_, err := fileClip(l.file)
		return err
	}
	return nil
}

// clip is what each track sends, round after round.
func (l load) clip() clips.Clip {
	if l.kind == "audio" {
		return clips.BobMicrophone()
	}
	if l.file != "" {
		c, _ := fileClip(l.file) // validate has checked it
		return c
	}
	return clips.AliceCamera()
}

// units reads one round of the clip.
func (l load) units() ([]clips.Unit, error) {
	if l.file != "" {
		return readUnits(l.file)
	}
	return l.clip().Units()
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

// delivery is how many frames a second the worker is to get.
func (l load) delivery() float64 {
	if l.format == "jpeg" || l.format == "glance" {
		return float64(l.sessions * l.tracks * max(l.consumers, 1))
	}
	return l.rate() * float64(max(l.consumers, 1))
}

// interval is the time between two frames of one track.
func (l load) interval() time.Duration {
	return time.Second / time.Duration(l.clip().UnitsPerSecond())
}

// sessionID names a session; loads of two kinds may share a gateway.
func (l load) sessionID(i int) string { return fmt.Sprintf("bench-%s-%d", l.kind, i) }

func participantID(i int) string { return fmt.Sprintf("publisher-%d", i) }
