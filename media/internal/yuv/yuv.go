// Package yuv binds libyuv: scaling, turning and colour conversion of planar pictures. Sizes may be odd; chroma is
// then (w+1)/2 wide. Every call checks that the planes are as large as their sizes say before any C code runs.
package yuv

// #cgo LDFLAGS: -lyuv
// #cgo CFLAGS: -Wall -Wextra
// #include "convert.h"
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/penstock-media/penstock/media/internal/picture"
)

// ErrGeometry means that sizes do not fit each other or the memory.
var ErrGeometry = errors.New("yuv: sizes do not fit")

// MaxSide is the largest width or height that is converted, in pixels.
const MaxSide = 16384

// I420Size returns the bytes of an I420 picture without padding, and where U and V begin.
func I420Size(width, height int) (size, u, v int) {
	u = width * height
	chroma := ((width + 1) / 2) * ((height + 1) / 2)
	return u + 2*chroma, u, u + chroma
}

// I420In returns an image whose planes lie one behind the other in b, which must hold I420Size bytes.
func I420In(b []byte, width, height int) *picture.Image {
	size, u, v := I420Size(width, height)
	half := (width + 1) / 2
	return &picture.Image{
		Layout: picture.I420, Width: width, Height: height,
		Planes:  [3][]byte{b[:u:u], b[u:v:v], b[v:size:size]},
		Strides: [3]int{width, half, half},
	}
}

// Crop returns a view of a rectangle of an I420 image. x and y are rounded down to even, where chroma begins.
func Crop(src *picture.Image, x, y, width, height int) (*picture.Image, error) {
	x, y = x&^1, y&^1
	if src.Layout != picture.I420 || x < 0 || y < 0 || width < 1 || height < 1 || x+width > src.Width || y+height > src.Height {
		return nil, fmt.Errorf("crop %d×%d at %d,%d of %d×%d: %w", width, height, x, y, src.Width, src.Height, ErrGeometry)
	}
	if err := check(src); err != nil {
		return nil, err
	}
	view := *src
	view.Width, view.Height = width, height
	for i := range view.Planes {
		px, py := x, y
		if i > 0 {
			px, py = x/2, y/2
		}
		row, rows := view.PlaneSize(i)
		at := py*src.Strides[i] + px
		view.Planes[i] = src.Planes[i][at : at+(rows-1)*src.Strides[i]+row]
	}
	return &view, nil
}

// Scale fills dst with src, both I420: averaging where it shrinks, bilinear where it grows.
func Scale(dst, src *picture.Image) error {
	if err := checkBoth(dst, src); err != nil {
		return fmt.Errorf("scale: %w", err)
	}
	return result(C.yuv_scale(shape(src), at(src, 0), at(src, 1), at(src, 2), shape(dst), at(dst, 0), at(dst, 1), at(dst, 2)))
}

// Rotate fills dst with src, both I420, turned clockwise by 0, 90, 180 or 270 degrees.
func Rotate(dst, src *picture.Image, degrees int) error {
	if err := checkBoth(dst, src); err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	w, h := src.Width, src.Height
	switch degrees {
	case 0, 180:
	case 90, 270:
		w, h = h, w
	default:
		return fmt.Errorf("rotate by %d degrees: %w", degrees, ErrGeometry)
	}
	if dst.Width != w || dst.Height != h {
		return fmt.Errorf("rotate to %d×%d: %w", dst.Width, dst.Height, ErrGeometry)
	}
	return result(C.yuv_rotate(shape(src), at(src, 0), at(src, 1), at(src, 2),
		shape(dst), at(dst, 0), at(dst, 1), at(dst, 2), C.int(degrees)))
}

