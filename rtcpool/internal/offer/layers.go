package offer

import (
	"slices"
	"strings"

	"github.com/penstock-media/penstock/media"
	"github.com/pion/sdp/v3"
)

// maxLayers bounds the encodings of one media description that are received; the first ones are.
const maxLayers = 8

// readLayers returns the rids (RFC 8851) of the encodings that a media description sends, and the lines of the header extensions that tell
// them apart (RFC 8852). There are none where they cannot be told apart, or where there is one whose source is declared: it is received
// by that.
func readLayers(m *sdp.MediaDescription, s *Section) (rids []string, extensions []sdp.Attribute) {
	if s.Kind != media.KindVideo {
		return nil, nil
	}
	mid := false
	for _, a := range m.Attributes {
		switch a.Key {
		case "rid":
			words := strings.Fields(a.Value)
			if len(words) >= 2 && words[1] == "send" && usableRID(words[0]) && len(rids) < maxLayers && !slices.Contains(rids, words[0]) {
				rids = append(rids, words[0])
			}
		case sdp.AttrKeyExtMap:
			id, uri := readExtMap(a.Value)
			if mid = mid || id != 0 && uri == sdp.SDESMidURI; id != 0 && isRIDExtension(uri) {
				extensions = append(extensions, a)
			}
		}
	}
	told := slices.ContainsFunc(extensions, func(a sdp.Attribute) bool {
		_, uri := readExtMap(a.Value)
		return uri == sdp.SDESRTPStreamIDURI
	})
	if !mid || !told || len(rids) == 0 || len(rids) == 1 && len(s.SSRCs) > 0 {
		return nil, nil
	}
	return rids, extensions
}

// usableRID tells whether a rid is one (RFC 8852 section 3.1).
func usableRID(rid string) bool {
	return len(rid) > 0 && len(rid) <= maxIdentifierBytes && strings.IndexFunc(rid, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	}) < 0
}

func isRIDExtension(uri string) bool {
	return uri == sdp.SDESRTPStreamIDURI || uri == sdp.SDESRepairRTPStreamIDURI
}

// answerLayers takes the encodings that are offered, all of them, by name (RFC 8853 section 5.3.2). pion knows nothing of them: to
// it they are sources that nobody declared.
func answerLayers(m *sdp.MediaDescription, s *Section) {
	if len(s.Layers) == 0 || !s.Sending {
		return
	}
	for _, a := range s.ridExtensions {
		number, rest, _ := strings.Cut(a.Value, " ")
		number, _, _ = strings.Cut(number, "/") // the direction is the offerer's
		m.WithValueAttribute(sdp.AttrKeyExtMap, number+" "+strings.Fields(rest)[0])
	}
	for _, rid := range s.Layers {
		m.WithValueAttribute("rid", rid+" recv")
	}
	m.WithValueAttribute("simulcast", "recv "+strings.Join(s.Layers, ";"))
}
