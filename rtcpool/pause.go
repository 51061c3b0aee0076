package rtcpool

import (
	"maps"
	"strconv"
	"strings"

	"github.com/penstock-media/penstock/media"
	"github.com/pion/sdp/v3"
)

// keepPauses keeps it from pion that media descriptions are inactive: it would stop their receivers, and at the second such offer
// those that have taken their place, for good: what is sent there later would never come. To pion they go on, with the sources
// that they had. The answer tells the truth (see buildAnswer), and so do the facts.
func (p *peer) keepPauses(o *offer) {
	declared := maps.Clone(o.sources.declared)
	for _, m := range o.desc.MediaDescriptions {
		s := o.sectionOf(m)
		if s == nil || s.kind == media.KindUnknown || s.sending {
			continue
		}
		m.Attributes = withDirection(m.Attributes, "sendonly")
		if len(s.ssrcs) > 0 {
			continue // it says so itself
		}
		for _, line := range p.sourceLines[s.mid] {
			// A source that another media description has now is that one's.
			if !namesSource(line, o.sources.declared) {
				m.Attributes = append(m.Attributes, line)
				addSources(line, declared)
			}
		}
	}
	next := *o.sources
	next.declared = declared
	o.sources = &next
}

// noteSources remembers the lines about sources of each media description that an applied offer has.
func (p *peer) noteSources(o *offer) {
	p.sourceLines = make(map[string][]sdp.Attribute, len(o.desc.MediaDescriptions))
	for _, m := range o.desc.MediaDescriptions {
		mid, _ := m.Attribute(sdp.AttrKeyMID)
		for _, a := range m.Attributes {
			if a.Key == sdp.AttrKeySSRC || a.Key == sdp.AttrKeySSRCGroup {
				p.sourceLines[mid] = append(p.sourceLines[mid], a)
			}
		}
	}
}

// sectionOf returns what was read of a media description, or nil.
func (o *offer) sectionOf(m *sdp.MediaDescription) *section {
	mid, _ := m.Attribute(sdp.AttrKeyMID)
	for i := range o.sections {
		if o.sections[i].mid == mid {
			return &o.sections[i]
		}
	}
	return nil
}

// sourcesOf returns the sources that an a=ssrc or a=ssrc-group line names.
func sourcesOf(line sdp.Attribute) []uint32 {
	words := strings.Fields(line.Value)
	switch {
	case len(words) == 0:
		return nil
	case line.Key == sdp.AttrKeySSRC:
		words = words[:1]
	default:
		words = words[1:]
	}
	var out []uint32
	for _, word := range words {
		if n, err := strconv.ParseUint(word, 10, 32); err == nil {
			out = append(out, uint32(n))
		}
	}
	return out
}

func namesSource(line sdp.Attribute, declared map[uint32]struct{}) bool {
	for _, n := range sourcesOf(line) {
		if _, ok := declared[n]; ok {
			return true
		}
	}
	return false
}

func addSources(line sdp.Attribute, to map[uint32]struct{}) {
	for _, n := range sourcesOf(line) {
		to[n] = struct{}{}
	}
}
