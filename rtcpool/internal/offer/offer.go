// Package offer is what is read of offers and written into answers (RFC 9429): texts in, facts out, and no peer connections. It parses an offer,
// mends it and leaves in it only what can be received and what pion can read; it says what each media description announces, what
// terms were agreed on, and what becomes of what the answer refuses.
package offer

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// Bounds on what an offer may hold. A call of 256 participants with camera and microphone has 512 media descriptions.
const (
	maxMediaDescriptions = 512
	maxIdentifierBytes   = 256 // of a mid, or of either half of an msid
	maxFormats           = 128 // of one media description: there are no more payload types
	// maxWork bounds the sum of formats × attributes over all media descriptions: pion looks at each attribute for each
	// format. Chromium's own offer of 500 media descriptions comes to 2 million.
	maxWork = 8 << 20
)

const applicationMedia = "application"

// Offer is a remote offer that has been parsed, mended and reduced to what can be received. It is not safe for
// concurrent use.
type Offer struct {
	Hash     [sha256.Size]byte // of the SDP as it came
	Origin   sdp.Origin
	Sections []Section               // every media description, in order
	Desc     *sdp.SessionDescription // the accepted ones only, for pion
	Sources  *Sources
	Ufrag    string   // of ICE (RFC 8839 section 5.4)
	invented []string // what Desc has of a=extmap lines that nobody offered
}

// SDP returns what is given to pion.
func (o *Offer) SDP() (string, error) {
	b, err := notAlone(o.Desc).Marshal()
	return string(b), err
}

// SameOrigin tells whether the versions of two offers can be compared (RFC 8866 section 5.2).
func (o *Offer) SameOrigin(other *Offer) bool {
	return o.Origin.Username == other.Origin.Username && o.Origin.SessionID == other.Origin.SessionID
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

// Parse parses an offer of at most limit bytes. Errors: *Error, ErrNoMedia.
func Parse(text string, limit int) (*Offer, error) {
	if len(text) > limit {
		return nil, &Error{What: fmt.Sprintf("%d bytes, more than the %d allowed", len(text), limit)}
	}
	if !strings.HasPrefix(text, "v=0") {
		return nil, &Error{Where: "line 1", What: "not an SDP offer: it does not begin with v=0 (RFC 8866)"}
	}
	desc := &sdp.SessionDescription{}
	if err := desc.UnmarshalString(mendSDP(text)); err != nil {
		return nil, &Error{What: "not an SDP offer (RFC 8866)", Err: err}
	}
	switch n := len(desc.MediaDescriptions); {
	case n == 0:
		return nil, fmt.Errorf("offer without an m= line: %w", ErrNoMedia)
	case n > maxMediaDescriptions:
		return nil, &Error{What: fmt.Sprintf("%d media descriptions, more than the %d allowed", n, maxMediaDescriptions)}
	}
	if err := checkWork(desc.MediaDescriptions); err != nil {
		return nil, err
	}
	o := &Offer{Hash: sha256.Sum256([]byte(text)), Origin: desc.Origin, Desc: desc}
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
			return &Error{Where: fmt.Sprintf("m-line %d", i), What: fmt.Sprintf("has more than %d formats", maxFormats)}
		}
		work += len(m.MediaName.Formats) * len(m.Attributes)
	}
	if work > maxWork {
		return &Error{What: "too many formats and attributes; offer fewer codecs or fewer media descriptions"}
	}
	return nil
}

