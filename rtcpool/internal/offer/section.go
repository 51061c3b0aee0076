package offer

import (
	"slices"
	"strconv"
	"strings"

	"github.com/penstock-media/penstock/media"
	"github.com/pion/sdp/v3"
)

const (
	directionInactive = "inactive"
	directionRecvonly = "recvonly"
)

// Section is what one media description of an offer says of the media that it announces.
type Section struct {
	Index   int
	MID     string
	Kind    media.Kind // unknown for what is neither audio nor video
	Name    sdp.MediaName
	Sending bool            // its direction lets the other side send
	stopped bool            // the offerer has stopped it: port 0 and not bundle-only
	refused string          // why it is refused; empty when it is not
	rtpmaps []sdp.Attribute // to be repeated in an answer that refuses

	StreamID, TrackID string   // msid (RFC 8830)
	SSRCs             []uint32 // declared by a=ssrc: one, or none
	otherSSRCs        []uint32 // declared beside it; not received
	Layers            []string // the rids of a simulcast (RFC 8853) whose encodings are told apart by a header extension
	ridExtensions     []sdp.Attribute
}

// Accepted tells whether the answer takes the media description.
func (s *Section) Accepted() bool { return s.refused == "" && !s.stopped }

func readSection(m *sdp.MediaDescription, index int, mid string) Section {
	s := Section{Index: index, MID: mid, Name: m.MediaName}
	switch m.MediaName.Media {
	case "audio":
		s.Kind = media.KindAudio
	case "video":
		s.Kind = media.KindVideo
	}
	_, bundleOnly := m.Attribute("bundle-only")
	s.stopped = m.MediaName.Port.Value == 0 && !bundleOnly
	switch {
	case s.stopped:
	case m.MediaName.Media == applicationMedia && isDataChannel(m.MediaName):
	case s.Kind == media.KindUnknown:
		s.refused = "media of type " + strconv.Quote(m.MediaName.Media) + " are not received"
	default:
		if s.refused = refusalOf(m, s.Kind); s.refused != "" {
			break
		}
		s.Sending = sends(m)
		s.StreamID, s.TrackID = readMSID(m)
		s.SSRCs, s.otherSSRCs = readSSRCs(m)
		if s.Layers, s.ridExtensions = readLayers(m, &s); len(s.Layers) > 0 {
			s.SSRCs, s.otherSSRCs = nil, nil
		}
	}
	for _, a := range m.Attributes {
		if a.Key == "rtpmap" {
			s.rtpmaps = append(s.rtpmaps, a)
		}
	}
	return s
}

func isDataChannel(n sdp.MediaName) bool {
	return len(n.Protos) > 0 && n.Protos[len(n.Protos)-1] == "SCTP"
}

// sends tells whether the direction (RFC 8866 section 6.7) lets the offerer send. Absent is sendrecv.
func sends(m *sdp.MediaDescription) bool {
	for _, a := range m.Attributes {
		switch a.Key {
		case directionInactive, directionRecvonly:
			return false
		}
	}
	return true
}

// sendsBySession tells whether the session's direction, which holds for descriptions without one, lets the offerer send.
func sendsBySession(d *sdp.SessionDescription, m *sdp.MediaDescription) bool {
	for _, key := range []string{"sendrecv", "sendonly"} {
		if _, ok := m.Attribute(key); ok {
			return true
		}
	}
	for _, key := range []string{directionInactive, directionRecvonly} {
		if _, ok := d.Attribute(key); ok {
			return false
		}
	}
	return true
}

func withDirection(in []sdp.Attribute, direction string) []sdp.Attribute {
	out := in[:0:0]
	for _, a := range in {
		switch a.Key {
		case "sendrecv", "sendonly", directionRecvonly, directionInactive:
		default:
			out = append(out, a)
		}
	}
	return append(out, sdp.Attribute{Key: direction})
}

// readMSID returns the first a=msid (RFC 8830), or what a=ssrc lines say of it (RFC 5576), as older senders do.
func readMSID(m *sdp.MediaDescription) (streamID, trackID string) {
	value, ok := m.Attribute(sdp.AttrKeyMsid)
	if !ok {
		for _, a := range m.Attributes {
			if _, rest, found := strings.Cut(a.Value, " msid:"); a.Key == sdp.AttrKeySSRC && found {
				value = rest
				break
			}
		}
	}
	words := strings.Fields(value)
	if len(words) > 0 && len(words[0]) <= maxIdentifierBytes && words[0] != "-" {
		streamID = words[0]
	}
	if len(words) > 1 && len(words[1]) <= maxIdentifierBytes {
		trackID = words[1]
	}
	return streamID, trackID
}

// readSSRCs returns the first declared source that does not only repair another (RFC 4588, RFC 5956), and the rest.
func readSSRCs(m *sdp.MediaDescription) (first, others []uint32) {
	repairs := make(map[uint32]struct{})
	for _, a := range m.Attributes {
		words := strings.Fields(a.Value)
		if a.Key != sdp.AttrKeySSRCGroup || len(words) != 3 || (words[0] != "FID" && words[0] != "FEC-FR") {
			continue
		}
		if n, err := strconv.ParseUint(words[2], 10, 32); err == nil {
			repairs[uint32(n)] = struct{}{}
		}
	}
	for _, a := range m.Attributes {
		if a.Key != sdp.AttrKeySSRC {
			continue
		}
		word, _, _ := strings.Cut(a.Value, " ")
		n, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			continue
		}
		_, repair := repairs[uint32(n)]
		switch {
		case repair:
		case len(first) == 0:
			first = []uint32{uint32(n)} // one source of a media description is received
		case uint32(n) != first[0] && len(others) < maxOtherSSRCs && !slices.Contains(others, uint32(n)):
			others = append(others, uint32(n))
		}
	}
	return first, others
}

// maxOtherSSRCs is more than a simulcast of three layers with their repairs has.
const maxOtherSSRCs = 16
