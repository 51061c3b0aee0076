package media

import (
	"bytes"
	"fmt"
	"math"
	"sync/atomic"
	"testing"

	"github.com/penstock-media/penstock/media/internal/cmem"
	"github.com/penstock-media/penstock/media/internal/picture"
	"github.com/penstock-media/penstock/media/internal/yuv"
)

// stillPicture is a picture in Go memory.
type stillPicture struct {
	im   picture.Image
	refs atomic.Int32
}

func newStill(im *picture.Image) *stillPicture {
	p := &stillPicture{im: *im}
	p.refs.Store(1)
	return p
}

func (p *stillPicture) Size() (int, int)                  { return p.im.Width, p.im.Height }
func (p *stillPicture) Tag() int64                        { return 0 }
func (p *stillPicture) Download() (*picture.Image, error) { return &p.im, nil }
func (p *stillPicture) Retain()                           { p.refs.Add(1) }
func (p *stillPicture) Release()                          { p.refs.Add(-1) }

const photoW, photoH = 161, 91

func photo(t testing.TB) *picture.Image {
	t.Helper()
	return yuv.I420In(fixture(t, "photo.i420.gz"), photoW, photoH)
}

// convertTo runs a conversion and returns the payload's bytes, after checking what was said about them.
func convertTo(t testing.TB, im *picture.Image, rotation int, f VideoFormat) ([]byte, plan) {
	t.Helper()
	pl, err := planVideo(im.Width, im.Height, rotation, f)
	if err != nil {
		t.Fatal(err)
	}
	p := newStill(im)
	payload, planes, err := convertVideo(p, pl)
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.Join(payload.Parts(), nil)
	if len(out) != payload.Len() || f.Pixel != JPEG && len(out) != pl.bytes || f.Pixel == JPEG && len(planes) != 0 {
		t.Errorf("%d bytes, said %d, planned %d; %d planes", len(out), payload.Len(), pl.bytes, len(planes))
	}
	payload.Release()
	if n := p.refs.Load(); n != 1 {
		t.Errorf("picture has %d references, want the caller's", n)
	}
	return out, pl
}

// psnr returns the peak ratio in dB of two pictures of the same format.
func psnr(t testing.TB, want, got []byte) float64 {
	t.Helper()
	if len(want) != len(got) || len(want) == 0 {
		t.Fatalf("%d bytes, want %d", len(got), len(want))
	}
	var sum float64
	for i := range want {
		d := float64(want[i]) - float64(got[i])
		sum += d * d
	}
	return 10 * math.Log10(255*255*float64(len(want))/sum)
}

func TestF2_AgainstSwscale(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		fixture  string
		rotation int
		format   VideoFormat
		matrix   picture.Matrix
		full     bool
		min      float64 // dB
	}{
		{"photo.i420", 0, VideoFormat{}, picture.BT601, false, inf},
		{"photo.nv12", 0, VideoFormat{Pixel: NV12}, picture.BT601, false, inf},
		{"photo-90.i420", 90, VideoFormat{}, picture.BT601, false, inf},
		{"photo-180.i420", 180, VideoFormat{}, picture.BT601, false, inf},
		{"photo-270.i420", 270, VideoFormat{}, picture.BT601, false, inf},
		{"photo-80x45.i420", 0, VideoFormat{Width: 80, Height: 60}, picture.BT601, false, 35},
		{"photo-121x68.i420", 0, VideoFormat{Height: 68, Width: 121, Fit: Stretch}, picture.BT601, false, 30},
		{"photo-241x137.i420", 0, VideoFormat{Width: 241, Height: 137, Fit: Stretch, AllowUpscale: true}, picture.BT601, false, 35},
		{"photo-601.rgb", 0, VideoFormat{Pixel: RGB24}, picture.BT601, false, 36.5},
		{"photo-601-full.rgb", 0, VideoFormat{Pixel: RGB24}, picture.BT601, true, 36.5},
		{"photo-709.rgb", 0, VideoFormat{Pixel: RGB24}, picture.BT709, false, 36.5},
		{"photo-709-full.rgb", 0, VideoFormat{Pixel: RGB24}, picture.BT709, true, 36.5},
		{"photo-2020.rgb", 0, VideoFormat{Pixel: RGB24}, picture.BT2020, false, 36.5},
	} {
		t.Run(c.fixture, func(t *testing.T) {
			checkMemory(t)
			im := photo(t)
			im.Matrix, im.FullRange = c.matrix, c.full
			got, _ := convertTo(t, im, c.rotation, c.format)
			db := psnr(t, fixture(t, c.fixture+".gz"), got)
			if db < c.min {
				t.Errorf("PSNR %.1f dB, want %.1f", db, c.min)
			}
			t.Logf("PSNR %.1f dB", db)
		})
	}
}

