package media

import (
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp/codecs"
)

// traitsOf assembles packets and returns what is said of each unit.
func traitsOf(packets []*packet) (all []traits) {
	a := assembler{emit: func(u *unit) { all = append(all, u.traits); u.release() }}
	for _, p := range packets {
		a.push(p)
	}
	return all
}

// A descriptor with picture id, TL0PICIDX, TID and Y (RFC 7741 section 4.2), one packet a unit.
func TestVP8UnitsTellTheirLayer(t *testing.T) {
	var packets []*packet
	want := []traits{
		{key: true},
		{temporalID: 2, switchUp: true, discardable: true},
		{temporalID: 1, switchUp: true},
		{temporalID: 2, discardable: true},
		{},
	}
	for i, w := range want {
		head := []byte{0x90, 0xe0, byte(i), 0, w.temporalID << 6}
		if w.discardable {
			head[0] |= 0x20
		}
		if w.switchUp {
			head[4] |= 0x20
		}
		packets = append(packets, &packet{
			seq: int64(i), timestamp: uint32(i) * 3000, marker: true, codec: &vp8Params,
			payload: append(head, vp8Unit(100, w.key, uint64(i))...),
		})
	}
	got := traitsOf(packets)
	size := got[0].pictureSize
	for i := range want {
		want[i].pictureSize = size
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Of an encoder's P b b P b b the b are referred to by none.
func TestH264UnitsTellWhetherOthersReferToThem(t *testing.T) {
	units := clipUnits(t, "h264-layers.h264")
	got := traitsOf(packetsOf(&h264Params, &codecs.H264Payloader{}, 200, units...))
	if len(got) != len(units) {
		t.Fatalf("%d units of %d", len(got), len(units))
	}
	kept := 0
	for i, is := range got {
		slice := annexBNALs(units[i])
		if want := slice[len(slice)-1][0]&0x60 == 0; is.discardable != want || is.key != (i == 0) || is.temporalID != 0 || is.switchUp {
			t.Errorf("unit %d: %+v, want discardable %v", i, is, want)
		}
		if !is.discardable {
			kept++
		}
	}
	if kept != 5 {
		t.Errorf("%d of 13 units are needed, want 5", kept)
	}
}

// Chromium's patterns of temporal layers. The highest of VP9 are referred to by none, which its headers say too; of AV1 a layer above refers to
// them, within the unit: that is not told apart.
func TestUnitsOfCapturedStreamsTellTheirLayer(t *testing.T) {
	pattern := map[string][]traits{
		"vp9-l3t3": {{key: true}, {temporalID: 2, switchUp: true, discardable: true}, {temporalID: 1, switchUp: true},
			{temporalID: 2, switchUp: true, discardable: true}, {}},
		"av1-l2t2": {{key: true}, {temporalID: 1, switchUp: true}, {}, {temporalID: 1, switchUp: true}, {}},
	}
	for _, c := range layeredClips() {
		for _, extension := range []uint8{chromiumDependency, 0} {
			track := newTestTrack(t, KindVideo)
			track.SetParameters(ReceiveParameters{
				Codecs: []CodecParameters{c.params}, Extensions: HeaderExtensions{DependencyDescriptor: extension},
			})
			var got []traits
			track.assembler.emit = func(u *unit) { got = append(got, u.traits); u.release() }
			for _, p := range c.forward(t, func(int) int { return c.all }) {
				raw, err := p.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				track.WriteRTP(raw, time.Unix(1, 0))
			}
			for i, want := range pattern[c.name] {
				want.pictureSize = pictureSize{960, 540}
				if c.params.Codec == CodecAV1 {
					want.pictureSize = pictureSize{640, 360}
				}
				if extension == 0 && c.params.Codec == CodecAV1 {
					want.switchUp = false // only the dependency descriptor tells
				}
				if got[i] != want {
					t.Errorf("%s, extension %d: unit %d is %+v, want %+v", c.name, extension, i, got[i], want)
				}
			}
		}
	}
}
