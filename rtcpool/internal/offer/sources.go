package offer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock-media/penstock/media"
	"github.com/pion/sdp/v3"
)

// Sources is what an offer says of sources. It is read-only.
type Sources struct {
	Declared map[uint32]struct{}
	Layered  map[string]struct{} // the mids of media descriptions whose sources are told apart by a rid (RFC 8852)
	MID      uint8               // the header extension of a mid, or 0
	RIDs     [2]uint8            // the header extensions of a rid, and of one that is repaired
	Formats  [128]bool           // the payload types that can be received
}

// DeclaresOther tells whether a source is one that the offer declares beside the one that is received.
func (o *Offer) DeclaresOther(ssrc uint32) bool {
	return slices.ContainsFunc(o.Sections, func(s Section) bool { return slices.Contains(s.otherSSRCs, ssrc) })
}

// readSources notes what the accepted media descriptions say of sources.
func (o *Offer) readSources() {
	out := &Sources{Declared: make(map[uint32]struct{}), Layered: make(map[string]struct{})}
	for _, m := range o.Desc.MediaDescriptions {
		out.readFormats(m)
		for _, a := range m.Attributes {
			switch a.Key {
			case sdp.AttrKeySSRC:
				word, _, _ := strings.Cut(a.Value, " ")
				if n, err := strconv.ParseUint(word, 10, 32); err == nil {
					out.Declared[uint32(n)] = struct{}{}
				}
			case sdp.AttrKeyExtMap:
				switch id, uri := readExtMap(a.Value); uri {
				case sdp.SDESMidURI:
					out.MID = id
				}
			}
		}
	}
	for i := range o.Sections {
		out.readLayers(&o.Sections[i])
	}
	o.Sources = out
}

func (o *Sources) readLayers(s *Section) {
	if !s.Accepted() || len(s.Layers) == 0 {
		return
	}
	o.Layered[s.MID] = struct{}{}
	for _, a := range s.ridExtensions {
		switch id, uri := readExtMap(a.Value); uri {
		case sdp.SDESRTPStreamIDURI:
			o.RIDs[0] = id
		case sdp.SDESRepairRTPStreamIDURI:
			o.RIDs[1] = id
		}
	}
}

// readFormats notes the payload types that pion can know.
func (o *Sources) readFormats(m *sdp.MediaDescription) {
	kind := media.KindVideo
	if m.MediaName.Media == "audio" {
		kind = media.KindAudio
	}
	one := &sdp.SessionDescription{MediaDescriptions: []*sdp.MediaDescription{m}}
	for _, format := range m.MediaName.Formats {
		pt, err := strconv.ParseUint(format, 10, 7)
		if err != nil {
			continue
		}
		c, err := one.GetCodecForPayloadType(uint8(pt))
		if err == nil && (takes(kind, c) || kind == media.KindVideo && strings.EqualFold(c.Name, "rtx")) {
			o.Formats[pt] = true
		}
	}
}

// readExtMap takes apart the value of an a=extmap line (RFC 8285 section 5) that can be read.
func readExtMap(value string) (id uint8, uri string) {
	words := strings.Fields(value)
	if len(words) < 2 {
		return 0, ""
	}
	number, _, _ := strings.Cut(words[0], "/")
	n, err := strconv.ParseUint(number, 10, 8)
	if err != nil {
		return 0, ""
	}
	return uint8(n), words[1]
}

// exposeStrays makes pion show the sources that are not Declared: it looks at them when it believes
// that the header extensions of mid and rid were offered.
func (o *Offer) exposeStrays() {
	var media []*sdp.MediaDescription
	used := map[uint8]struct{}{o.Sources.RIDs[0]: {}, o.Sources.RIDs[1]: {}}
	for _, m := range o.Desc.MediaDescriptions {
		if m.MediaName.Media != applicationMedia {
			media = append(media, m)
		}
		for _, a := range m.Attributes {
			if a.Key == sdp.AttrKeyExtMap {
				id, _ := readExtMap(a.Value)
				used[id] = struct{}{}
			}
		}
	}
	if len(media) == 0 {
		return
	}
	if o.Sources.MID == 0 {
		o.invent(media, used, sdp.SDESMidURI)
	}
	o.invent(media, used, sdp.SDESRTPStreamIDURI)
}

// notAlone returns a description for pion that does not have one media description only: of such a one pion takes every
// source for its own. Media of a type that it does not know it passes over, and the answer has no trace of them.
func notAlone(d *sdp.SessionDescription) *sdp.SessionDescription {
	if len(d.MediaDescriptions) != 1 {
		return d
	}
	only := d.MediaDescriptions[0]
	mid, _ := only.Attribute(sdp.AttrKeyMID)
	two := *d
	two.MediaDescriptions = []*sdp.MediaDescription{only, {
		MediaName:  sdp.MediaName{Media: "text", Protos: only.MediaName.Protos, Formats: []string{"0"}},
		Attributes: []sdp.Attribute{{Key: sdp.AttrKeyMID, Value: mid + "-"}, {Key: directionInactive}},
	}}
	return &two
}

// invent adds an a=extmap line with an id that is free.
func (o *Offer) invent(media []*sdp.MediaDescription, used map[uint8]struct{}, uri string) {
	for id := uint8(246); id > 0; id-- { // the highest that pion reads
		if _, taken := used[id]; taken {
			continue
		}
		used[id] = struct{}{}
		value := fmt.Sprintf("%d %s", id, uri)
		o.invented = append(o.invented, value)
		for _, m := range media {
			m.WithValueAttribute(sdp.AttrKeyExtMap, value)
		}
		return
	}
}

// forgetInvented takes out of an answer what nobody offered.
func (o *Offer) forgetInvented(m *sdp.MediaDescription) {
	if len(o.invented) == 0 {
		return
	}
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
		return a.Key == sdp.AttrKeyExtMap && slices.Contains(o.invented, a.Value)
	})
}
