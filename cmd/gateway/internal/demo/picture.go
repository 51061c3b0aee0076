package demo

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// picture is a frame that can be looked at.
type picture interface {
	// watermark reads the watermark from the picture.
	watermark() (id int, ok bool)
	// render gives the picture in RGB.
	render() image.Image
}

// toPicture checks that a frame is what its description says, and makes a picture of it. The payload is not copied.
func toPicture(f *penstockv1.VideoFrame, format penstockv1.PixelFormat) (picture, error) {
	w, h := int(f.GetWidth()), int(f.GetHeight())
	switch format {
	case penstockv1.PixelFormat_PIXEL_FORMAT_I420:
		p := i420{w: w, h: h}
		sizes := [3][2]int{{w, h}, {(w + 1) / 2, (h + 1) / 2}, {(w + 1) / 2, (h + 1) / 2}}
		for i, size := range sizes {
			rows, stride, err := plane(f, i, len(sizes), size[0], size[1])
			if err != nil {
				return nil, err
			}
			p.planes[i], p.strides[i] = rows, stride
		}
		return p, nil
	case penstockv1.PixelFormat_PIXEL_FORMAT_RGB24:
		rows, stride, err := plane(f, 0, 1, 3*w, h)
		return rgb24{w: w, h: h, stride: stride, rows: rows}, err
	case penstockv1.PixelFormat_PIXEL_FORMAT_JPEG:
		img, err := jpeg.Decode(bytes.NewReader(f.GetPayload()))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPicture, err)
		}
		if size := img.Bounds().Size(); size != image.Pt(w, h) {
			return nil, fmt.Errorf("%w: the JPEG is %v, the frame says %d×%d", ErrPicture, size, w, h)
		}
		return decoded{img}, nil
	default:
		return nil, fmt.Errorf("%w: %v", ErrPicture, format)
	}
}

// plane returns one plane's rows, each width bytes.
func plane(f *penstockv1.VideoFrame, index, count, width, height int) (rows []byte, stride int, err error) {
	if len(f.GetPlanes()) != count {
		return nil, 0, fmt.Errorf("%w: %d planes, want %d", ErrPicture, len(f.GetPlanes()), count)
	}
	offset, stride := int(f.GetPlanes()[index].GetOffset()), int(f.GetPlanes()[index].GetStride())
	end := offset + stride*(height-1) + width
	if width < 1 || height < 1 || stride < width || end > len(f.GetPayload()) {
		return nil, 0, fmt.Errorf("%w: plane %d at %d with stride %d does not fit %d×%d into %d bytes", ErrPicture, index, offset, stride, width, height, len(f.GetPayload()))
	}
	return f.GetPayload()[offset:end], stride, nil
}

// i420 is limited-range BT.601, as decoders of the clips give it.
type i420 struct {
	w, h    int
	planes  [3][]byte
	strides [3]int
}

func (p i420) watermark() (int, bool) {
	return clips.ReadWatermark(p.planes[0], p.w, p.h, p.strides[0])
}

func (p i420) render() image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, p.w, p.h))
	for y := range p.h {
		for x := range p.w {
			// Integer arithmetic with 8 fractional bits (ITU-R BT.601, limited range).
			c := 298 * (int(p.planes[0][y*p.strides[0]+x]) - 16)
			u := int(p.planes[1][y/2*p.strides[1]+x/2]) - 128
			v := int(p.planes[2][y/2*p.strides[2]+x/2]) - 128
			at := img.Pix[y*img.Stride+4*x:]
			at[0], at[1], at[2], at[3] = clamp(c+409*v), clamp(c-100*u-208*v), clamp(c+516*u), 255
		}
	}
	return img
}

func clamp(v int) byte { return byte(min(max((v+128)>>8, 0), 255)) }

type rgb24 struct {
	w, h, stride int
	rows         []byte
}

// watermark takes green for luma: the strip is black and white.
func (p rgb24) watermark() (int, bool) {
	luma := make([]byte, p.w*p.h)
	for y := range p.h / 8 { // the strip ends at h/9
		row := p.rows[y*p.stride:]
		for x := range p.w {
			luma[y*p.w+x] = row[3*x+1]
		}
	}
	return clips.ReadWatermark(luma, p.w, p.h, p.w)
}

func (p rgb24) render() image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, p.w, p.h))
	for y := range p.h {
		row := p.rows[y*p.stride:]
		for x := range p.w {
			at := img.Pix[y*img.Stride+4*x:]
			at[0], at[1], at[2], at[3] = row[3*x], row[3*x+1], row[3*x+2], 255
		}
	}
	return img
}

type decoded struct{ image.Image }

func (p decoded) watermark() (int, bool) { return clips.ReadWatermark(clips.Luma(p.Image)) }

func (p decoded) render() image.Image { return p.Image }
