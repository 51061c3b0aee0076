package offer

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/penstock-media/penstock/media"
	"github.com/pion/sdp/v3"
)

// Rejected is a media description that the answer refuses.
type Rejected struct {
	MID    string
	Index  int
	Reason string
}

// BuildAnswer makes the answer that is given out: pion's, completed by the media descriptions that it never saw, each
// refused with port 0 (RFC 3264 section 6) at its place. local is empty when nothing was accepted.
func BuildAnswer(o *Offer, local string) (string, []Rejected, error) {
	desc, err := localDescription(o, local)
	if err != nil {
		return "", nil, err
	}
	byMID := make(map[string]*sdp.MediaDescription, len(desc.MediaDescriptions))
	for _, m := range desc.MediaDescriptions {
		if mid, ok := m.Attribute(sdp.AttrKeyMID); ok {
			byMID[mid] = m
		}
	}
	var out []*sdp.MediaDescription
	var rejected []Rejected
	for i := range o.Sections {
		s := &o.Sections[i]
		m := byMID[s.MID]
		switch {
		case s.Accepted() && m != nil && m.MediaName.Port.Value != 0:
			o.forgetInvented(m)
			o.answerSetup(m)
			if s.Kind != media.KindUnknown && !s.Sending {
				m.Attributes = withDirection(m.Attributes, directionInactive)
			}
			askForStereo(m)
			promiseOneFeedback(m)
			answerLayers(m, s)
			out = append(out, m)
			continue
		case s.Accepted():
			rejected = append(rejected, Rejected{MID: s.MID, Index: s.Index, Reason: "its parameters match nothing that can be received"})
		case s.refused != "":
			rejected = append(rejected, Rejected{MID: s.MID, Index: s.Index, Reason: s.refused})
		}
		out = append(out, refusal(s))
	}
	desc.MediaDescriptions = out
	b, err := desc.Marshal()
	return string(b), rejected, err
}

func localDescription(o *Offer, local string) (*sdp.SessionDescription, error) {
	if local == "" {
		return &sdp.SessionDescription{
			Origin: sdp.Origin{
				Username: "-", SessionID: 1, SessionVersion: o.Origin.SessionVersion,
				NetworkType: "IN", AddressType: "IP4", UnicastAddress: "0.0.0.0",
			},
			SessionName: "-", TimeDescriptions: []sdp.TimeDescription{{}},
		}, nil
	}
	desc := &sdp.SessionDescription{}
	if err := desc.UnmarshalString(local); err != nil {
		return nil, fmt.Errorf("reading the local description: %w", err)
	}
	return desc, nil
}

// refusal repeats the offered formats: there is none to leave out, and some peers want each to have its a=rtpmap.
func refusal(s *Section) *sdp.MediaDescription {
	return &sdp.MediaDescription{
		MediaName: sdp.MediaName{Media: s.Name.Media, Protos: s.Name.Protos, Formats: s.Name.Formats},
		ConnectionInformation: &sdp.ConnectionInformation{
			NetworkType: "IN", AddressType: "IP4", Address: &sdp.Address{Address: "0.0.0.0"},
		},
		Attributes: append([]sdp.Attribute{{Key: sdp.AttrKeyMID, Value: s.MID}, {Key: directionInactive}}, s.rtpmaps...),
	}
}

// answerSetup takes the part in the DTLS handshake that the offer leaves (RFC 8842 section 5.3). pion takes it, but answers an ICE-lite
// offerer that waits to be called that it will wait too.
func (o *Offer) answerSetup(m *sdp.MediaDescription) {
	part := map[string]string{"active": "passive", "passive": "active"}[firstAttribute(o.Desc, "setup")]
	for i, a := range m.Attributes {
		if a.Key == sdp.AttrKeyConnectionSetup && part != "" {
			m.Attributes[i].Value = part
		}
	}
}

// askForStereo says in the format parameters of Opus (RFC 7587 section 6.1) that stereo and in-band FEC are welcome.
func askForStereo(m *sdp.MediaDescription) {
	for _, pt := range payloadTypes(m, media.CodecOpus) {
		prefix := strconv.Itoa(int(pt)) + " "
		found := false
		for i, a := range m.Attributes {
			if a.Key == "fmtp" && strings.HasPrefix(a.Value, prefix) {
				m.Attributes[i].Value = prefix + withParameters(strings.TrimPrefix(a.Value, prefix), "stereo", "useinbandfec")
				found = true
			}
		}
		if !found {
			m.WithValueAttribute("fmtp", prefix+withParameters("", "stereo", "useinbandfec"))
		}
	}
}

// withParameters sets each named format parameter to 1.
func withParameters(fmtp string, names ...string) string {
	var out []string
	for _, p := range strings.Split(fmtp, ";") {
		key, _, _ := strings.Cut(strings.TrimSpace(p), "=")
		replaced := key == ""
		for _, name := range names {
			replaced = replaced || strings.EqualFold(key, name)
		}
		if !replaced {
			out = append(out, strings.TrimSpace(p))
		}
	}
	for _, name := range names {
		out = append(out, name+"=1")
	}
	return strings.Join(out, ";")
}

// payloadTypes returns those that a media description maps to a codec.
func payloadTypes(m *sdp.MediaDescription, codec media.Codec) []uint8 {
	var out []uint8
	for _, c := range codecParameters(m) {
		if c.Codec == codec {
			out = append(out, c.PayloadType)
		}
	}
	return out
}

func codecParameters(m *sdp.MediaDescription) []media.CodecParameters {
	one := &sdp.SessionDescription{MediaDescriptions: []*sdp.MediaDescription{m}}
	var out []media.CodecParameters
	for _, format := range m.MediaName.Formats {
		pt, err := strconv.ParseUint(format, 10, 7)
		if err != nil {
			continue
		}
		c, err := one.GetCodecForPayloadType(uint8(pt))
		if err != nil {
			continue
		}
		codec, ok := codecByName(c.Name)
		if !ok {
			continue
		}
		channels, _ := strconv.Atoi(c.EncodingParameters)
		out = append(out, media.CodecParameters{
			Codec: codec, PayloadType: uint8(pt), ClockRate: c.ClockRate, Channels: channels, Fmtp: c.Fmtp,
		})
	}
	return out
}

// GatheringComplete tells whether a local description holds every candidate.
func GatheringComplete(local string) bool { return strings.Contains(local, "\r\na=end-of-candidates") }

// ReadAnswer reads what an answer tells of ICE: the username fragment, the candidates, and whether there are no more.
func ReadAnswer(text string) (ufrag string, candidates []string, ended bool, err error) {
	desc := &sdp.SessionDescription{}
	if err := desc.UnmarshalString(text); err != nil {
		return "", nil, false, fmt.Errorf("reading an answer: %w", err)
	}
	for _, m := range desc.MediaDescriptions {
		for _, a := range m.Attributes {
			switch a.Key {
			case sdp.AttrKeyCandidate:
				candidates = append(candidates, a.Value)
			case sdp.AttrKeyEndOfCandidates:
				ended = true
			}
		}
	}
	return firstAttribute(desc, "ice-ufrag"), candidates, ended, nil
}