// readSections fills o.Sections and gives a mid to the only media description of an offer that has none.
func (o *Offer) readSections() error {
	bundle, bundled := bundleGroup(o.Desc)
	seen := make(map[string]int, len(o.Desc.MediaDescriptions))
	for i, m := range o.Desc.MediaDescriptions {
		mid, ok := m.Attribute(sdp.AttrKeyMID)
		if !ok && len(o.Desc.MediaDescriptions) == 1 {
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
		s.Sending = s.Sending && sendsBySession(o.Desc, m)
		switch _, inBundle := bundle[mid]; {
		case s.refused != "" || s.stopped:
		case bundled && !inBundle, !bundled && i > 0:
			s.refused = "not in the first a=group:BUNDLE (RFC 9143)"
		}
		o.Sections = append(o.Sections, s)
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
	return &Error{Where: fmt.Sprintf("m-line %d", index), What: "has no payload type from 0 to 127 (RFC 3551)"}
}

func checkMID(mid string, index int, seen map[string]int) error {
	where := fmt.Sprintf("m-line %d", index)
	switch {
	case mid == "":
		return &Error{Where: where, What: "has no a=mid (RFC 9143 needs one for each)"}
	case len(mid) > maxIdentifierBytes:
		return &Error{Where: where, What: "its a=mid is too long"}
	}
	if first, ok := seen[mid]; ok {
		return &Error{Where: where, What: fmt.Sprintf("has the same a=mid as m-line %d", first)}
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
func (o *Offer) gatherTransport() error {
	for _, key := range []string{"ice-ufrag", "ice-pwd", "fingerprint"} {
		value := firstAttribute(o.Desc, key)
		if value == "" && !slices.ContainsFunc(o.Sections, func(s Section) bool { return s.Accepted() }) {
			continue // nothing is left that would need it
		}
		if value == "" {
			return &Error{What: "has no a=" + key + "; ICE (RFC 8839) and DTLS (RFC 8842) are needed"}
		}
		if key == "fingerprint" && len(strings.Fields(value)) != 2 {
			return &Error{What: "a=fingerprint is not a hash function and a fingerprint (RFC 8122)"}
		}
		switch {
		case key == "ice-ufrag" && !usableCredential(value, 4), key == "ice-pwd" && !usableCredential(value, 22):
			return &Error{What: "its a=" + key + " is too short, too long, or has blanks (RFC 8839 section 5.4)"}
		case key == "ice-ufrag":
			o.Ufrag = value
		}
		if _, ok := o.Desc.Attribute(key); !ok {
			o.Desc.Attributes = append(o.Desc.Attributes, sdp.Attribute{Key: key, Value: value})
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

// reduce leaves in o.Desc only what is accepted.
func (o *Offer) reduce() {
	candidates := o.takeCandidates()
	var kept []*sdp.MediaDescription
	var mids []string
	for i, m := range o.Desc.MediaDescriptions {
		s := &o.Sections[i]
		if !s.Accepted() {
			continue
		}
		normalise(m, s)
		kept = append(kept, m)
		mids = append(mids, s.MID)
	}
	if len(kept) > 0 {
		kept[0].Attributes = append(kept[0].Attributes, candidates...)
	}
	o.Desc.MediaDescriptions = kept
	attributes := o.Desc.Attributes[:0:0]
	for _, a := range o.Desc.Attributes {
		if a.Key != sdp.AttrKeyGroup {
			attributes = append(attributes, a)
		}
	}
	group := sdp.Attribute{Key: sdp.AttrKeyGroup, Value: "BUNDLE " + strings.Join(mids, " ")}
	o.Desc.Attributes = append(attributes, group)
	o.readSources()
	o.exposeStrays()
}

// WithCredentials returns the offer with new ICE credentials and no candidates but those given: what a remote ICE
// restart means (RFC 9725 section 4.3.3).
func (o *Offer) WithCredentials(ufrag, pwd string, candidates []string) (*Offer, error) {
	text, err := o.SDP()
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
	return &Offer{
		Origin: o.Origin, Sections: o.Sections, Desc: desc, Sources: o.Sources, invented: o.invented, Ufrag: ufrag,
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

// Transport is the media description whose transport all use: the first that is accepted, or nil.
func (o *Offer) Transport() *Section {
	for i := range o.Sections {
		if o.Sections[i].Accepted() {
			return &o.Sections[i]
		}
	}
	return nil
}
