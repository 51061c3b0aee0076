package rtcpool

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/penstock-media/penstock/media"
	"github.com/pion/sdp/v3"
)

// buildAnswer makes the answer that is given out: pion's, completed by the media descriptions that it never saw, each
// refused with port 0 (RFC 3264 section 6) at its place. local is empty when nothing was accepted.
func buildAnswer(o *offer, local string) (string, []RejectedMedia, error) {
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
	var rejected []RejectedMedia
	for i := range o.sections {
		s := &o.sections[i]
		m := byMID[s.mid]
		switch {
		case s.accepted() && m != nil && m.MediaName.Port.Value != 0:
			o.forgetInvented(m)
			o.answerSetup(m)
			if s.kind != media.KindUnknown && !s.sending {
				m.Attributes = withDirection(m.Attributes, directionInactive)
			}
			askForStereo(m)
			promiseOneFeedback(m)
			out = append(out, m)
			continue
		case s.accepted():
			rejected = append(rejected, RejectedMedia{MID: s.mid, Index: s.index, Reason: "its parameters match nothing that can be received"})
		case s.refused != "":
			rejected = append(rejected, RejectedMedia{MID: s.mid, Index: s.index, Reason: s.refused})
		}
		out = append(out, refusal(s))
	}
	desc.MediaDescriptions = out
	b, err := desc.Marshal()
	return string(b), rejected, err
}

func localDescription(o *offer, local string) (*sdp.SessionDescription, error) {
	if local == "" {
		return &sdp.SessionDescription{
			Origin: sdp.Origin{
				Username: "-", SessionID: 1, SessionVersion: o.origin.SessionVersion,
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
func refusal(s *section) *sdp.MediaDescription {
	return &sdp.MediaDescription{
		MediaName: sdp.MediaName{Media: s.name.Media, Protos: s.name.Protos, Formats: s.name.Formats},
		ConnectionInformation: &sdp.ConnectionInformation{
			NetworkType: "IN", AddressType: "IP4", Address: &sdp.Address{Address: "0.0.0.0"},
		},
		Attributes: append([]sdp.Attribute{{Key: sdp.AttrKeyMID, Value: s.mid}, {Key: directionInactive}}, s.rtpmaps...),
	}
}

// answerSetup takes the part in the DTLS handshake that the offer leaves (RFC 8842 section 5.3). pion takes it, but answers an ICE-lite
// offerer that waits to be called that it will wait too.
func (o *offer) answerSetup(m *sdp.MediaDescription) {
	part := map[string]string{"active": "passive", "passive": "active"}[firstAttribute(o.desc, "setup")]
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
