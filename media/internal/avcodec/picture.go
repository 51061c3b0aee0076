package avcodec

// #include "decoder.h"
import "C"

import (
	"sync/atomic"
	"unsafe"

	"github.com/penstock-media/penstock/media/internal/cmem"
	"github.com/penstock-media/penstock/media/internal/picture"
)

// Picture is one decoded picture in C memory. It implements picture.Picture and outlives its decoder.
type Picture struct {
	frame *C.AVFrame
	refs  atomic.Int32
	image picture.Image
	tag   int64
}

func newPicture(c *C.avc_picture) *Picture {
	p := &Picture{frame: c.frame, tag: int64(c.tag)}
	p.image = picture.Image{
		Layout:    picture.Layout(c.layout),
		Width:     int(c.width),
		Height:    int(c.height),
		Matrix:    picture.Matrix(c.matrix),
		FullRange: c.full_range != 0,
		Corrupt:   c.corrupt != 0,
	}
	for i := range p.image.Planes {
		row, rows := p.image.PlaneSize(i)
		stride := int(c.stride[i])
		p.image.Strides[i] = stride
		p.image.Planes[i] = unsafe.Slice((*byte)(c.data[i]), stride*(rows-1)+row)
	}
	c.frame = nil
	p.refs.Store(1)
	cmem.Add(cmem.Picture, 1, 0)
	return p
}

// Size implements picture.Picture.
func (p *Picture) Size() (width, height int) { return p.image.Width, p.image.Height }

// Tag implements picture.Picture.
func (p *Picture) Tag() int64 { return p.tag }

// Download implements picture.Picture. It costs nothing; the image is shared and must not be changed.
func (p *Picture) Download() (*picture.Image, error) { return &p.image, nil }

// Retain implements picture.Picture.
func (p *Picture) Retain() {
	if p.refs.Add(1) <= 1 {
		panic("avcodec: picture retained after release")
	}
}

// Release implements picture.Picture. One call too many panics: it would free memory that others read.
func (p *Picture) Release() {
	switch n := p.refs.Add(-1); {
	case n > 0:
		return
	case n < 0:
		panic("avcodec: picture released twice")
	}
	p.image.Planes = [3][]byte{}
	C.avc_free_frame(p.frame)
	p.frame = nil
	cmem.Add(cmem.Picture, -1, 0)
}
