package media

import (
	"encoding/base64"
	"strings"
)

// maxSetBytes bounds the parameter sets of a kind that are kept: real ones have some hundred bytes.
const maxSetBytes = 16 << 10

// parameterSets keeps the newest parameter sets of H.264 or H.265, in Annex B: those of a=fmtp until some come in-band. They go before a
// key frame that comes without, so that a decoder may start there. A kind refers to those of the kinds before it.
type parameterSets struct {
	kept  [3][]byte
	fresh [3][]byte // of the unit under way
}

// newParameterSets reads the sets in a=fmtp (RFC 6184 section 8.1, RFC 7798 section 7.1). One that is malformed makes all count as absent.
func newParameterSets(fmtp string, kindOf func(nal []byte) int) parameterSets {
	var s parameterSets
	for param := range strings.SplitSeq(fmtp, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		switch strings.ToLower(name) {
		case "sprop-parameter-sets", "sprop-vps", "sprop-sps", "sprop-pps":
		default:
			continue
		}
		for text := range strings.SplitSeq(value, ",") {
			nal, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
			if err != nil || len(nal) == 0 {
				return parameterSets{}
			}
			s.note(kindOf(nal), nal)
		}
	}
	s.keep()
	s.begin()
	return s
}

// begin forgets what is left of the unit before.
func (s *parameterSets) begin() {
	for i := range s.fresh {
		s.fresh[i] = s.fresh[i][:0]
	}
}

// note takes a NAL unit of a kind; one that is no set has a negative one.
func (s *parameterSets) note(kind int, nal []byte) {
	if kind >= 0 && len(s.fresh[kind])+len(nal) <= maxSetBytes {
		s.fresh[kind] = append(append(s.fresh[kind], annexBStart...), nal...)
	}
}

// keep keeps what the unit has.
func (s *parameterSets) keep() {
	for i, sets := range s.fresh {
		if len(sets) > 0 {
			s.kept[i] = append(s.kept[i][:0], sets...)
		}
	}
}

// complete puts what is kept before a key frame that lacks some of it. Called after keep.
func (s *parameterSets) complete(dst []byte) []byte {
	missing, length := false, 0
	for i, sets := range s.kept {
		missing = missing || len(sets) > 0 && len(s.fresh[i]) == 0
		length += len(sets)
	}
	if !missing {
		return dst
	}
	n := len(dst)
	for _, sets := range s.kept {
		dst = append(dst, sets...)
	}
	copy(dst[length:], dst[:n])
	at := 0
	for _, sets := range s.kept {
		at += copy(dst[at:], sets)
	}
	return dst
}
