package rtcpool

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/ice/v4"
	"github.com/pion/sdp/v3"
)

// Bounds on what an offer may hold. A call of 256 participants with camera and microphone has 512 media descriptions.
const (
	maxMediaDescriptions = 512
	maxOfferCandidates   = 256
	maxIdentifierBytes   = 256 // of a mid, or of either half of an msid
	maxFormats           = 128 // of one media description: there are no more payload types
	// maxWork bounds the sum of formats × attributes over all media descriptions: pion looks at each attribute for each
	// format. Chromium's own offer of 500 media descriptions comes to 2 million.
	maxWork = 8 << 20
)

const applicationMedia = "application"

// offer is a remote offer that has been parsed, mended and reduced to what can be received.
type offer struct {
	hash     [sha256.Size]byte // of the SDP as it came
	origin   sdp.Origin
	sections []section               // every media description, in order
	desc     *sdp.SessionDescription // the accepted ones only, for pion
	sources  *offeredSources
	invented []string // what desc has of a=extmap lines that nobody offered
	ufrag    string
	named    []string         // candidates whose mDNS name must be resolved first
	remotes  []netip.AddrPort // of its UDP candidates
}

// sdp returns what is given to pion.
func (o *offer) sdp() (string, error) {
	b, err := notAlone(o.desc).Marshal()
	return string(b), err
}

// sameOrigin tells whether the versions of two offers can be compared (RFC 8866 section 5.2).
func (o *offer) sameOrigin(other *offer) bool {
	return o.origin.Username == other.origin.Username && o.origin.SessionID == other.origin.SessionID
}

// mendSDP repairs what real SFUs are known to write: "a=msid-semantic:WMS*" without its blank, and blanks at the
// end of a=rtcp-fb lines. Line ends become CRLF (RFC 8866 section 5).
func mendSDP(text string) string {
	var b strings.Builder
	b.Grow(len(text) + 16)
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "a=msid-semantic:"):
			line = "a=msid-semantic: WMS *"
		case strings.HasPrefix(line, "a=rtcp-fb:"):
			line = strings.TrimRight(line, " \t")
		case line == "":
			continue
		}
		b.WriteString(line)
		b.WriteString("\r\n")
	}
	return b.String()
}

// parseOffer parses an offer of at most limit bytes. Errors: *SDPError, ErrNoMedia.
func parseOffer(text string, limit int) (*offer, error) {
	if len(text) > limit {
		return nil, &SDPError{What: fmt.Sprintf("%d bytes, more than the %d allowed", len(text), limit)}
	}
	if !strings.HasPrefix(text, "v=0") {
		return nil, &SDPError{Where: "line 1", What: "not an SDP offer: it does not begin with v=0 (RFC 8866)"}
	}
	desc := &sdp.SessionDescription{}
	if err := desc.UnmarshalString(mendSDP(text)); err != nil {
		return nil, &SDPError{What: "not an SDP offer (RFC 8866)", Err: err}
	}
	switch n := len(desc.MediaDescriptions); {
	case n == 0:
		return nil, fmt.Errorf("offer without an m= line: %w", ErrNoMedia)
	case n > maxMediaDescriptions:
		return nil, &SDPError{What: fmt.Sprintf("%d media descriptions, more than the %d allowed", n, maxMediaDescriptions)}
	}
	if err := checkWork(desc.MediaDescriptions); err != nil {
		return nil, err
	}
	o := &offer{hash: sha256.Sum256([]byte(text)), origin: desc.Origin, desc: desc}
	if err := o.readSections(); err != nil {
		return nil, err
	}
	if err := o.gatherTransport(); err != nil {
		return nil, err
	}
	o.reduce()
	return o, nil
}

// checkWork refuses what would take long to read.
func checkWork(sections []*sdp.MediaDescription) error {
	work := 0
	for i, m := range sections {
		if len(m.MediaName.Formats) > maxFormats {
			return &SDPError{Where: fmt.Sprintf("m-line %d", i), What: fmt.Sprintf("has more than %d formats", maxFormats)}
		}
		work += len(m.MediaName.Formats) * len(m.Attributes)
	}
	if work > maxWork {
		return &SDPError{What: "too many formats and attributes; offer fewer codecs or fewer media descriptions"}
	}
	return nil
}

