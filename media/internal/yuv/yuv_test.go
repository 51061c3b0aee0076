package yuv

import (
	"bytes"
	"errors"
	"testing"

	"github.com/penstock-media/penstock/media/internal/picture"
)

// gradient returns an image in which every sample tells its plane and place.
func gradient(w, h int) *picture.Image {
	n, _, _ := I420Size(w, h)
	im := I420In(make([]byte, n), w, h)
	for i := range im.Planes {
		row, rows := im.PlaneSize(i)
		for y := range rows {
			for x := range row {
				im.Planes[i][y*im.Strides[i]+x] = byte(i*80 + x*3 + y*5)
			}
		}
	}
	return im
}

func blank(w, h int) *picture.Image {
	n, _, _ := I420Size(w, h)
	return I420In(make([]byte, n), w, h)
}

func same(a, b *picture.Image) bool {
	for i := range a.Planes {
		if !bytes.Equal(a.Planes[i], b.Planes[i]) {
			return false
		}
	}
	return true
}

func TestSizesRoundChromaUp(t *testing.T) {
	for _, c := range [][5]int{{1, 1, 3, 1, 2}, {2, 2, 6, 4, 5}, {3, 3, 17, 9, 13}, {321, 179, 321*179 + 2*161*90, 321 * 179, 321*179 + 161*90}} {
		if size, u, v := I420Size(c[0], c[1]); size != c[2] || u != c[3] || v != c[4] {
			t.Errorf("%d×%d: %d, %d, %d", c[0], c[1], size, u, v)
		}
	}
}

func TestFourQuarterTurnsAreNone(t *testing.T) {
	for _, s := range [][2]int{{8, 6}, {7, 5}, {1, 3}, {33, 17}} {
		src := gradient(s[0], s[1])
		im := src
		for range 4 {
			dst := blank(im.Height, im.Width)
			if err := Rotate(dst, im, 90); err != nil {
				t.Fatal(err)
			}
			im = dst
		}
		if !same(im, src) {
			t.Errorf("%v: changed", s)
		}
	}
}

func TestTurnIsClockwise(t *testing.T) {
	src, dst := gradient(5, 3), blank(3, 5)
	if err := Rotate(dst, src, 90); err != nil {
		t.Fatal(err)
	}
	if got, want := dst.Planes[0][2], src.Planes[0][0]; got != want { // top left goes to top right
		t.Errorf("top right is %d, want %d", got, want)
	}
}

func TestScaleKeepsFlatColour(t *testing.T) {
	src := blank(31, 17)
	for i, v := range []byte{200, 90, 30} {
		for k := range src.Planes[i] {
			src.Planes[i][k] = v
		}
	}
	for _, s := range [][2]int{{1, 1}, {15, 8}, {62, 34}, {100, 3}} {
		dst := blank(s[0], s[1])
		if err := Scale(dst, src); err != nil {
			t.Fatal(err)
		}
		for i, v := range []byte{200, 90, 30} {
			for _, got := range dst.Planes[i] { // libyuv's averages round down
				if got != v && got != v-1 {
					t.Fatalf("%v: plane %d has %d, want %d", s, i, got, v)
				}
			}
		}
	}
}

func TestScaleDownAverages(t *testing.T) {
	src := blank(8, 8)
	for i := range src.Planes[0] { // stripes of one pixel must not alias
		src.Planes[0][i] = byte(i % 2 * 200)
	}
	dst := blank(2, 2)
	if err := Scale(dst, src); err != nil {
		t.Fatal(err)
	}
	for _, v := range dst.Planes[0] {
		if v < 99 || v > 101 {
			t.Errorf("luma %v, want 100", dst.Planes[0])
		}
	}
}

func TestCropIsAView(t *testing.T) {
	src := gradient(16, 10)
	view, err := Crop(src, 5, 3, 7, 5) // from 4, 2
	if err != nil {
		t.Fatal(err)
	}
	if view.Width != 7 || view.Height != 5 || &view.Planes[0][0] != &src.Planes[0][2*16+4] || &view.Planes[1][0] != &src.Planes[1][8+2] {
		t.Errorf("another place: %d×%d", view.Width, view.Height)
	}
	out := blank(7, 5)
	if err := ToI420(out, view); err != nil {
		t.Fatal(err)
	}
	if out.Planes[0][7+1] != src.Planes[0][3*16+5] || out.Planes[2][4+1] != src.Planes[2][2*8+3] {
		t.Error("other samples")
	}
}

func TestNV12Interleaves(t *testing.T) {
	src := gradient(5, 3)
	n, uv, _ := I420Size(5, 3)
	out := make([]byte, n)
	if err := ToNV12(out, src); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out[:uv], src.Planes[0]) || out[uv] != src.Planes[1][0] || out[uv+1] != src.Planes[2][0] || out[n-1] != src.Planes[2][5] {
		t.Errorf("%v", out)
	}
}

func TestGeometryIsCheckedBeforeC(t *testing.T) {
	good, small := gradient(8, 8), blank(4, 4)
	short := *good
	short.Planes[2] = short.Planes[2][:15]
	narrow := *good
	narrow.Strides[0] = 7
	huge := *good
	huge.Width = MaxSide + 1
	other := *good
	other.Layout = picture.I444
	none := picture.Image{Layout: picture.I420}
	for name, bad := range map[string]*picture.Image{"short": &short, "narrow": &narrow, "huge": &huge, "other": &other, "none": &none} {
		rgb := make([]byte, 8*8*4)
		for call, err := range map[string]error{
			"scale from": Scale(small, bad), "scale to": Scale(bad, small), "rotate": Rotate(blank(8, 8), bad, 90),
			"convert": ToI420(blank(8, 8), bad), "convert to": ToI420(bad, good), "nv12": ToNV12(rgb, bad), "rgb": ToRGB24(rgb, bad), "rgba": ToRGBA(rgb, bad),
		} {
			if !errors.Is(err, ErrGeometry) {
				t.Errorf("%s %s: %v", call, name, err)
			}
		}
		if _, err := Crop(bad, 0, 0, 2, 2); !errors.Is(err, ErrGeometry) {
			t.Errorf("crop %s: %v", name, err)
		}
	}
	for call, err := range map[string]error{
		"turn to another size": Rotate(small, good, 180), "turn by 45": Rotate(blank(8, 8), good, 45),
		"convert to another size": ToI420(small, good), "nv12 into little": ToNV12(make([]byte, 95), good),
		"rgb into little": ToRGB24(make([]byte, 191), good), "rgba into little": ToRGBA(make([]byte, 255), good),
	} {
		if !errors.Is(err, ErrGeometry) {
			t.Errorf("%s: %v", call, err)
		}
	}
	for _, r := range [][4]int{{-2, 0, 2, 2}, {0, 0, 9, 2}, {6, 0, 3, 2}, {0, 0, 0, 2}} {
		if _, err := Crop(good, r[0], r[1], r[2], r[3]); !errors.Is(err, ErrGeometry) {
			t.Errorf("crop %v: %v", r, err)
		}
	}
}
