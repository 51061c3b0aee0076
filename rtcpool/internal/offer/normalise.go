package offer

import (
	"slices"
	"strconv"
	"strings"

	"github.com/penstock-media/penstock/media"
	"github.com/pion/sdp/v3"
)

// normalise leaves in an accepted media description only what pion can read: an offer that pion refuses half-way cannot
// be taken back. What is left out is what could not be received anyway.
func normalise(m *sdp.MediaDescription, s *Section) {
	if s.Kind == media.KindUnknown {
		return
	}
	m.MediaName.Formats = readableFormats(m)
	keep := keptSources(m, s.SSRCs)
	out := m.Attributes[:0:0]
	for _, a := range m.Attributes {
		switch a.Key {
		case sdp.AttrKeyExtMap:
			var x sdp.ExtMap
			if _, uri := readExtMap(a.Value); x.Unmarshal(a.String()) != nil || isRIDExtension(uri) {
				continue
			}
		case sdp.AttrKeySSRC, sdp.AttrKeySSRCGroup:
			if !keep(a) {
				continue
			}
		case "rid", "simulcast": // pion is not to take their sources: see answerLayers
			continue
		}
		out = append(out, a)
	}
	direction := "sendonly" // absent is sendrecv, and we never send
	if !s.Sending {
		direction = directionInactive
	}
	m.Attributes = withDirection(out, direction)
}

// readableFormats drops the formats that have no a=rtpmap and no static meaning, retransmissions of nothing, and variants of a codec that
// cannot be received.
func readableFormats(m *sdp.MediaDescription) []string {
	one := &sdp.SessionDescription{MediaDescriptions: []*sdp.MediaDescription{m}}
	var out []string
	for _, format := range m.MediaName.Formats {
		pt, err := strconv.ParseUint(format, 10, 7)
		if err != nil || slices.Contains(out, format) {
			continue
		}
		c, err := one.GetCodecForPayloadType(uint8(pt))
		if err != nil || !readableFmtp(c.Fmtp) {
			continue
		}
		if codec, known := codecByName(c.Name); known && unreceivable(codec, c.Fmtp) != "" {
			continue
		}
		out = append(out, format)
	}
	return out
}

func readableFmtp(fmtp string) bool {
	for _, p := range strings.Split(fmtp, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if _, err := strconv.ParseUint(value, 10, 7); strings.EqualFold(key, "apt") && err != nil {
			return false
		}
	}
	return true
}

// keptSources returns a filter for a=ssrc and a=ssrc-group that leaves the one source that is received and its repair
// streams. More than one would look like Plan B (RFC 9429 knows no such thing) to pion.
func keptSources(m *sdp.MediaDescription, ssrcs []uint32) func(sdp.Attribute) bool {
	keep := make(map[string]struct{})
	if len(ssrcs) > 0 {
		keep[strconv.FormatUint(uint64(ssrcs[0]), 10)] = struct{}{}
	}
	groups := make(map[string]struct{})
	for _, a := range m.Attributes {
		words := strings.Fields(a.Value)
		if a.Key != sdp.AttrKeySSRCGroup || len(words) != 3 || (words[0] != "FID" && words[0] != "FEC-FR") {
			continue
		}
		if _, ok := keep[words[1]]; ok && len(ssrcs) > 0 && words[1] == strconv.FormatUint(uint64(ssrcs[0]), 10) {
			keep[words[2]] = struct{}{}
			groups[a.Value] = struct{}{}
		}
	}
	return func(a sdp.Attribute) bool {
		if a.Key == sdp.AttrKeySSRCGroup {
			_, ok := groups[a.Value]
			return ok
		}
		word, _, _ := strings.Cut(a.Value, " ")
		_, ok := keep[word]
		return ok
	}
}