// readSections fills o.sections and gives a mid to the only media description of an offer that has none.
func (o *offer) readSections() error {
	bundle, bundled := bundleGroup(o.desc)
	seen := make(map[string]int, len(o.desc.MediaDescriptions))
	for i, m := range o.desc.MediaDescriptions {
		mid, ok := m.Attribute(sdp.AttrKeyMID)
		if !ok && len(o.desc.MediaDescriptions) == 1 {
			mid = "0"
			m.WithValueAttribute(sdp.AttrKeyMID, mid)
		}
		if err := checkMID(mid, i, seen); err != nil {
			return err
		}
		if err := checkFormats(m, i); err != nil {
			return err
		}
		seen[mid] = i
		s := readSection(m, i, mid)
		s.sending = s.sending && sendsBySession(o.desc, m)
		switch _, inBundle := bundle[mid]; {
		case s.refused != "" || s.stopped:
		case bundled && !inBundle, !bundled && i > 0:
			s.refused = "not in the first a=group:BUNDLE (RFC 9143)"
		}
		o.sections = append(o.sections, s)
	}
	return nil
}

// checkFormats wants payload types (RFC 3551 section 6) of what is media.
func checkFormats(m *sdp.MediaDescription, index int) error {
	if name := m.MediaName; name.Media != "audio" && name.Media != "video" || name.Port.Value == 0 {
		return nil
	}
	for _, format := range m.MediaName.Formats {
		if _, err := strconv.ParseUint(format, 10, 7); err == nil {
			return nil
		}
	}
	return &SDPError{Where: fmt.Sprintf("m-line %d", index), What: "has no payload type from 0 to 127 (RFC 3551)"}
}

func checkMID(mid string, index int, seen map[string]int) error {
	where := fmt.Sprintf("m-line %d", index)
	switch {
	case mid == "":
		return &SDPError{Where: where, What: "has no a=mid (RFC 9143 needs one for each)"}
	case len(mid) > maxIdentifierBytes:
		return &SDPError{Where: where, What: "its a=mid is too long"}
	}
	if first, ok := seen[mid]; ok {
		return &SDPError{Where: where, What: fmt.Sprintf("has the same a=mid as m-line %d", first)}
	}
	return nil
}

// bundleGroup returns the mids of the first BUNDLE group. ok is false when there is none.
func bundleGroup(d *sdp.SessionDescription) (mids map[string]struct{}, ok bool) {
	for _, a := range d.Attributes {
		words := strings.Fields(a.Value)
		if a.Key != sdp.AttrKeyGroup || len(words) == 0 || words[0] != "BUNDLE" {
			continue
		}
		mids = make(map[string]struct{}, len(words)-1)
		for _, mid := range words[1:] {
			mids[mid] = struct{}{}
		}
		return mids, true
	}
	return nil, false
}

// gatherTransport moves the one transport's attributes to where pion finds them even when the media description that
// carried them is refused: credentials and fingerprint to the session, candidates to the first accepted description.
func (o *offer) gatherTransport() error {
	for _, key := range []string{"ice-ufrag", "ice-pwd", "fingerprint"} {
		value := firstAttribute(o.desc, key)
		if value == "" && !slices.ContainsFunc(o.sections, func(s section) bool { return s.accepted() }) {
			continue // nothing is left that would need it
		}
		if value == "" {
			return &SDPError{What: "has no a=" + key + "; ICE (RFC 8839) and DTLS (RFC 8842) are needed"}
		}
		if key == "fingerprint" && len(strings.Fields(value)) != 2 {
			return &SDPError{What: "a=fingerprint is not a hash function and a fingerprint (RFC 8122)"}
		}
		switch {
		case key == "ice-ufrag" && !usableCredential(value, 4), key == "ice-pwd" && !usableCredential(value, 22):
			return &SDPError{What: "its a=" + key + " is too short, too long, or has blanks (RFC 8839 section 5.4)"}
		case key == "ice-ufrag":
			o.ufrag = value
		}
		if _, ok := o.desc.Attribute(key); !ok {
			o.desc.Attributes = append(o.desc.Attributes, sdp.Attribute{Key: key, Value: value})
		}
	}
	return nil
}

