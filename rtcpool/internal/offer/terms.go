package offer

import (
	"slices"
	"strconv"
	"strings"

	"github.com/penstock-media/penstock/media"
	"github.com/pion/sdp/v3"
)

// Terms is what was negotiated for one media description. It is read-only.
type Terms struct {
	Receive  media.ReceiveParameters
	Feedback Feedback
}

// Feedback is what the sender of a media description understands of RTCP feedback (RFC 4585) and what it sends along with
// its packets for it. The zero value is nothing.
type Feedback struct {
	NACK, PLI, FIR bool
	TransportCC    uint8      // id of the header extension; 0 unless transport-cc was negotiated with it
	REMB           bool       // goog-remb, and no transport-cc
	AbsSendTime    uint8      // id of the header extension, or 0
	Separate       bool       // retransmissions come in a stream of their own (RFC 4588)
	repairs        [128]uint8 // by payload type of a retransmission (RFC 4588): that of the original | 0x80, or 0
}

// Original returns the payload type that a retransmission's stands for.
func (f *Feedback) Original(payloadType uint8) (uint8, bool) {
	pt := f.repairs[payloadType&0x7f]
	return pt & 0x7f, pt != 0
}

// Carried returns the codec whose media a payload type carries, in redundant packets (RFC 2198) too; false for what goes along with
// it only, and says nothing of the codec that is used.
func (t *Terms) Carried(payloadType uint8) (media.Codec, bool) {
	for _, c := range t.Receive.Codecs {
		switch {
		case c.PayloadType != payloadType:
		case c.Codec == media.CodecRED:
			inner, _, _ := strings.Cut(c.Fmtp, "/")
			pt, err := strconv.ParseUint(strings.TrimSpace(inner), 10, 7)
			for _, o := range t.Receive.Codecs {
				if err == nil && o.PayloadType == uint8(pt) && !o.Codec.Companion() {
					return o.Codec, true
				}
			}
			return media.CodecUnknown, false
		case c.Codec.Companion():
			return media.CodecUnknown, false
		default:
			return c.Codec, true
		}
	}
	return media.CodecUnknown, true
}

// ReadTerms reads from the answer what was negotiated, by mid; what it refuses is left out. pion's answer repeats the
// offer's format parameters, and with them the sender's parameter sets.
func ReadTerms(answer string) map[string]*Terms {
	out := make(map[string]*Terms)
	desc := &sdp.SessionDescription{}
	if err := desc.UnmarshalString(answer); err != nil {
		return out
	}
	for _, m := range desc.MediaDescriptions {
		if m.MediaName.Port.Value == 0 {
			continue
		}
		mid, _ := m.Attribute(sdp.AttrKeyMID)
		t := &Terms{Receive: media.ReceiveParameters{Codecs: codecParameters(m)}}
		t.readExtensions(m)
		t.Feedback.read(m)
		out[mid] = t
	}
	return out
}

func (t *Terms) readExtensions(m *sdp.MediaDescription) {
	for _, a := range m.Attributes {
		if a.Key != sdp.AttrKeyExtMap {
			continue
		}
		number, uri, _ := strings.Cut(a.Value, " ")
		number, _, _ = strings.Cut(number, "/")
		id, err := strconv.ParseUint(number, 10, 8)
		if err != nil {
			continue
		}
		uri, _, _ = strings.Cut(strings.TrimSpace(uri), " ")
		switch uri {
		case extAudioLevel:
			t.Receive.Extensions.AudioLevel = uint8(id)
		case extVideoOrientation:
			t.Receive.Extensions.VideoOrientation = uint8(id)
		case extAbsCaptureTime:
			t.Receive.Extensions.AbsCaptureTime = uint8(id)
		case extDependency:
			t.Receive.Extensions.DependencyDescriptor = uint8(id)
		case sdp.TransportCCURI:
			t.Feedback.TransportCC = uint8(id)
		case sdp.ABSSendTimeURI:
			t.Feedback.AbsSendTime = uint8(id)
		}
	}
}

// read takes the a=rtcp-fb lines. What holds for one payload type is taken to hold for the media description: no sender
// is known that means it otherwise.
func (f *Feedback) read(m *sdp.MediaDescription) {
	transportCC, remb := false, false
	for _, a := range m.Attributes {
		words := strings.Fields(a.Value)
		if a.Key == "fmtp" {
			f.readRepair(words)
		}
		if a.Key != "rtcp-fb" || len(words) < 2 {
			continue
		}
		switch strings.ToLower(strings.Join(words[1:], " ")) {
		case "nack":
			f.NACK = true
		case "nack pli":
			f.PLI = true
		case "ccm fir":
			f.FIR = true
		case "transport-cc":
			transportCC = true
		case "goog-remb":
			remb = true
		}
	}
	if !transportCC {
		f.TransportCC = 0
	}
	f.REMB = remb && f.TransportCC == 0
}

// readRepair takes "97 apt=96" (RFC 4588 section 8.6).
func (f *Feedback) readRepair(words []string) {
	if len(words) < 2 {
		return
	}
	repair, err := strconv.ParseUint(words[0], 10, 7)
	if err != nil {
		return
	}
	for _, p := range strings.Split(strings.Join(words[1:], ""), ";") {
		key, value, _ := strings.Cut(p, "=")
		if original, err := strconv.ParseUint(value, 10, 7); err == nil && strings.EqualFold(key, "apt") {
			f.repairs[repair], f.Separate = uint8(original)|0x80, true
		}
	}
}

// TransportCC returns the id of the header extension that numbers all packets of a peer connection, or 0.
func TransportCC(negotiated map[string]*Terms) uint8 {
	for _, t := range negotiated {
		if t.Feedback.TransportCC != 0 {
			return t.Feedback.TransportCC
		}
	}
	return 0
}

// promiseOneFeedback leaves in an answer the one kind of congestion feedback that will be sent: transport-cc if its header
// extension was taken too, else goog-remb. A sender that waits for the other would never send more.
func promiseOneFeedback(m *sdp.MediaDescription) {
	var t Terms
	t.readExtensions(m)
	t.Feedback.read(m)
	unkept := "transport-cc"
	if t.Feedback.TransportCC != 0 {
		unkept = "goog-remb"
	}
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
		words := strings.Fields(a.Value)
		return a.Key == "rtcp-fb" && len(words) == 2 && strings.EqualFold(words[1], unkept)
	})
}
