package sfutest

import (
	"slices"
	"strconv"
	"strings"
)

// description is an SDP (RFC 8866) as lines without their ends, cut at the m= lines. It is for changing offers in ways that pion does
// not know.
type description struct {
	session []string
	media   []*section
}

// section is a media description: its m= line and what follows.
type section struct{ lines []string }

func parseDescription(sdp string) *description {
	d := &description{}
	for line := range strings.Lines(sdp) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "m="):
			d.media = append(d.media, &section{lines: []string{line}})
		case len(d.media) > 0:
			last := d.media[len(d.media)-1]
			last.lines = append(last.lines, line)
		default:
			d.session = append(d.session, line)
		}
	}
	return d
}

// String returns the SDP.
func (d *description) String() string {
	var b strings.Builder
	write := func(lines []string) {
		for _, line := range lines {
			b.WriteString(line)
			b.WriteString("\r\n")
		}
	}
	write(d.session)
	for _, s := range d.media {
		write(s.lines)
	}
	return b.String()
}

// section returns the one with that mid, or nil.
func (d *description) section(mid string) *section {
	for _, s := range d.media {
		if value, ok := s.value("a=mid:"); ok && value == mid {
			return s
		}
	}
	return nil
}

// value returns what follows a prefix in the first line that has it.
func (s *section) value(prefix string) (string, bool) {
	for _, line := range s.lines {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			return rest, true
		}
	}
	return "", false
}

// remove takes out the lines that begin with one of the prefixes.
func (s *section) remove(prefixes ...string) {
	s.lines = slices.DeleteFunc(s.lines, func(line string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(line, p) })
	})
}

// setDirection replaces the direction.
func (s *section) setDirection(direction string) {
	for i, line := range s.lines {
		switch line {
		case "a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive":
			s.lines[i] = "a=" + direction
		}
	}
}

// setMSID replaces the msid (RFC 8830), also where a=ssrc lines tell it (RFC 5576). Two empty ids leave it out.
func (s *section) setMSID(streamID, trackID string) {
	s.lines = slices.DeleteFunc(s.lines, func(line string) bool {
		return strings.HasPrefix(line, "a=msid:") || strings.HasPrefix(line, "a=ssrc:") &&
			(strings.Contains(line, " msid:") || strings.Contains(line, " mslabel:") || strings.Contains(line, " label:"))
	})
	if streamID == "" && trackID == "" {
		return
	}
	if streamID == "" {
		streamID = "-"
	}
	line := strings.TrimRight("a=msid:"+streamID+" "+trackID, " ")
	// Before the a=ssrc lines, which pion reads with what it has read, and after all that is no attribute.
	first := slices.IndexFunc(s.lines, func(l string) bool { return strings.HasPrefix(l, "a=") })
	s.lines = slices.Insert(s.lines, max(first, 1), line)
}

// withoutSources leaves out every line about ssrcs.
func (s *section) withoutSources() { s.remove("a=ssrc:", "a=ssrc-group:") }

// withoutFeedback leaves out the feedback (RFC 4585) of that kind for every codec.
func (s *section) withoutFeedback(kind string) {
	s.lines = slices.DeleteFunc(s.lines, func(line string) bool {
		_, rest, _ := strings.Cut(line, " ")
		return strings.HasPrefix(line, "a=rtcp-fb:") && (rest == kind || strings.HasPrefix(rest, kind+" "))
	})
}

// withoutExtension leaves out a header extension (RFC 8285).
func (s *section) withoutExtension(uri string) {
	s.lines = slices.DeleteFunc(s.lines, func(line string) bool {
		return strings.HasPrefix(line, "a=extmap:") && strings.HasSuffix(line, " "+uri)
	})
}

// withoutRTX leaves out the retransmission formats (RFC 4588) and their sources.
func (s *section) withoutRTX() {
	var gone []string
	for _, line := range s.lines {
		if rest, ok := strings.CutPrefix(line, "a=rtpmap:"); ok {
			if pt, name, _ := strings.Cut(rest, " "); strings.HasPrefix(strings.ToLower(name), "rtx/") {
				gone = append(gone, pt)
			}
		}
	}
	for _, pt := range gone {
		s.remove("a=rtpmap:"+pt+" ", "a=fmtp:"+pt+" ", "a=rtcp-fb:"+pt+" ")
	}
	words := strings.Fields(s.lines[0])
	s.lines[0] = strings.Join(slices.DeleteFunc(words, func(w string) bool { return slices.Contains(gone, w) }), " ")
	if group, ok := s.value("a=ssrc-group:FID "); ok {
		if words := strings.Fields(group); len(words) == 2 {
			s.remove("a=ssrc:" + words[1] + " ")
		}
		s.remove("a=ssrc-group:FID ")
	}
}

// takeCandidates removes the candidates and returns those of the first media description that has any: all are bundled.
func (d *description) takeCandidates() (candidates []string, mid, ufrag string) {
	for _, s := range d.media {
		for _, line := range s.lines {
			if rest, ok := strings.CutPrefix(line, "a=candidate:"); ok && (mid == "" || mid == s.mid()) {
				candidates, mid = append(candidates, "candidate:"+rest), s.mid()
			}
		}
		if u, ok := s.value("a=ice-ufrag:"); ok {
			ufrag = u
		}
		s.remove("a=candidate:", "a=end-of-candidates")
	}
	return candidates, mid, ufrag
}

func (s *section) mid() string {
	mid, _ := s.value("a=mid:")
	return mid
}

// Version returns the version in an SDP's o= line (RFC 8866 section 5.2), or 0.
func Version(sdp string) uint64 {
	for line := range strings.Lines(sdp) {
		if words := strings.Fields(line); strings.HasPrefix(line, "o=") && len(words) == 6 {
			version, err := strconv.ParseUint(words[2], 10, 64)
			if err == nil {
				return version
			}
		}
	}
	return 0
}

// WithVersion returns the SDP with another version in its o= line: many of them make a flood of offers that differ.
func WithVersion(sdp string, version uint64) string {
	d := parseDescription(sdp)
	for i, line := range d.session {
		if words := strings.Fields(line); strings.HasPrefix(line, "o=") && len(words) == 6 {
			words[2] = strconv.FormatUint(version, 10)
			d.session[i] = strings.Join(words, " ")
		}
	}
	return d.String()
}

// WithWrongFingerprint returns the SDP with a fingerprint (RFC 8122) that is nobody's, so that the DTLS handshake fails.
func WithWrongFingerprint(sdp string) string {
	d := parseDescription(sdp)
	wrong := "a=fingerprint:sha-256 " + strings.TrimSuffix(strings.Repeat("AB:", 32), ":")
	change := func(lines []string) {
		for i, line := range lines {
			if strings.HasPrefix(line, "a=fingerprint:") {
				lines[i] = wrong
			}
		}
	}
	change(d.session)
	for _, s := range d.media {
		change(s.lines)
	}
	return d.String()
}
