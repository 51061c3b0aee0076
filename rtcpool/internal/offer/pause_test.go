package offer

import (
	"testing"

	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
	"github.com/pion/sdp/v3"
)

// TestPausesAreKeptFromPion looks at what pion is told of a pause, and at the answer.
func TestPausesAreKeptFromPion(t *testing.T) {
	const sources = "a=ssrc-group:FID 11 12\r\na=ssrc:11 cname:x\r\na=ssrc:12 cname:x\r\n"
	attributes := func(o *Offer, key string) (out []string) {
		for _, m := range o.Desc.MediaDescriptions {
			for _, a := range m.Attributes {
				if a.Key == key {
					out = append(out, a.Value)
				}
			}
		}
		return out
	}
	parse := func(section string) *Offer {
		t.Helper()
		o, err := Parse(offertest.Of(section), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	first := parse(offertest.Video + sources)
	first.KeepPauses(nil)
	lines := first.SourceLines()
	for range 3 { // it is remembered from pause to pause
		o := parse(offertest.Video + "a=inactive\r\n")
		o.KeepPauses(lines)
		if got := attributes(o, sdp.AttrKeySSRC); len(got) != 2 || len(attributes(o, sdp.AttrKeySSRCGroup)) != 1 || len(attributes(o, directionInactive)) != 0 ||
			len(attributes(o, "sendonly")) != 1 {
			t.Errorf("pion is told %q, inactive %d", got, len(attributes(o, directionInactive)))
		}
		if _, declared := o.Sources.Declared[11]; !declared || len(o.Sources.Declared) != 2 {
			t.Errorf("declared: %v", o.Sources.Declared)
		}
		lines = o.SourceLines()
	}
	for line, want := range map[string]int{"a=ssrc:11 cname:x": 1, "a=ssrc-group:FID 1 2": 2, "a=ssrc-group:": 0, "a=ssrc:x y": 0} {
		var a sdp.Attribute
		a.Key, a.Value = line[2:6], line[7:]
		if line[6] == '-' {
			a.Key, a.Value = sdp.AttrKeySSRCGroup, line[len("a=ssrc-group:"):]
		}
		if got := sourcesOf(a); len(got) != want {
			t.Errorf("%s names %v", line, got)
		}
	}
}
