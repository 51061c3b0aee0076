package media

import "github.com/penstock-media/penstock/media/internal/picture"

// planCache keeps the plan for the size that pictures have at the moment.
type planCache struct {
	width, height, rotation int
	valid                   bool
	plan                    plan
}

// get returns the plan for a picture of this size.
func (p *planCache) get(width, height, rotation int, f VideoFormat) (plan, error) {
	if p.valid && p.width == width && p.height == height && p.rotation == rotation {
		return p.plan, nil
	}
	pl, err := planVideo(width, height, rotation, f)
	if err != nil {
		return plan{}, err
	}
	*p = planCache{width, height, rotation, true, pl}
	return pl, nil
}

// converted is a picture in one format.
type converted struct {
	format  VideoFormat // as asked, without what does not change the bytes
	plan    plan
	payload *Payload
	planes  []Plane
}

// conversions are those of one picture.
type conversions struct{ list []converted }

func (d *conversions) find(f VideoFormat) (converted, bool) {
	for _, c := range d.list {
		if c.format == f {
			return c, true
		}
	}
	return converted{}, false
}

func (d *conversions) release() {
	for _, c := range d.list {
		c.payload.Release()
	}
}

// convert returns the picture in the consumer's format, with a reference that is the caller's. done may be nil.
func (v *videoPath) convert(c *Consumer, pic picture.Picture, u *unit, done *conversions) (converted, error) {
	format := *c.req.Video
	w, h := pic.Size()
	rotation := u.rotation
	if format.ReportRotation {
		rotation = 0
	}
	pl, err := c.plans.get(w, h, rotation, format)
	if err != nil {
		return converted{}, err
	}
	if n := pl.width * pl.height; n > w*h && n > v.t.cfg.MaxPicturePixels {
		return converted{}, v.t.tooLarge(pl.width, pl.height)
	}
	limit := c.req.MaxPayloadBytes
	if limit > 0 && format.Pixel != JPEG && pl.bytes > limit {
		return converted{}, &SizeError{Width: pl.width, Height: pl.height, PayloadBytes: pl.bytes, Limit: limit}
	}
	format.MaxFPS = 0
	out, ok := converted{}, false
	if done != nil {
		out, ok = done.find(format)
	}
	if !ok {
		payload, planes, err := convertVideo(pic, pl)
		if err != nil {
			return converted{}, err
		}
		v.converted.Add(1)
		out = converted{format, pl, payload, planes}
		if done != nil {
			done.list = append(done.list, out)
			payload.Retain()
		}
	} else {
		out.payload.Retain()
	}
	if n := out.payload.Len(); limit > 0 && n > limit { // only now known of JPEG, or of padded rows
		out.payload.Release()
		return converted{}, &SizeError{Width: pl.width, Height: pl.height, PayloadBytes: n, Limit: limit}
	}
	return out, nil
}
