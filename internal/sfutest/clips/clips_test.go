package clips_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"os/exec"
	"testing"
	"time"

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

func toSamples(b []byte) []int16 {
	pcm := make([]int16, len(b)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return pcm
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

func TestNoWatermarkWhereNoneIs(t *testing.T) {
	const w, h = 640, 360
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, w*h)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	white := bytes.Repeat([]byte{235}, w*h)
	strip := clips.BobCamera()
	picture := decode(t, strip, "-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo", "-")
	damaged := bytes.Clone(picture)
	for y := 20; y < 40; y++ {
		for x := 20; x < 40; x++ {
			damaged[y*w+x] = 255 - damaged[y*w+x] // one bit of the id turned
		}
	}
	shifted := picture[25:]
	for name, luma := range map[string][]byte{
		"noise": noise, "white": white, "black": make([]byte, w*h), "one bit turned": damaged, "shifted": append(bytes.Clone(shifted), make([]byte, 25)...),
		"short": picture[:w*h-1], "empty": nil,
	} {
		if id, ok := clips.ReadWatermark(luma, w, h, w); ok {
			t.Errorf("%s: found %d", name, id)
		}
	}
}

func TestNoToneWhereNoneIs(t *testing.T) {
	const rate = 16000
	random := rand.New(rand.NewPCG(3, 4))
	noise, both, other := make([]int16, rate), make([]int16, rate), make([]int16, rate)
	for i := range rate {
		at := 2 * math.Pi * float64(i) / rate
		noise[i] = int16(random.IntN(20000) - 10000)
		both[i] = int16(3000*math.Sin(1000*at) + 3000*math.Sin(1500*at))
		other[i] = int16(9000 * math.Sin(1250*at))
	}
	for name, pcm := range map[string][]int16{
		"noise": noise, "two at once": both, "another frequency": other, "silence": make([]int16, rate), "too short": both[:rate/4], "none": nil,
	} {
		if hz, strength := clips.ToneAt(pcm, rate); hz != 0 {
			t.Errorf("%s: found %d Hz at %.3f", name, hz, strength)
		}
	}
	if hz, _ := clips.ToneAt(other, 0); hz != 0 {
		t.Errorf("rate 0: found %d Hz", hz)
	}
}

func TestToneStrengthIsItsAmplitude(t *testing.T) {
	const rate = 48000
	pcm := make([]int16, rate)
	for i := range pcm {
		pcm[i] = int16(32768 * 0.25 * math.Sin(2*math.Pi*2200*float64(i)/rate))
	}
	hz, strength := clips.ToneAt(pcm, rate)
	if hz != 2200 || math.Abs(strength-0.25) > 0.002 {
		t.Errorf("%d Hz at %.4f, want 2200 at 0.25", hz, strength)
	}
}

func TestLumaOfEveryKindOfImage(t *testing.T) {
	c := clips.AliceCamera()
	raw := decode(t, c, "-frames:v", "1", "-pix_fmt", "gray", "-f", "rawvideo", "-")
	ycbcr := image.NewYCbCr(image.Rect(0, 0, c.Width, c.Height), image.YCbCrSubsampleRatio420)
	rgba := image.NewRGBA(image.Rect(0, 0, c.Width, c.Height))
	for y := range c.Height {
		copy(ycbcr.Y[y*ycbcr.YStride:], raw[y*c.Width:(y+1)*c.Width])
		for x := range c.Width {
			v := raw[y*c.Width+x]
			rgba.SetRGBA(x, y, color.RGBA{v, v, v, 255})
		}
	}
	for _, img := range []image.Image{ycbcr, rgba} {
		if id, ok := clips.ReadWatermark(clips.Luma(img)); !ok || id != c.Watermark {
			t.Errorf("%T: watermark %d, %v", img, id, ok)
		}
	}
}

func TestUnitsFillTheLength(t *testing.T) {
	for _, c := range clips.All() {
		units, err := c.Units()
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		var length time.Duration
		keys := 0
		for _, u := range units {
			length += u.Duration
			if u.KeyFrame {
				keys++
			}
			if len(u.Data) == 0 {
				t.Errorf("%s: empty unit", c.Name)
			}
		}
		if diff := (length - c.Length).Abs(); diff > time.Millisecond {
			t.Errorf("%s: %v long, want %v", c.Name, length, c.Length)
		}
		if !c.IsAudio() && keys != 2 {
			t.Errorf("%s: %d key frames, want 2", c.Name, keys)
		}
	}
}

func TestLoopComesRoundAndSkips(t *testing.T) {
	c := clips.BobScreen()
	units, err := c.Units()
	if err != nil {
		t.Fatal(err)
	}
	loop, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2*len(units) + 1 {
		if u := loop.Next(); !bytes.Equal(u.Data, units[i%len(units)].Data) {
			t.Fatalf("unit %d is not that of the clip", i)
		}
	}
	loop.SkipToKeyFrame()
	if !loop.Next().KeyFrame {
		t.Error("no key frame after SkipToKeyFrame")
	}
}

func TestClipsAreSmallAndDifferent(t *testing.T) {
	total, marks := 0, map[int]string{}
	for _, c := range clips.All() {
		b, err := c.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if total += len(b); len(b) >= 1_000_000 {
			t.Errorf("%s has %d bytes", c.Name, len(b))
		}
		mark := c.Watermark + 1000*c.ToneHz
		if other, taken := marks[mark]; taken {
			t.Errorf("%s and %s have the same mark", c.Name, other)
		}
		marks[mark] = c.Name
		if again, err := clips.ByName(c.Name); err != nil || again != c {
			t.Errorf("ByName(%q) = %v, %v", c.Name, again, err)
		}
	}
	if total >= 2_500_000 {
		t.Errorf("%d bytes together", total)
	}
	if _, err := clips.ByName("nobody"); !errors.Is(err, clips.ErrUnknownClip) {
		t.Errorf("unknown clip: %v", err)
	}
}

func FuzzReadWatermark(f *testing.F) {
	f.Add([]byte{}, 0, 0, 0)
	f.Add(make([]byte, 64*36), 64, 36, 64)
	f.Add(make([]byte, 70*40), 65, 37, 70)
	f.Add([]byte{1, 2, 3}, 1<<20, 1<<20, -5)
	f.Fuzz(func(t *testing.T, luma []byte, w, h, stride int) {
		if id, ok := clips.ReadWatermark(luma, w, h, stride); ok && (id < 0 || id > 255) {
			t.Errorf("id %d", id)
		}
	})
}
