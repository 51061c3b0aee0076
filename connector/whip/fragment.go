package whip

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/penstock-media/penstock/rtcpool"
)

// Bounds on a fragment.
const (
	maxFragmentLines      = 2048
	maxFragmentCandidates = 256
)

// fragment is an SDP fragment (RFC 8840 section 9): credentials, and candidates of media descriptions.
type fragment struct {
	ufrag, pwd string
	candidates []rtcpool.Candidate
	end        bool
}

// parseFragment parses an SDP fragment. What is not about ICE is skipped, as SDP asks for; what is no SDP line at all
// is an error.
func parseFragment(text string) (fragment, error) {
	var f fragment
	var mid *string
	index, number := -1, 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		if number > maxFragmentLines || len(line) < 2 || line[1] != '=' {
			return fragment{}, &problem{status: http.StatusBadRequest,
				detail: fmt.Sprintf("line %d is not a line of an SDP fragment (RFC 8840)", number)}
		}
		if strings.HasPrefix(line, "m=") {
			index, mid = index+1, nil
			continue
		}
		key, value, _ := strings.Cut(strings.TrimPrefix(line, "a="), ":")
		if line[0] != 'a' {
			continue
		}
		if key == "mid" {
			m := strings.TrimSpace(value)
			mid = &m
			continue
		}
		if err := f.attribute(key, value, mid, index); err != nil {
			return fragment{}, err
		}
	}
	for i := range f.candidates {
		f.candidates[i].UsernameFragment = &f.ufrag
		if f.ufrag == "" {
			f.candidates[i].UsernameFragment = nil
		}
	}
	return f, nil
}

func (f *fragment) attribute(key, value string, mid *string, index int) error {
	value = strings.TrimSpace(value)
	switch key {
	case "ice-ufrag":
		if f.ufrag == "" {
			f.ufrag = value
		}
	case "ice-pwd":
		if f.pwd == "" {
			f.pwd = value
		}
	case "end-of-candidates":
		f.end = true
	case "candidate":
		if len(f.candidates) >= maxFragmentCandidates {
			return errTooLarge
		}
		c := rtcpool.Candidate{Candidate: "candidate:" + value, MID: mid}
		if index >= 0 && index <= 0xffff {
			i := uint16(index)
			c.MLineIndex = &i
		}
		f.candidates = append(f.candidates, c)
	}
	return nil
}

// readCredentials reads the first ICE credentials of an SDP: with BUNDLE there is one transport.
func readCredentials(text string) fragment {
	var f fragment
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if key, value, ok := strings.Cut(line, ":"); ok && (key == "a=ice-ufrag" || key == "a=ice-pwd") {
			_ = f.attribute(key[2:], value, nil, 0) // credentials give no error
		}
	}
	return f
}

// fragmentOf makes the fragment that answers an ICE restart out of the whole answer: the new credentials, and the
// candidates of the first media description, which carries the bundle's transport.
func fragmentOf(answer string) string {
	f := readCredentials(answer)
	var b, section strings.Builder
	fmt.Fprintf(&b, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\n", f.ufrag, f.pwd)
	candidates := false
	for line := range strings.Lines(answer) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "m="):
			if candidates {
				b.WriteString(section.String())
				return b.String()
			}
			section.Reset()
			section.WriteString(line + "\r\n")
		case strings.HasPrefix(line, "a=mid:"), line == "a=end-of-candidates":
			section.WriteString(line + "\r\n")
		case strings.HasPrefix(line, "a=candidate:"):
			candidates = true
			section.WriteString(line + "\r\n")
		}
	}
	b.WriteString(section.String())
	return b.String()
}
