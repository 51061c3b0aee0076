package media

import (
	"errors"
	"fmt"

	"github.com/penstock-media/penstock/media/internal/jpeg"
	"github.com/penstock-media/penstock/media/internal/picture"
	"github.com/penstock-media/penstock/media/internal/yuv"
)

// convertVideo returns the picture as planned, with one reference. planes is nil for JPEG. The caller keeps its own
// reference to the picture; where the planes can be sent as they are the payload holds another one.
func convertVideo(p picture.Picture, pl plan) (payload *Payload, planes []Plane, err error) {
	im, err := p.Download()
	if err != nil {
		return nil, nil, fmt.Errorf("media: download a picture: %w", err)
	}
	if im.Width != pl.srcWidth || im.Height != pl.srcHeight {
		return nil, nil, fmt.Errorf("media: a picture of %d×%d, planned for %d×%d", im.Width, im.Height, pl.srcWidth, pl.srcHeight)
	}
	if pl.asIs(im) && (pl.padding || tight(im)) {
		payload, planes = share(p, im)
		return payload, planes, nil
	}
	c := conversion{plan: &pl}
	defer c.close()
	payload, err = c.run(im)
	if err != nil {
		return nil, nil, fmt.Errorf("media: convert a picture: %w", err)
	}
	return payload, planeLayout(pl.pixel, pl.width, pl.height), nil
}

// share makes a payload of the picture's own planes.
func share(p picture.Picture, im *picture.Image) (*Payload, []Plane) {
	p.Retain()
	payload := newPayload(p.Release, im.Planes[0], im.Planes[1], im.Planes[2])
	planes := make([]Plane, len(im.Planes))
	at := 0
	for i := range planes {
		planes[i] = Plane{Offset: at, Stride: im.Strides[i]}
		at += len(im.Planes[i])
	}
	return payload, planes
}

// tight tells whether there is no padding between rows.
func tight(im *picture.Image) bool {
	for i, stride := range im.Strides {
		if row, _ := im.PlaneSize(i); stride != row {
			return false
		}
	}
	return true
}

// conversion is one run of a plan: scaled first, while chroma is small, then turned, then coloured.
type conversion struct {
	plan    *plan
	scratch []*buffer
}

func (c *conversion) close() {
	for _, b := range c.scratch {
		b.free()
	}
}

// step is one operation from a planar picture to another of the given size.
type step struct {
	width, height int
	do            func(dst, src *picture.Image) error
}

func (c *conversion) run(im *picture.Image) (*Payload, error) {
	pl := c.plan
	if im.Layout != picture.I420 {
		var err error
		if im, err = c.apply(im, step{im.Width, im.Height, yuv.ToI420}, nil); err != nil {
			return nil, err
		}
	}
	if pl.crops() {
		var err error
		if im, err = yuv.Crop(im, pl.cropX, pl.cropY, pl.cropWidth, pl.cropHeight); err != nil {
			return nil, err
		}
	}
	steps := pl.steps()
	if pl.pixel == I420 && len(steps) == 0 {
		steps = []step{{pl.width, pl.height, yuv.ToI420}}
	}
	var out *buffer
	for i, s := range steps {
		if pl.pixel == I420 && i == len(steps)-1 {
			out = newBuffer(pl.bytes)
		}
		var err error
		if im, err = c.apply(im, s, out); err != nil {
			out.free()
			return nil, err
		}
	}
	if out != nil {
		return out.payload(pl.bytes), nil
	}
	return c.pack(im)
}

func (pl *plan) steps() []step {
	var steps []step
	if pl.scales() {
		steps = append(steps, step{pl.scaleWidth, pl.scaleHeight, yuv.Scale})
	}
	if pl.rotation != 0 {
		steps = append(steps, step{pl.width, pl.height, func(dst, src *picture.Image) error {
			return yuv.Rotate(dst, src, pl.rotation)
		}})
	}
	return steps
}

// apply runs a step into a buffer, or into scratch memory when that is nil.
func (c *conversion) apply(src *picture.Image, s step, into *buffer) (*picture.Image, error) {
	if into == nil {
		n, _, _ := yuv.I420Size(s.width, s.height)
		into = newBuffer(n)
		c.scratch = append(c.scratch, into)
	}
	dst := yuv.I420In(into.bytes, s.width, s.height)
	dst.Matrix, dst.FullRange = src.Matrix, src.FullRange
	return dst, s.do(dst, src)
}

// pack writes an I420 image of the delivered size in a format that is not I420.
func (c *conversion) pack(im *picture.Image) (*Payload, error) {
	var to func([]byte, *picture.Image) error
	switch c.plan.pixel {
	case NV12:
		to = yuv.ToNV12
	case RGB24:
		to = yuv.ToRGB24
	case RGBA:
		to = yuv.ToRGBA
	case JPEG:
		return c.packJPEG(im)
	default:
		return nil, ErrNotImplemented
	}
	out := newBuffer(c.plan.bytes)
	if err := to(out.bytes, im); err != nil {
		out.free()
		return nil, err
	}
	return out.payload(c.plan.bytes), nil
}

func (c *conversion) packJPEG(im *picture.Image) (*Payload, error) {
	rgba := newBuffer(im.Width * im.Height * 4)
	c.scratch = append(c.scratch, rgba)
	if err := yuv.ToRGBA(rgba.bytes, im); err != nil {
		return nil, err
	}
	e, err := jpeg.Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = e.Close() }() // never fails
	encode := func(size int) (*buffer, int, error) {
		b := newBuffer(size)
		c.scratch = append(c.scratch, b)
		n, err := e.EncodeRGBA(b.bytes, rgba.bytes, im.Width, im.Height, c.plan.quality)
		return b, n, err
	}
	b, n, err := encode(c.plan.bytes)
	if errors.Is(err, jpeg.ErrTooSmall) {
		b, n, err = encode(jpegBound(im.Width, im.Height))
	}
	if err != nil {
		return nil, err
	}
	// Copied to a buffer of its size: what waits in a queue should not hold the room that it might have needed.
	out := newBuffer(n)
	copy(out.bytes, b.bytes[:n])
	return out.payload(n), nil
}