// usableCredential tells whether ICE can work with a fragment or a password. Some senders use more characters than the
// ice-chars of RFC 8839 section 5.4.
func usableCredential(value string, least int) bool {
	return len(value) >= least && len(value) <= 256 &&
		strings.IndexFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

// firstAttribute looks in the session, then in the media descriptions in order.
func firstAttribute(d *sdp.SessionDescription, key string) string {
	if v, ok := d.Attribute(key); ok {
		return strings.TrimSpace(v)
	}
	for _, m := range d.MediaDescriptions {
		if v, ok := m.Attribute(key); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// reduce leaves in o.desc only what is accepted.
func (o *offer) reduce() {
	candidates := o.takeCandidates()
	var kept []*sdp.MediaDescription
	var mids []string
	for i, m := range o.desc.MediaDescriptions {
		s := &o.sections[i]
		if !s.accepted() {
			continue
		}
		normalise(m, s)
		kept = append(kept, m)
		mids = append(mids, s.mid)
	}
	if len(kept) > 0 {
		kept[0].Attributes = append(kept[0].Attributes, candidates...)
	}
	o.desc.MediaDescriptions = kept
	attributes := o.desc.Attributes[:0:0]
	for _, a := range o.desc.Attributes {
		if a.Key != sdp.AttrKeyGroup {
			attributes = append(attributes, a)
		}
	}
	group := sdp.Attribute{Key: sdp.AttrKeyGroup, Value: "BUNDLE " + strings.Join(mids, " ")}
	o.desc.Attributes = append(attributes, group)
	o.readSources()
	o.exposeStrays()
}

// takeCandidates removes the candidates from every media description and returns those that can be used, each once.
func (o *offer) takeCandidates() []sdp.Attribute {
	var out []sdp.Attribute
	seen := make(map[string]struct{})
	for _, m := range o.desc.MediaDescriptions {
		rest := m.Attributes[:0:0]
		for _, a := range m.Attributes {
			switch a.Key {
			case sdp.AttrKeyCandidate:
				if _, dup := seen[a.Value]; dup || len(out) >= maxOfferCandidates || !usableCandidate(a.Value) {
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

// usableCandidate tells whether ICE understands a candidate attribute (RFC 8839 section 5.1).
func usableCandidate(value string) bool {
	if len(value) > maxCandidateBytes {
		return false
	}
	c, err := ice.UnmarshalCandidate(strings.TrimPrefix(value, "candidate:"))
	return err == nil && c != nil
}

// withCredentials returns the offer with new ICE credentials and no candidates but those given: what a remote ICE
// restart means (RFC 9725 section 4.3.3).
func (o *offer) withCredentials(ufrag, pwd string, candidates, named []string) (*offer, error) {
	text, err := o.sdp()
	if err != nil {
		return nil, err
	}
	desc := &sdp.SessionDescription{}
	if err := desc.UnmarshalString(text); err != nil {
		return nil, err
	}
	desc.Attributes = replaceCredentials(desc.Attributes, ufrag, pwd)
	for i, m := range desc.MediaDescriptions {
		m.Attributes = replaceCredentials(m.Attributes, ufrag, pwd)
		if i > 0 {
			continue
		}
		for _, c := range candidates {
			m.WithValueAttribute(sdp.AttrKeyCandidate, c)
		}
	}
	return &offer{
		origin: o.origin, sections: o.sections, desc: desc, sources: o.sources, invented: o.invented, ufrag: ufrag, named: named,
	}, nil
}

func replaceCredentials(in []sdp.Attribute, ufrag, pwd string) []sdp.Attribute {
	out := in[:0:0]
	for _, a := range in {
		switch a.Key {
		case "ice-ufrag":
			a.Value = ufrag
		case "ice-pwd":
			a.Value = pwd
		case sdp.AttrKeyCandidate, sdp.AttrKeyEndOfCandidates:
			continue
		}
		out = append(out, a)
	}
	return out
}
