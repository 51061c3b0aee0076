package offer

import (
	"maps"
	"strconv"
	"strings"

	"github.com/penstock-media/penstock/media"
	"github.com/pion/sdp/v3"
)

// KeepPauses keeps it from pion that media descriptions are inactive: it would stop their receivers, and at the second such offer
// those that have taken their place, for good: what is sent there later would never come. To pion they go on, with the sources
// that they had before. The answer tells the truth (see BuildAnswer), and so do the facts.
func (o *Offer) KeepPauses(before SourceLines) {
	declared := maps.Clone(o.Sources.Declared)
	for _, m := range o.Desc.MediaDescriptions {
		s := o.sectionOf(m)
		if s == nil || s.Kind == media.KindUnknown || s.Sending {
			continue
		}
		m.Attributes = withDirection(m.Attributes, "sendonly")
		if len(s.SSRCs) > 0 {
			continue // it says so itself
		}
		for _, line := range before[s.MID] {
			// A source that another media description has now is that one's.
			if !namesSource(line, o.Sources.Declared) {
				m.Attributes = append(m.Attributes, line)
				addSources(line, declared)
			}
		}
	}
	next := *o.Sources
	next.Declared = declared
	o.Sources = &next
}

// SourceLines are the a=ssrc and a=ssrc-group lines of an offer, by mid.
type SourceLines map[string][]sdp.Attribute

// SourceLines returns the lines about sources that pion is told, those of paused media included.
func (o *Offer) SourceLines() SourceLines {
	lines := make(SourceLines, len(o.Desc.MediaDescriptions))
	for _, m := range o.Desc.MediaDescriptions {
		mid, _ := m.Attribute(sdp.AttrKeyMID)
		for _, a := range m.Attributes {
			if a.Key == sdp.AttrKeySSRC || a.Key == sdp.AttrKeySSRCGroup {
				lines[mid] = append(lines[mid], a)
			}
		}
	}
	return lines
}

// sectionOf returns what was read of a media description, or nil.
func (o *Offer) sectionOf(m *sdp.MediaDescription) *Section {
	mid, _ := m.Attribute(sdp.AttrKeyMID)
	for i := range o.Sections {
		if o.Sections[i].MID == mid {
			return &o.Sections[i]
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
