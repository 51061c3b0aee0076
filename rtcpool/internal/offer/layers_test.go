package offer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
)

// layered is a video of three encodings, with all that tells them apart.
const layered = offertest.Video + "a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:4/sendonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n" +
	"a=extmap:5 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\na=rid:f send\r\na=rid:h send max-width=320\r\na=rid:q send\r\na=simulcast:send f;h;~q\r\n"

// TestF20_EncodingsAreOffered reads which encodings are offered, shows them to pion as sources that nobody declared, and takes them all in the answer.
func TestF20_EncodingsAreOffered(t *testing.T) {
	many := layered
	for _, rid := range strings.Split("abcdefghijklmnop", "") {
		many += "a=rid:" + rid + rid + " send\r\n"
	}
	for name, c := range map[string]struct {
		video string
		want  []string
	}{
		"three":                          {layered, []string{"f", "h", "q"}},
		"declared sources beside":        {layered + "a=ssrc:1 cname:c\r\na=ssrc:2 cname:c\r\na=ssrc:3 cname:c\r\n", []string{"f", "h", "q"}},
		"no more than eight":             {many, []string{"f", "h", "q", "aa", "bb", "cc", "dd", "ee"}},
		"twice":                          {layered + "a=rid:q send\r\n", []string{"f", "h", "q"}},
		"received ones and nonsense":     {layered + "a=rid:r recv\r\na=rid:\r\na=rid:x-y send\r\na=rid:" + strings.Repeat("z", 300) + " send\r\n", []string{"f", "h", "q"}},
		"nothing tells them apart":       {strings.ReplaceAll(layered, "rtp-stream-id", "other"), nil},
		"nothing tells the description":  {strings.ReplaceAll(layered, "sdes:mid", "sdes:other"), nil},
		"one whose source is declared":   {strings.NewReplacer("a=rid:f send\r\n", "", "a=rid:q send\r\n", "").Replace(layered) + "a=ssrc:1 cname:c\r\n", nil},
		"one whose source is not":        {strings.NewReplacer("a=rid:f send\r\n", "", "a=rid:q send\r\n", "").Replace(layered), []string{"h"}},
		"the number of pion's is in use": {strings.ReplaceAll(layered, "extmap:4", "extmap:246"), []string{"f", "h", "q"}},
	} {
		o, err := Parse(offertest.Of(offertest.Audio, c.video), 1<<20)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s := &o.Sections[1]
		if !slices.Equal(s.Layers, c.want) {
			t.Errorf("%s: read %q, want %q", name, s.Layers, c.want)
		}
		if c.want != nil && (len(s.SSRCs) != 0 || o.Sources.RIDs[0] == 0 || o.Sources.RIDs[1] != 5) {
			t.Errorf("%s: sources %v, extensions %v", name, s.SSRCs, o.Sources.RIDs)
		}
		text, err := o.SDP()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(text, "a=rid") || strings.Contains(text, "a=simulcast") || strings.Count(text, "sdes:rtp-stream-id") != 2 {
			t.Errorf("%s: pion sees\n%s", name, text)
		}
		if c.want != nil && strings.Contains(text, fmt.Sprintf("a=extmap:%d ", o.Sources.RIDs[0])) {
			t.Errorf("%s: pion would take the sources\n%s", name, text)
		}
		answer, _, err := BuildAnswer(o, text) // what pion sees stands for what it answers
		if err != nil {
			t.Fatal(err)
		}
		line := "a=simulcast:recv " + strings.Join(c.want, ";") + "\r\n"
		if got := strings.Contains(answer, line); got != (c.want != nil) || strings.Count(answer, "a=rid:") != len(c.want) {
			t.Errorf("%s: answered\n%s", name, answer)
		}
		if c.want == nil && strings.Contains(answer, "rtp-stream-id") || c.want != nil && strings.Count(answer, "sdes:rtp-stream-id\r\n") != 1 {
			t.Errorf("%s: extensions in\n%s", name, answer)
		}
	}
}