func TestF2_OtherLayouts(t *testing.T) {
	for _, name := range []string{"h264-422", "h264-444", "h264-10bit"} {
		t.Run(name, func(t *testing.T) {
			checkMemory(t)
			p := decodeOne(t, openVideo(t, CodecH264), clipUnits(t, name+".h264")[0], 0)
			defer p.Release()
			im, err := p.Download()
			if err != nil {
				t.Fatal(err)
			}
			got, _ := convertTo(t, im, 0, VideoFormat{})
			if db := psnr(t, fixture(t, name+".i420.gz"), got); db < 38 {
				t.Errorf("PSNR %.1f dB", db)
			}
		})
	}
}

// flat is a picture of one colour, R, G, B from 0 to 1, by the definition of the matrices (ITU-R BT.601, BT.709, BT.2020).
func flat(w, h int, rgb [3]float64, kr, kb float64, full bool) *picture.Image {
	y := kr*rgb[0] + (1-kr-kb)*rgb[1] + kb*rgb[2]
	u, v := (rgb[2]-y)/(2*(1-kb)), (rgb[0]-y)/(2*(1-kr))
	scaleY, scaleC, offset := 219.0, 224.0, 16.0
	if full {
		scaleY, scaleC, offset = 255, 255, 0
	}
	n, _, _ := yuv.I420Size(w, h)
	im := yuv.I420In(make([]byte, n), w, h)
	for i, value := range []float64{y*scaleY + offset, u*scaleC + 128, v*scaleC + 128} {
		for k := range im.Planes[i] {
			im.Planes[i][k] = byte(min(math.Round(value), 255))
		}
	}
	im.FullRange = full
	return im
}

func TestF2_FlatColours(t *testing.T) {
	colours := [][3]float64{{1, 1, 1}, {0, 0, 0}, {1, 0, 0}, {0, 1, 0}, {0, 0, 1}, {1, 1, 0}, {0.5, 0.25, 0.75}}
	// On x86 libyuv's factor for blue ends at 2.0, where BT.709 and BT.2020 have 2.11 and 2.14: 14 levels in the extreme.
	for _, m := range []struct {
		matrix    picture.Matrix
		kr, kb    float64
		tolerance float64
	}{{picture.BT601, 0.299, 0.114, 3}, {picture.BT709, 0.2126, 0.0722, 15}, {picture.BT2020, 0.2627, 0.0593, 17}} {
		for _, full := range []bool{false, true} {
			for _, rgb := range colours {
				im := flat(7, 5, rgb, m.kr, m.kb, full)
				im.Matrix = m.matrix
				name := fmt.Sprintf("matrix %d full %v colour %v", m.matrix, full, rgb)
				out, _ := convertTo(t, im, 0, VideoFormat{Pixel: RGB24})
				checkColour(t, name+" RGB24", out, 3, rgb, m.tolerance)
				out, _ = convertTo(t, im, 0, VideoFormat{Pixel: RGBA})
				checkColour(t, name+" RGBA", out, 4, rgb, m.tolerance)
				out, _ = convertTo(t, im, 90, VideoFormat{Pixel: RGB24, Width: 3})
				checkColour(t, name+" RGB24 scaled and turned", out, 3, rgb, m.tolerance+2)
				out, pl := convertTo(t, im, 0, VideoFormat{Pixel: JPEG, JPEGQuality: 95})
				checkColour(t, name+" JPEG", decodeJPEG(t, out, pl.width, pl.height), 3, rgb, m.tolerance+3)
			}
		}
	}
}

func checkColour(t *testing.T, name string, out []byte, pixel int, rgb [3]float64, tolerance float64) {
	t.Helper()
	for at := 0; at < len(out); at += pixel {
		for c := range rgb {
			if math.Abs(float64(out[at+c])-255*rgb[c]) > tolerance {
				t.Fatalf("%s: byte %d is %d", name, at+c, out[at+c])
			}
		}
		if pixel == 4 && out[at+3] != 255 {
			t.Fatalf("%s: alpha is %d", name, out[at+3])
		}
	}
}

// Every pixel format, fit and turn on odd and tiny sizes gives what the plan says.
func TestF2_OddSizes(t *testing.T) {
	checkMemory(t)
	for _, s := range []size{{1, 1}, {1, 7}, {2, 3}, {3, 2}, {5, 5}, {17, 9}, {33, 31}} {
		n, _, _ := yuv.I420Size(s.w, s.h)
		im := yuv.I420In(bytes.Repeat([]byte{100}, n), s.w, s.h)
		for pixel := I420; pixel <= JPEG; pixel++ {
			for fit := Contain; fit <= Stretch; fit++ {
				for rotation := 0; rotation < 360; rotation += 90 {
					for _, up := range []bool{false, true} {
						convertTo(t, im, rotation, VideoFormat{Pixel: pixel, Width: 9, Height: 5, Fit: fit, AllowUpscale: up})
					}
				}
			}
		}
	}
}

