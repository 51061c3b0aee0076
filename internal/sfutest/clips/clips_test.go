package clips_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// decodedPicture returns the first picture of a video as the ffmpeg program decoded it, grey, 160×90. index 1 and 2 are later ones.
func decodedPicture(t *testing.T, c clips.Clip, index int) *image.Gray {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", c.Name+".png"))
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return img.(*image.Gray).SubImage(image.Rect(0, 90*index, 160, 90*(index+1))).(*image.Gray)
}

func toSamples(b []byte) []int16 {
	pcm := make([]int16, len(b)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return pcm
}

func TestWatermarkIsInDecodedPictures(t *testing.T) {
	for _, c := range clips.All() {
		for i := 0; i < 3 && !c.IsAudio(); i++ {
			if id, ok := clips.ReadWatermark(clips.Luma(decodedPicture(t, c, i))); !ok || id != c.Watermark {
				t.Errorf("%s, picture %d: watermark %d, %v, want %d", c.Name, i, id, ok, c.Watermark)
			}
		}
	}
}

func TestToneIsInDecodedSound(t *testing.T) {
	const rate = 8000
	for _, c := range clips.All() {
		if !c.IsAudio() {
			continue
		}
		raw, err := os.ReadFile(filepath.Join("testdata", c.Name+".s16le"))
		if err != nil {
			t.Fatal(err)
		}
		pcm := toSamples(raw)
		if len(pcm) != 2*rate {
			t.Errorf("%s: %d samples", c.Name, len(pcm))
		}
		for start := 0; start+rate <= len(pcm); start += rate / 2 {
			if hz, strength := clips.ToneAt(pcm[start:start+rate], rate); hz != c.ToneHz {
				t.Errorf("%s, from sample %d: %d Hz at %.3f, want %d", c.Name, start, hz, strength, c.ToneHz)
			}
		}
	}
}

func TestNoWatermarkWhereNoneIs(t *testing.T) {
	const w, h = 160, 90
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, w*h)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	white := bytes.Repeat([]byte{235}, w*h)
	picture, _, _, _ := clips.Luma(decodedPicture(t, clips.BobCamera(), 0))
	damaged := bytes.Clone(picture)
	for y := 5; y < 10; y++ {
		for x := 5; x < 10; x++ {
			damaged[y*w+x] = 255 - damaged[y*w+x] // one bit of the id turned
		}
	}
	shifted := picture[6*w:]
	for name, luma := range map[string][]byte{
		"noise": noise, "white": white, "black": make([]byte, w*h), "one bit turned": damaged, "a row of blocks lower": append(bytes.Clone(shifted), make([]byte, 6*w)...),
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
	raw, w, h, _ := clips.Luma(decodedPicture(t, c, 1))
	ycbcr := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	rgba := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		copy(ycbcr.Y[y*ycbcr.YStride:], raw[y*w:(y+1)*w])
		for x := range w {
			v := raw[y*w+x]
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
		keys, want := 0, 2
		if c.Length < 3*time.Second {
			want = 1
		}
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
		if !c.IsAudio() && keys != want {
			t.Errorf("%s: %d key frames, want %d", c.Name, keys, want)
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