// ToI420 fills dst, I420 of the same size, from any layout.
func ToI420(dst, src *picture.Image) error {
	if err := check(src); err != nil {
		return err
	}
	if err := check(dst); err != nil {
		return err
	}
	if dst.Layout != picture.I420 || dst.Width != src.Width || dst.Height != src.Height {
		return fmt.Errorf("convert to I420: %w", ErrGeometry)
	}
	return result(C.yuv_to_i420(C.int(src.Layout), shape(src), at(src, 0), at(src, 1), at(src, 2),
		shape(dst), at(dst, 0), at(dst, 1), at(dst, 2)))
}

// ToNV12 writes an I420 image as NV12 without padding: luma, then pairs of U and V.
func ToNV12(dst []byte, src *picture.Image) error {
	size, uv, _ := I420Size(src.Width, src.Height)
	if err := checkI420(src); err != nil {
		return err
	}
	if len(dst) < size {
		return fmt.Errorf("NV12 into %d bytes: %w", len(dst), ErrGeometry)
	}
	return result(C.yuv_to_nv12(shape(src), at(src, 0), at(src, 1), at(src, 2),
		(*C.uint8_t)(&dst[0]), C.int(src.Width), (*C.uint8_t)(&dst[uv]), C.int((src.Width+1)/2*2)))
}

// ToRGB24 writes an I420 image as bytes R, G, B without padding, by the image's own matrix and range. Chroma is repeated,
// not interpolated. On x86 libyuv's factor for blue ends at 2.0, where BT.709 and BT.2020 have 2.11 and 2.14: the most
// saturated blues are up to 14 levels off.
func ToRGB24(dst []byte, src *picture.Image) error { return toRGB(dst, src, C.YUV_RGB24, 3) }

// ToRGBA writes an I420 image as bytes R, G, B, 255 without padding, by the image's own matrix and range.
func ToRGBA(dst []byte, src *picture.Image) error { return toRGB(dst, src, C.YUV_RGBA, 4) }

func toRGB(dst []byte, src *picture.Image, format C.int, pixel int) error {
	if err := checkI420(src); err != nil {
		return err
	}
	if len(dst) < src.Width*src.Height*pixel {
		return fmt.Errorf("RGB into %d bytes: %w", len(dst), ErrGeometry)
	}
	full := C.int(0)
	if src.FullRange {
		full = 1
	}
	return result(C.yuv_to_rgb(format, C.int(src.Matrix), full, shape(src), at(src, 0), at(src, 1), at(src, 2),
		(*C.uint8_t)(&dst[0]), C.int(src.Width*pixel)))
}

func check(im *picture.Image) error {
	if im.Width < 1 || im.Height < 1 || im.Width > MaxSide || im.Height > MaxSide {
		return fmt.Errorf("%d×%d: %w", im.Width, im.Height, ErrGeometry)
	}
	for i := range im.Planes {
		row, rows := im.PlaneSize(i)
		if im.Strides[i] < row || len(im.Planes[i]) < im.Strides[i]*(rows-1)+row {
			return fmt.Errorf("plane %d of %d×%d: %w", i, im.Width, im.Height, ErrGeometry)
		}
	}
	return nil
}

func checkI420(im *picture.Image) error {
	if im.Layout != picture.I420 {
		return fmt.Errorf("layout %d is not I420: %w", im.Layout, ErrGeometry)
	}
	return check(im)
}

func checkBoth(dst, src *picture.Image) error {
	if err := checkI420(src); err != nil {
		return err
	}
	return checkI420(dst)
}

func shape(im *picture.Image) C.yuv_shape {
	return C.yuv_shape{
		width: C.int(im.Width), height: C.int(im.Height),
		stride: [3]C.int{C.int(im.Strides[0]), C.int(im.Strides[1]), C.int(im.Strides[2])},
	}
}

func at(im *picture.Image, plane int) *C.uint8_t {
	return (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(im.Planes[plane])))
}

func result(ret C.int) error {
	if ret != 0 {
		return fmt.Errorf("libyuv refused: %w", ErrGeometry)
	}
	return nil
}
