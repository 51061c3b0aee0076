package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// recipe is a clip that is too large for the tree, and how ffmpeg makes it of the photo-like one of the tests.
type recipe struct {
	name   string // CODEC-WIDTHxHEIGHT-FPS
	filter string
	encode []string
}

// noise is what keeps enlarged pictures from being cheaper to decode than a camera's.
const noise = "noise=alls=5:allf=t:all_seed=7,format=yuv420p"

// recipes are low-delay encodings as browsers send them: no picture waits for a later one.
func recipes() []recipe {
	return []recipe{
		{"H264-1920x1080-30.h264", "scale=1920:1080," + noise, []string{"-c:v", "libx264", "-profile:v", "baseline", "-level", "4.0",
			"-b:v", "3M", "-maxrate", "3M", "-bufsize", "3M",
			"-x264-params", "keyint=75:min-keyint=75:scenecut=0:bframes=0:slices=1:repeat-headers=1", "-f", "h264"}},
		{"VP9-1920x1080-30.ivf", "scale=1920:1080," + noise, []string{"-c:v", "libvpx-vp9", "-b:v", "3M", "-deadline", "realtime",
			"-cpu-used", "7", "-lag-in-frames", "0", "-auto-alt-ref", "0", "-g", "75", "-row-mt", "1"}},
		{"AV1-1280x720-30.ivf", noise, []string{"-c:v", "libaom-av1", "-b:v", "1400k", "-usage", "realtime", "-cpu-used", "8",
			"-lag-in-frames", "0", "-g", "75", "-row-mt", "1"}},
	}
}

// make returns the clip's file, which is made once and kept in a cache outside of the tree.
func (r recipe) make(ctx context.Context, source, cache string) (string, error) {
	path := filepath.Join(cache, r.name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		return "", fmt.Errorf("%w: there is no ffmpeg program: %w", errNotRun, err)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("make %s: %w", r.name, err)
	}
	half := filepath.Join(cache, "half-made-"+r.name)
	args := append([]string{"-v", "error", "-y", "-i", source, "-vf", r.filter, "-bitexact"}, r.encode...)
	if output, err := exec.CommandContext(ctx, program, append(args, half)...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: ffmpeg cannot make %s: %w: %s", errNotRun, r.name, err, lastLine(output))
	}
	args = []string{"-v", "error", "-y", "-framerate", "30", "-i", half, "-c", "copy", "-f", "matroska", seekable(path)}
	if filepath.Ext(path) == ".ivf" {
		args = append(args[:3], args[5:]...) // it has times of its own
	}
	if output, err := exec.CommandContext(ctx, program, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: ffmpeg cannot pack %s: %w: %s", errNotRun, r.name, err, lastLine(output))
	}
	return path, os.Rename(half, path)
}

// seekable is the same media in a container that ffmpeg can play round after round: a bare stream has no beginning to go back to.
func seekable(path string) string { return path + ".mkv" }

// fileClip tells from a file's name what is in it.
func fileClip(path string) (clips.Clip, error) {
	name := filepath.Base(path)
	c := clips.Clip{Name: name, ClockRate: 90000, Length: 5 * time.Second}
	codec, rest, _ := strings.Cut(name, "-")
	if _, err := fmt.Sscanf(rest, "%dx%d-%d.", &c.Width, &c.Height, &c.FPS); err != nil || c.FPS <= 0 {
		return c, fmt.Errorf("%w: %q is not named CODEC-WIDTHxHEIGHT-FPS", errUsage, name)
	}
	c.Codec = clips.Codec(codec)
	return c, nil
}

// readUnits reads the access units of an IVF file or of an H.264 byte stream with one slice a picture.
func readUnits(path string) (units []clips.Unit, err error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the clip: %w", err)
	}
	if strings.HasSuffix(path, ".h264") {
		units, err = clips.H264Units(file)
	} else {
		units, err = clips.IVFUnits(file)
	}
	if err == nil && len(units) == 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return units, nil
}

// payloaderOf returns what cuts units of a codec into RTP payloads, and the parameters that its offer names.
func payloaderOf(codec clips.Codec) (p rtp.Payloader, fmtp string) {
	switch codec {
	case clips.Opus:
		return &codecs.OpusPayloader{}, "minptime=10;useinbandfec=1"
	case clips.H264:
		return &codecs.H264Payloader{}, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
	case "VP9":
		return &codecs.VP9Payloader{}, "profile-id=0"
	case "AV1":
		return &codecs.AV1Payloader{}, ""
	default:
		return &codecs.VP8Payloader{EnablePictureID: true}, ""
	}
}
