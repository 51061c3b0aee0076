// Package picture is what a video decoder hands out: a picture, opaque until it is downloaded, so that a decoder
// whose pictures live on other hardware fits the same seam.
package picture

// Layout is the layout of an Image's planes.
type Layout uint8

// The layouts that software decoders produce. All are planar YUV with 8 or 10 bits a sample.
const (
	I420 Layout = iota + 1
	I422
	I444
	I010 // 4:2:0, 10 bits in 16, little endian
)

// Matrix is the YUV to RGB matrix.
type Matrix uint8

// The matrices. Unknown counts as BT.601, which is what WebRTC senders mean when they say nothing.
const (
	BT601 Matrix = iota
	BT709
	BT2020
)

// Image is a view of a picture in CPU memory, read-only and valid until the Picture is released.
type Image struct {
	Layout        Layout
	Width, Height int // pixels
	Planes        [3][]byte
	Strides       [3]int // bytes
	Matrix        Matrix
	FullRange     bool
	// Corrupt tells that the decoder had to make parts of it up. It need not know of pictures lost before.
	Corrupt bool
}

// PlaneSize returns the bytes of one row and the number of rows of a plane. Odd sizes round up.
func (im *Image) PlaneSize(plane int) (row, rows int) {
	row, rows = im.Width, im.Height
	if plane > 0 {
		if im.Layout != I444 {
			row = (row + 1) / 2
		}
		if im.Layout == I420 || im.Layout == I010 {
			rows = (rows + 1) / 2
		}
	}
	if im.Layout == I010 {
		row *= 2
	}
	return row, rows
}

// Picture is one decoded picture. It is reference-counted, safe for concurrent use and read-only.
type Picture interface {
	// Size returns width and height in pixels.
	Size() (width, height int)
	// Tag returns what was given to Decode with the unit that the picture came of.
	Tag() int64
	// Download returns the picture in CPU memory. It is free for software decoders.
	Download() (*Image, error)
	// Retain adds a reference.
	Retain()
	// Release gives one back; the memory goes with the last.
	Release()
}