// A turned and scaled picture must be the same as one scaled by hand and then turned.
func TestF2_TurnAndScaleTogether(t *testing.T) {
	checkMemory(t)
	scaled, pl := convertTo(t, photo(t), 0, VideoFormat{Width: 80})
	turned, _ := convertTo(t, yuv.I420In(scaled, pl.width, pl.height), 90, VideoFormat{})
	both, pl := convertTo(t, photo(t), 90, VideoFormat{Height: 80})
	if pl.width != 45 || pl.height != 80 || !bytes.Equal(both, turned) {
		t.Errorf("%d×%d, same %v", pl.width, pl.height, bytes.Equal(both, turned))
	}
}

func TestF2_CoverCutsEvenly(t *testing.T) {
	checkMemory(t)
	n, _, _ := yuv.I420Size(64, 16)
	im := yuv.I420In(bytes.Repeat([]byte{128}, n), 64, 16)
	for i := range im.Planes[0] { // luma is the column
		im.Planes[0][i] = byte(i % 64)
	}
	out, pl := convertTo(t, im, 0, VideoFormat{Width: 16, Height: 16, Fit: Cover})
	if pl.width != 16 || pl.height != 16 || out[0] != 24 || out[15] != 39 {
		t.Errorf("%d×%d from column %d to %d, want 24 to 39", pl.width, pl.height, out[0], out[15])
	}
}

// What the decoder made is sent from where it lies.
func TestF2_NoCopyOfDecodedPlanes(t *testing.T) {
	checkMemory(t)
	d := openVideo(t, CodecVP8)
	p := decodeOne(t, d, clipUnits(t, "vp8.ivf")[0], 0)
	im, err := p.Download()
	if err != nil {
		t.Fatal(err)
	}
	if !tight(im) {
		t.Fatalf("strides %v of a picture 640 wide: rows are padded", im.Strides)
	}
	pl, err := planVideo(im.Width, im.Height, 0, VideoFormat{})
	if err != nil {
		t.Fatal(err)
	}
	payload, planes, err := convertVideo(p, pl)
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range payload.Parts() {
		if &part[0] != &im.Planes[i][0] || len(part) != len(im.Planes[i]) {
			t.Errorf("plane %d was copied", i)
		}
	}
	if planes[1].Offset != 640*360 || planes[2].Offset != 640*360*5/4 || payload.Len() != pl.bytes {
		t.Errorf("planes %v of %d bytes", planes, payload.Len())
	}
	p.Release()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	want := fixture(t, "vp8.md5")
	got := imageSum(yuv.I420In(bytes.Join(payload.Parts(), nil), 640, 360)) // outlives picture and decoder
	if !bytes.HasPrefix(bytes.ReplaceAll(want, []byte(" "), []byte("/")), []byte(got)) {
		t.Errorf("the payload is %s after the decoder is closed", got)
	}
	payload.Release()
}

func TestF2_RowPadding(t *testing.T) {
	checkMemory(t)
	p := decodeOne(t, openVideo(t, CodecVP8), clipUnits(t, "vp8-odd.ivf")[0], 0)
	defer p.Release()
	im, err := p.Download()
	if err != nil {
		t.Fatal(err)
	}
	if tight(im) {
		t.Fatalf("strides %v: no padding to test", im.Strides)
	}
	want := planesOf(im)
	for _, padding := range []bool{false, true} {
		pl, err := planVideo(im.Width, im.Height, 0, VideoFormat{AllowRowPadding: padding})
		if err != nil {
			t.Fatal(err)
		}
		payload, planes, err := convertVideo(p, pl)
		if err != nil {
			t.Fatal(err)
		}
		if shared := len(payload.Parts()) == 3; shared != padding || padding == (planes[0].Stride == im.Width) {
			t.Errorf("padding %v: shared %v, %v", padding, shared, planes)
		}
		if got := rowsAt(bytes.Join(payload.Parts(), nil), planes, im); !bytes.Equal(got, want) {
			t.Errorf("padding %v: other rows", padding)
		}
		payload.Release()
	}
}

// rowsAt reads planes as a worker does, by offset and stride.
func rowsAt(b []byte, planes []Plane, im *picture.Image) []byte {
	var out []byte
	for i, p := range planes {
		row, rows := im.PlaneSize(i)
		for y := range rows {
			out = append(out, b[p.Offset+y*p.Stride:][:row]...)
		}
	}
	return out
}

func TestF2_AnotherSizeThanPlanned(t *testing.T) {
	pl, err := planVideo(160, 90, 0, VideoFormat{})
	if err != nil {
		t.Fatal(err)
	}
	if payload, _, err := convertVideo(newStill(photo(t)), pl); err == nil {
		payload.Release()
		t.Error("a plan for another size was taken")
	}
}

// A payload that nobody released, as when a connection dies, must not hold the picture for ever.
func TestF16_PayloadForgottenGivesThePictureBack(t *testing.T) {
	checkMemory(t)
	d := openVideo(t, CodecVP8)
	p := decodeOne(t, d, clipUnits(t, "vp8.ivf")[0], 0)
	pl, err := planVideo(640, 360, 0, VideoFormat{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err = convertVideo(p, pl); err != nil {
		t.Fatal(err)
	}
	p.Release()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	collectUntil(t, func() bool { return len(cmem.Live()) == 0 })
}
