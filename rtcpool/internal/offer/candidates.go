package offer

import (
	"slices"
	"strings"

	"github.com/pion/ice/v4"
	"github.com/pion/sdp/v3"
)

// MaxCandidates bounds the candidates of one offer.
const MaxCandidates = 256

const maxCandidateBytes = 1024

// Candidates returns the candidate attributes of an offer.
func (o *Offer) Candidates() []string {
	var out []string
	for _, m := range o.Desc.MediaDescriptions {
		for _, a := range m.Attributes {
			if a.Key == sdp.AttrKeyCandidate {
				out = append(out, a.Value)
			}
		}
	}
	return out
}

// KeepCandidates takes all but those out of an offer.
func (o *Offer) KeepCandidates(values []string) {
	keep := make(map[string]struct{}, len(values))
	for _, v := range values {
		keep[v] = struct{}{}
	}
	for _, m := range o.Desc.MediaDescriptions {
		rest := m.Attributes[:0:0]
		for _, a := range m.Attributes {
			if _, ok := keep[a.Value]; a.Key == sdp.AttrKeyCandidate && !ok {
				continue
			}
			rest = append(rest, a)
		}
		m.Attributes = rest
	}
}

// FilterCandidates leaves only the candidates that keep takes.
func (o *Offer) FilterCandidates(keep func(value string) bool) {
	for _, m := range o.Desc.MediaDescriptions {
		m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
			return a.Key == sdp.AttrKeyCandidate && !keep(a.Value)
		})
	}
}

// WithoutCandidates returns a copy of the offer for pion.
func (o *Offer) WithoutCandidates() *Offer {
	desc := *o.Desc
	desc.MediaDescriptions = nil
	for _, m := range o.Desc.MediaDescriptions {
		bare := *m
		bare.Attributes = nil
		for _, a := range m.Attributes {
			if a.Key != sdp.AttrKeyCandidate && a.Key != sdp.AttrKeyEndOfCandidates {
				bare.Attributes = append(bare.Attributes, a)
			}
		}
		desc.MediaDescriptions = append(desc.MediaDescriptions, &bare)
	}
	return &Offer{Desc: &desc}
}

// takeCandidates removes the candidates from every media description and returns those that can be used, each once.
func (o *Offer) takeCandidates() []sdp.Attribute {
	var out []sdp.Attribute
	seen := make(map[string]struct{})
	for _, m := range o.Desc.MediaDescriptions {
		rest := m.Attributes[:0:0]
		for _, a := range m.Attributes {
			switch a.Key {
			case sdp.AttrKeyCandidate:
				if _, dup := seen[a.Value]; dup || len(out) >= MaxCandidates || !UsableCandidate(a.Value) {
					continue
				}
				seen[a.Value] = struct{}{}
				out = append(out, a)
			case sdp.AttrKeyEndOfCandidates:
			default:
				rest = append(rest, a)
			}
		}
		m.Attributes = rest
	}
	return out
}

// UsableCandidate tells whether ICE understands a candidate attribute (RFC 8839 section 5.1).
func UsableCandidate(value string) bool {
	if len(value) > maxCandidateBytes {
		return false
	}
	c, err := ice.UnmarshalCandidate(strings.TrimPrefix(value, "candidate:"))
	return err == nil && c != nil
}

// ReadCandidate tells whether ICE understands a candidate (W3C RTCIceCandidateInit), and the username fragment that it names, or
// else the one that was given beside it. The empty candidate is end-of-candidates.
func ReadCandidate(text, beside string) (ufrag string, ok bool) {
	value := strings.TrimPrefix(text, "candidate:")
	if value == "" {
		return beside, true
	}
	if len(text) > maxCandidateBytes || !UsableCandidate(value) {
		return "", false
	}
	parsed, err := ice.UnmarshalCandidate(value)
	if err != nil {
		return "", false
	}
	if extension, found := parsed.GetExtension("ufrag"); found {
		return extension.Value, true
	}
	return beside, true
}

// CandidateIdentity is a candidate without what says nothing of the address: foundation, extensions.
func CandidateIdentity(value string) string {
	words := strings.Fields(strings.TrimPrefix(value, "candidate:"))
	if len(words) < 8 {
		return value
	}
	identity := strings.Join(words[1:8], " ")
	for i := 8; i+1 < len(words); i += 2 {
		if words[i] == "tcptype" {
			identity += " " + words[i+1]
		}
	}
	return identity
}
