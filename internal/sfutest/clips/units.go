package clips

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"time"

	"github.com/pion/webrtc/v4/pkg/media/h264reader"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
)

// packetDuration is the length of every Opus packet in the clips.
const packetDuration = 20 * time.Millisecond

// Unit is one access unit of video (of H.264 an Annex B byte stream), or one Opus packet.
type Unit struct {
	// Data is shared by all readers of the clip's units: do not change it.
	Data []byte
	// KeyFrame tells that decoding can start here. Always true for audio.
	KeyFrame bool
	// Duration until the next unit.
	Duration time.Duration
}

// Units returns one round of the clip.
func (c Clip) Units() ([]Unit, error) {
	if c.Codec == PCMU {
		return c.toneUnits(), nil
	}
	file, err := c.Bytes()
	if err != nil {
		return nil, err
	}
	var units []Unit
	switch c.Codec {
	case VP8:
		units, err = IVFUnits(file)
		for i, u := range units {
			// RFC 6386 section 9.1: the lowest bit of the frame tag is 0 in a key frame.
			units[i].KeyFrame = len(u.Data) > 0 && u.Data[0]&1 == 0
		}
	case H264:
		units, err = H264Units(file)
	case Opus:
		units, err = c.oggUnits(file)
	default:
		return nil, fmt.Errorf("%w: %s: codec %q", ErrMalformed, c.Name, c.Codec)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, c.Name, err)
	case len(units) == 0 || !units[0].KeyFrame:
		return nil, fmt.Errorf("%w: %s does not start with a key frame", ErrMalformed, c.Name)
	}
	for i := range units {
		units[i].Duration = c.unitDuration()
	}
	return units, nil
}

// IVFUnits reads the frames of an IVF file, of any codec. What is a key frame, and how long each lasts, it does not tell.
func IVFUnits(file []byte) (units []Unit, err error) {
	r, _, err := ivfreader.NewWith(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	for {
		frame, _, err := r.ParseNextFrame()
		if errors.Is(err, io.EOF) {
			return units, nil
		}
		if err != nil {
			return nil, err
		}
		units = append(units, Unit{Data: frame})
	}
}

// H264Units reads an Annex B byte stream with one slice a picture: an access unit ends at each slice. How long each lasts it does not tell.
func H264Units(file []byte) (units []Unit, err error) {
	r, err := h264reader.NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	var pending []byte
	for {
		nal, err := r.NextNAL()
		if errors.Is(err, io.EOF) {
			return units, nil
		}
		if err != nil {
			return nil, err
		}
		pending = append(append(pending, 0, 0, 0, 1), nal.Data...)
		switch nal.UnitType {
		case h264reader.NalUnitTypeCodedSliceIdr, h264reader.NalUnitTypeCodedSliceNonIdr:
			units = append(units, Unit{Data: pending, KeyFrame: nal.UnitType == h264reader.NalUnitTypeCodedSliceIdr})
			pending = nil
		}
	}
}

// oggUnits takes a packet from each page, as the clips have it, and leaves out what is beyond the length: the encoder flushes
// its delay in a packet more.
func (c Clip) oggUnits(file []byte) ([]Unit, error) {
	r, err := oggreader.NewWithOptions(bytes.NewReader(file), oggreader.WithDoChecksum(true))
	if err != nil {
		return nil, err
	}
	var units []Unit
	for len(units) < int(c.Length/packetDuration) {
		page, header, err := r.ParseNextPage()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if _, isHeader := header.HeaderType(page); isHeader {
			continue
		}
		units = append(units, Unit{Data: page, KeyFrame: true})
	}
	return units, nil
}

// toneUnits makes a second of the tone, which has a whole number of waves.
func (c Clip) toneUnits() []Unit {
	units := make([]Unit, 0, c.UnitsPerSecond())
	samples := int(c.ClockRate) / c.UnitsPerSecond()
	for i := range c.UnitsPerSecond() {
		data := make([]byte, samples)
		for k := range data {
			angle := 2 * math.Pi * float64(c.ToneHz) * float64(i*samples+k) / float64(c.ClockRate)
			data[k] = muLaw(int(3000 * math.Sin(angle)))
		}
		units = append(units, Unit{Data: data, KeyFrame: true, Duration: c.unitDuration()})
	}
	return units
}

// muLaw encodes a sample of 16 bits (ITU-T G.711 section 3.2): sign, exponent and mantissa of the biased value, inverted.
func muLaw(sample int) byte {
	const bias, clip = 0x84, 32635
	sign := byte(0)
	if sample < 0 {
		sample, sign = -sample, 0x80
	}
	biased := uint(min(sample, clip) + bias)
	exponent := bits.Len(biased) - 8
	return ^(sign | byte(exponent)<<4 | byte(biased>>(exponent+3))&0x0f)
}

func (c Clip) unitDuration() time.Duration { return time.Second / time.Duration(c.UnitsPerSecond()) }

// Loop gives a clip's units round after round. It has one user at a time.
type Loop struct {
	units []Unit
	next  int
}

// Open starts a loop at the clip's first unit.
func (c Clip) Open() (*Loop, error) {
	units, err := c.Units()
	if err != nil {
		return nil, err
	}
	return &Loop{units: units}, nil
}

// Next returns the next unit; after the last comes the first.
func (l *Loop) Next() Unit {
	u := l.units[l.next]
	l.next = (l.next + 1) % len(l.units)
	return u
}

// SkipToKeyFrame leaves units out, if needed, so that the next one is a key frame.
func (l *Loop) SkipToKeyFrame() {
	for !l.units[l.next].KeyFrame {
		l.next = (l.next + 1) % len(l.units)
	}
}
