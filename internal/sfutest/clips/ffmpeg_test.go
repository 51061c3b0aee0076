//go:build ffmpeg

package clips_test

import (
	"bytes"
	"fmt"
	"os/exec"
	"testing"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// decode runs the ffmpeg program on a clip's file.
func decode(t *testing.T, c clips.Clip, args ...string) []byte {
	t.Helper()
	file, err := c.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append([]string{"-v", "error", "-i", "pipe:0"}, args...)...)
	cmd.Stdin = bytes.NewReader(file)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, stderr.Bytes())
	}
	return stdout.Bytes()
}

func TestWatermarkIsInEveryPicture(t *testing.T) {
	for _, c := range clips.All() {
		if c.IsAudio() {
			continue
		}
		for _, size := range [][2]int{{c.Width, c.Height}, {320, 180}, {400, 400}} {
			t.Run(fmt.Sprintf("%s/%dx%d", c.Name, size[0], size[1]), func(t *testing.T) {
				w, h := size[0], size[1]
				raw := decode(t, c, "-vf", fmt.Sprintf("scale=%d:%d", w, h), "-pix_fmt", "gray", "-f", "rawvideo", "-")
				frames := len(raw) / (w * h)
				if want := int(c.Length.Seconds()) * c.FPS; frames != want {
					t.Fatalf("%d pictures, want %d", frames, want)
				}
				for i := range frames {
					if id, ok := clips.ReadWatermark(raw[i*w*h:(i+1)*w*h], w, h, w); !ok || id != c.Watermark {
						t.Fatalf("picture %d: watermark %d, %v, want %d", i, id, ok, c.Watermark)
					}
				}
			})
		}
	}
}

func TestToneIsInEverySecond(t *testing.T) {
	for _, c := range clips.All() {
		if !c.IsAudio() {
			continue
		}
		for _, rate := range []int{8000, 16000, 44100, 48000} {
			t.Run(fmt.Sprintf("%s/%d", c.Name, rate), func(t *testing.T) {
				pcm := toSamples(decode(t, c, "-ac", "1", "-ar", fmt.Sprint(rate), "-f", "s16le", "-"))
				if seconds := len(pcm) / rate; seconds < 4 {
					t.Fatalf("only %d seconds", seconds)
				}
				for start := 0; start+rate <= len(pcm); start += rate / 2 {
					if hz, strength := clips.ToneAt(pcm[start:start+rate], rate); hz != c.ToneHz {
						t.Errorf("from sample %d: %d Hz at %.3f, want %d", start, hz, strength, c.ToneHz)
					}
				}
			})
		}
	}
}
