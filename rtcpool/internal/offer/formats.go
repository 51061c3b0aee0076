package offer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock-media/penstock/media"
	"github.com/pion/sdp/v3"
)

// h264Profiles are the profiles that are decoded, as in the first byte of profile-level-id (ITU-T H.264 Annex A): baseline, main,
// high, high 10, high 4:2:2, high 4:4:4 predictive.
var h264Profiles = []string{"42", "4d", "64", "6e", "7a", "f4"}

// h264Formats returns the variants that pion is to match: it wants the mode and the first two bytes of profile-level-id, the profile and its constraints,
// to be the same.
func h264Formats() []string {
	var out []string
	for _, mode := range []string{"1", "0"} {
		for _, profile := range []string{"42e0", "4200", "42c0", "4d00", "4d40", "6400", "640c", "6e00", "7a00", "f400"} {
			out = append(out, "level-asymmetry-allowed=1;packetization-mode="+mode+";profile-level-id="+profile+"1f")
		}
	}
	return out
}

// formatLimit is what a parameter of a format may be, for it to be received. One that is left out has its default, which always can be.
type formatLimit struct {
	codec   media.Codec
	name    string
	allowed []string
	use     string
}

func formatLimits() []formatLimit {
	return []formatLimit{
		{media.CodecH264, "packetization-mode", []string{"0", "1"}, "0 or 1"},
		{media.CodecH265, "sprop-max-don-diff", []string{"0"}, "0"},
		{media.CodecH265, "sprop-depack-buf-nalus", []string{"0"}, "0"},
		{media.CodecH265, "tx-mode", []string{"srst"}, "SRST"},
		{media.CodecH265, "profile-id", []string{"1", "2"}, "1 or 2"},
		{media.CodecVP9, "profile-id", []string{"0", "2"}, "0 or 2"},
		{media.CodecAV1, "profile", []string{"0"}, "0"},
	}
}

// unreceivable says why a format of a codec that is received cannot be; empty when it can.
func unreceivable(codec media.Codec, fmtp string) string {
	parameter := formatParameters(fmtp)
	for _, l := range formatLimits() {
		if value := parameter[l.name]; l.codec == codec && value != "" && !slices.Contains(l.allowed, value) {
			return fmt.Sprintf("%v with %s %.8q; use %s", codec, l.name, value, l.use)
		}
	}
	if id := parameter["profile-level-id"]; codec == media.CodecH264 && id != "" && (len(id) != 6 || !slices.Contains(h264Profiles, id[:2])) {
		return fmt.Sprintf("H264 with profile-level-id %.8q; use baseline, main or high", id)
	}
	return ""
}

// formatParameters reads a=fmtp (RFC 8866 section 6.15), all in lower case.
func formatParameters(fmtp string) map[string]string {
	out := make(map[string]string)
	for p := range strings.SplitSeq(strings.ToLower(fmtp), ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		out[name] = value
	}
	return out
}

// maxReasons bounds how many formats a refusal goes into.
const maxReasons = 4

// refusalOf says why no codec of a media description can be received, in a form that pion takes: it would answer one of which it takes nothing with
// formats that nobody offered. It is empty when one can.
func refusalOf(m *sdp.MediaDescription, kind media.Kind) string {
	one := &sdp.SessionDescription{MediaDescriptions: []*sdp.MediaDescription{m}}
	var why []string
	for _, format := range m.MediaName.Formats {
		pt, err := strconv.ParseUint(format, 10, 7)
		if err != nil {
			continue
		}
		c, err := one.GetCodecForPayloadType(uint8(pt))
		if err != nil || !readableFmtp(c.Fmtp) || !takes(kind, c) {
			continue
		}
		codec, _ := codecByName(c.Name)
		if codec.Companion() {
			continue
		}
		reason := unreceivable(codec, c.Fmtp)
		if reason == "" {
			return ""
		}
		if len(why) < maxReasons && !slices.Contains(why, reason) {
			why = append(why, reason)
		}
	}
	if len(why) == 0 {
		return "none of its codecs can be received"
	}
	return "none of its codecs can be received: " + strings.Join(why, "; ")
}
