package sfutest

import (
	"slices"
	"strings"
	"testing"
)

const sampleOffer = "v=0\r\no=- 5 7 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 11:22\r\na=group:BUNDLE 0 1\r\n" +
	"m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:0\r\na=setup:actpass\r\na=ice-ufrag:abcd\r\na=rtpmap:96 VP8/90000\r\n" +
	"a=rtcp-fb:96 goog-remb \r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=rtcp-fb:96 transport-cc\r\n" +
	"a=extmap:3 " + uriTransportCC + "\r\n" +
	"a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=ssrc-group:FID 1 2\r\na=ssrc:1 cname:x\r\na=ssrc:1 msid:s t\r\n" +
	"a=ssrc:2 cname:x\r\na=msid:s t\r\na=sendonly\r\na=candidate:1 1 udp 1 127.0.0.1 5 typ host\r\na=end-of-candidates\r\n" +
	"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=rtpmap:111 opus/48000/2\r\na=inactive\r\n" +
	"a=candidate:1 1 udp 1 127.0.0.1 5 typ host\r\n"

func TestDescriptionIsWrittenAsItWasRead(t *testing.T) {
	if got := parseDescription(sampleOffer).String(); got != sampleOffer {
		t.Errorf("got:\n%s", got)
	}
}

// TestEdits makes each change to the first media description, and sees exactly these lines go and come.
func TestEdits(t *testing.T) {
	for name, c := range map[string]struct {
		edit       func(*section)
		gone, come []string
	}{
		"direction":  {func(s *section) { s.setDirection("inactive") }, []string{"a=sendonly"}, []string{"a=inactive"}},
		"msid":       {func(s *section) { s.setMSID("x", "y") }, []string{"a=ssrc:1 msid:s t", "a=msid:s t"}, []string{"a=msid:x y"}},
		"no msid":    {func(s *section) { s.setMSID("", "") }, []string{"a=ssrc:1 msid:s t", "a=msid:s t"}, nil},
		"no stream":  {func(s *section) { s.setMSID("", "y") }, []string{"a=ssrc:1 msid:s t", "a=msid:s t"}, []string{"a=msid:- y"}},
		"no track":   {func(s *section) { s.setMSID("x", "") }, []string{"a=ssrc:1 msid:s t", "a=msid:s t"}, []string{"a=msid:x"}},
		"no sources": {(*section).withoutSources, []string{"a=ssrc-group:FID 1 2", "a=ssrc:1 cname:x", "a=ssrc:1 msid:s t", "a=ssrc:2 cname:x"}, nil},
		"no nack":    {func(s *section) { s.withoutFeedback("nack") }, []string{"a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli"}, nil},
		"no extension": {
			func(s *section) { s.withoutExtension(uriTransportCC) }, []string{"a=extmap:3 " + uriTransportCC}, nil,
		},
		"no rtx": {
			(*section).withoutRTX,
			[]string{
				"m=video 9 UDP/TLS/RTP/SAVPF 96 97", "a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96", "a=ssrc-group:FID 1 2",
				"a=ssrc:2 cname:x",
			},
			[]string{"m=video 9 UDP/TLS/RTP/SAVPF 96"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := parseDescription(sampleOffer)
			s := d.section("0")
			before := slices.Clone(s.lines)
			c.edit(s)
			var gone, come []string
			for _, line := range before {
				if !slices.Contains(s.lines, line) {
					gone = append(gone, line)
				}
			}
			for _, line := range s.lines {
				if !slices.Contains(before, line) {
					come = append(come, line)
				}
			}
			if !slices.Equal(gone, c.gone) || !slices.Equal(come, c.come) {
				t.Errorf("gone %q, come %q", gone, come)
			}
		})
	}
	if parseDescription(sampleOffer).section("2") != nil {
		t.Error("found a section that is not there")
	}
}

func TestConfigEdits(t *testing.T) {
	c := Config{Setup: "active", WithoutREMB: true, WithoutTransportCC: true, WithoutNACK: true, WithoutRTX: true, WithoutSources: true, MSID: MSIDNone}
	d := parseDescription(sampleOffer)
	c.edit(d)
	got := d.String()
	for _, gone := range []string{"msid", "ssrc", "rtx", "nack", "transport", "actpass"} {
		if strings.Contains(got, gone) {
			t.Errorf("%q is left in:\n%s", gone, got)
		}
	}
	if strings.Count(got, "a=setup:active") != 2 {
		t.Errorf("setup:\n%s", got)
	}
}

func TestTakeCandidates(t *testing.T) {
	d := parseDescription(sampleOffer)
	candidates, mid, ufrag := d.takeCandidates()
	if len(candidates) != 1 || candidates[0] != "candidate:1 1 udp 1 127.0.0.1 5 typ host" || mid != "0" || ufrag != "abcd" {
		t.Errorf("%q, mid %q, ufrag %q", candidates, mid, ufrag)
	}
	if strings.Contains(d.String(), "candidate") {
		t.Errorf("left:\n%s", d)
	}
}

func TestVersions(t *testing.T) {
	if v := Version(sampleOffer); v != 7 {
		t.Errorf("version %d", v)
	}
	next := WithVersion(sampleOffer, 1<<63)
	if Version(next) != 1<<63 || WithVersion(next, 7) != sampleOffer {
		t.Errorf("got:\n%s", next)
	}
	if Version("v=0\r\n") != 0 || Version("o=- a b IN IP4 0") != 0 {
		t.Error("a version that is not there")
	}
}

func TestWithWrongFingerprint(t *testing.T) {
	if got := WithWrongFingerprint(sampleOffer); strings.Contains(got, "11:22") || strings.Count(got, "a=fingerprint:sha-256 AB:AB") != 1 {
		t.Errorf("got:\n%s", got)
	}
}
