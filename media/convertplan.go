package media

import (
	"fmt"

	"github.com/penstock-media/penstock/media/internal/picture"
	"github.com/penstock-media/penstock/media/internal/yuv"
)

// plan is how pictures of one size and rotation are brought into one format.
type plan struct {
	width, height int // as delivered
	// bytes is the payload's size. Of JPEG it is an upper estimate that natural pictures stay below; noise may not. With
	// row padding the payload may be larger.
	bytes int

	pixel                   PixelFormat
	quality                 int // of JPEG
	padding                 bool
	rotation                int
	srcWidth, srcHeight     int
	cropX, cropY            int // in the source, even
	cropWidth, cropHeight   int
	scaleWidth, scaleHeight int // before it is turned
}

// planVideo plans for pictures of srcW×srcH that need a clockwise turn of rotation degrees.
//
// Contain gives the largest size that fits the box; a side of 0 does not limit. Cover cuts the source evenly to the box's
// proportions. Unless upscaling is allowed nothing is enlarged: the picture of Contain stays as it is, the box
// of Cover and Stretch shrinks, in its own proportions, until it takes no more pixels than there are. Sizes are rounded to
// the nearest pixel, and may be odd.
func planVideo(srcW, srcH, rotation int, f VideoFormat) (plan, error) {
	if err := checkVideoFormat(f); err != nil {
		return plan{}, err
	}
	if srcW < 1 || srcH < 1 || srcW > yuv.MaxSide || srcH > yuv.MaxSide {
		return plan{}, fmt.Errorf("media: cannot convert pictures of %d×%d", srcW, srcH)
	}
	if rotation != 0 && rotation != 90 && rotation != 180 && rotation != 270 {
		return plan{}, fmt.Errorf("media: cannot turn pictures by %d degrees", rotation)
	}
	pl := plan{
		pixel: f.Pixel, quality: f.JPEGQuality, padding: f.AllowRowPadding,
		rotation: rotation, srcWidth: srcW, srcHeight: srcH,
	}
	if pl.quality == 0 {
		pl.quality = DefaultJPEGQuality
	}
	turned := rotation == 90 || rotation == 270
	up := size{srcW, srcH}.turn(turned) // the source as seen upright
	crop, out := fitBox(up, size{f.Width, f.Height}, f)
	pl.width, pl.height = out.w, out.h
	pl.bytes = payloadBytes(f.Pixel, pl.quality, out.w, out.h)

	crop, out = crop.turn(turned), out.turn(turned)
	pl.cropWidth, pl.cropHeight = crop.w, crop.h
	pl.cropX, pl.cropY = (srcW-crop.w)/2&^1, (srcH-crop.h)/2&^1
	pl.scaleWidth, pl.scaleHeight = out.w, out.h
	return pl, nil
}

func checkVideoFormat(f VideoFormat) error {
	switch {
	case f.Pixel > JPEG:
		return &FormatError{"pixel_format", "not a pixel format; use I420, NV12, RGB24, RGBA or JPEG"}
	case f.Width < 0 || f.Width > MaxBoxPixels:
		return &FormatError{"width", fmt.Sprintf("%d is not offered; use 1 to %d, or 0 for no limit", f.Width, MaxBoxPixels)}
	case f.Height < 0 || f.Height > MaxBoxPixels:
		return &FormatError{"height", fmt.Sprintf("%d is not offered; use 1 to %d, or 0 for no limit", f.Height, MaxBoxPixels)}
	case f.Fit > Stretch:
		return &FormatError{"fit", "not a fit mode; use CONTAIN, COVER or STRETCH"}
	case f.Fit != Contain && (f.Width == 0 || f.Height == 0):
		return &FormatError{"fit", "COVER and STRETCH need both width and height"}
	case f.JPEGQuality < 0 || f.JPEGQuality > 100:
		return &FormatError{"jpeg_quality", fmt.Sprintf("%d is not offered; use 1 to 100", f.JPEGQuality)}
	}
	return nil
}

type size struct{ w, h int }

func (s size) turn(turned bool) size {
	if turned {
		return size{s.h, s.w}
	}
	return s
}

// fitBox returns what is taken of an upright source, and to what size that is brought.
func fitBox(src, box size, f VideoFormat) (crop, out size) {
	if f.Fit == Contain {
		out = contain(src, box, f.AllowUpscale)
		if (out.w > MaxBoxPixels || out.h > MaxBoxPixels) && out.w*out.h > src.w*src.h {
			out = src // a side that is not limited must not grow without end
			if src.w <= MaxBoxPixels && src.h <= MaxBoxPixels {
				out = contain(src, size{MaxBoxPixels, MaxBoxPixels}, true)
			}
		}
		return src, out
	}
	// The proportions of the box, as large as the source has them.
	inside := contain(box, src, true)
	crop, out = inside, box
	if f.Fit == Stretch {
		crop = src
	}
	if !f.AllowUpscale && (box.w > inside.w || box.h > inside.h) {
		out = inside
	}
	return crop, out
}

// contain returns src's size brought into box, in src's proportions.
func contain(src, box size, grow bool) size {
	if box.w == 0 && box.h == 0 {
		return src
	}
	byWidth := box.h == 0 || box.w != 0 && box.w*src.h <= box.h*src.w
	if byWidth {
		if box.w > src.w && !grow {
			return src
		}
		return size{box.w, divide(src.h*box.w, src.w)}
	}
	if box.h > src.h && !grow {
		return src
	}
	return size{divide(src.w*box.h, src.h), box.h}
}

// divide rounds to the nearest, and to at least one pixel.
func divide(a, b int) int { return max((a+b/2)/b, 1) }

func payloadBytes(f PixelFormat, quality, width, height int) int {
	switch f {
	case RGB24:
		return width * height * 3
	case RGBA:
		return width * height * 4
	case JPEG:
		return jpegEstimate(width, height, quality)
	default:
		n, _, _ := yuv.I420Size(width, height)
		return n
	}
}

// jpegEstimate is half a byte a pixel up to quality 80, one up to 95, two beyond; and the tables.
func jpegEstimate(width, height, quality int) int {
	const tables = 2048
	pixels := width * height
	switch {
	case quality <= 80:
		return pixels/2 + tables
	case quality <= 95:
		return pixels + tables
	default:
		return 2*pixels + tables
	}
}

// jpegBound is what no picture exceeds: 4:2:0 has 1.5 samples a pixel in whole 16×16 units, each at most two bytes.
func jpegBound(width, height int) int {
	return ((width+15)&^15)*((height+15)&^15)*3 + 2048
}

// planeLayout returns where the planes lie in a payload without padding.
func planeLayout(f PixelFormat, width, height int) []Plane {
	_, u, v := yuv.I420Size(width, height)
	half := (width + 1) / 2
	switch f {
	case I420:
		return []Plane{{0, width}, {u, half}, {v, half}}
	case NV12:
		return []Plane{{0, width}, {u, 2 * half}}
	case RGB24:
		return []Plane{{0, width * 3}}
	case RGBA:
		return []Plane{{0, width * 4}}
	default:
		return nil
	}
}

// asIs tells whether the picture's own planes are what is asked for, padding aside.
func (pl *plan) asIs(im *picture.Image) bool {
	return pl.pixel == I420 && im.Layout == picture.I420 && pl.rotation == 0 && !pl.crops() && !pl.scales()
}

func (pl *plan) crops() bool { return pl.cropWidth != pl.srcWidth || pl.cropHeight != pl.srcHeight }

func (pl *plan) scales() bool {
	return pl.scaleWidth != pl.cropWidth || pl.scaleHeight != pl.cropHeight
}
