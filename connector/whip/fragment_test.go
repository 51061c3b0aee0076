package whip

import (
	"strconv"
	"strings"
	"testing"
)

func TestParseFragment(t *testing.T) {
	f, err := parseFragment("a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n" +
		"a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host\r\nm=video 9 X 0\r\na=mid:1\na=candidate:2 1 udp 1 192.0.2.1 61765 typ host\na=end-of-candidates\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if f.ufrag != "EsAw" || f.pwd != "P2uYro0UCOQ4zxjKXaWCBui1" || !f.end || len(f.candidates) != 2 {
		t.Fatalf("%+v", f)
	}
	c := f.candidates[1]
	if *c.MID != "1" || *c.MLineIndex != 1 || *c.UsernameFragment != "EsAw" || !strings.HasPrefix(c.Candidate, "candidate:2 1 udp") {
		t.Errorf("%+v", c)
	}
}

func TestParseFragmentRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"not a line":          "a=mid:0\r\nhello",
		"one letter":          "a",
		"too many lines":      strings.Repeat("a=x\n", maxFragmentLines+1),
		"too many candidates": strings.Repeat("a=candidate:1\n", maxFragmentCandidates+1),
	} {
		if f, err := parseFragment(text); err == nil {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestKnownICESessionsAreBounded(t *testing.T) {
	var s iceSessions
	for i := range 3 * maxKnown {
		s.set(strings.Repeat("x", i%7)+string(rune('a'+i%26))+entityTag("r", string(rune(i))), "tag")
	}
	if len(s.tags) > maxKnown || len(s.order) > maxKnown {
		t.Errorf("%d tags, %d in order", len(s.tags), len(s.order))
	}
}

func FuzzParseFragment(f *testing.F) {
	f.Add("a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 X 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\na=end-of-candidates\r\n")
	f.Add("a=candidate")
	f.Add("a=:\nm=\na=mid")
	f.Fuzz(func(t *testing.T, text string) {
		g, err := parseFragment(text)
		if err != nil {
			return
		}
		if len(g.candidates) > maxFragmentCandidates {
			t.Errorf("%d candidates", len(g.candidates))
		}
		for _, c := range g.candidates {
			if !strings.HasPrefix(c.Candidate, "candidate:") || (g.ufrag != "" && *c.UsernameFragment != g.ufrag) {
				t.Errorf("%+v", c)
			}
		}
		again, err := parseFragment(fragmentOf(text))
		if err != nil || again.ufrag != readCredentials(text).ufrag {
			t.Errorf("%v, %+v", err, again)
		}
	})
}

// What has ended takes no place: it pushes out none that lives.
func TestEndedPublicationsAreForgotten(t *testing.T) {
	var s iceSessions
	s.set("lives", "tag")
	for range 2 * maxKnown {
		s.set("ends", "other")
		s.forget("ends")
	}
	if tag, ok := s.get("lives"); !ok || tag != "tag" || len(s.order) != 1 {
		t.Errorf("%q, %v, %d in order", tag, ok, len(s.order))
	}
	for i := range maxKnown {
		s.set(strconv.Itoa(i), "new")
	}
	if _, ok := s.get("lives"); ok || len(s.tags) != maxKnown || len(s.order) != maxKnown {
		t.Errorf("%d tags, %d in order", len(s.tags), len(s.order))
	}
}
