package rtcpool

import (
	"strings"
	"testing"
)

func TestOneCertificateServesThePool(t *testing.T) {
	p := newTestPool(t, nil)
	prints := make(map[string]int)
	for _, id := range []string{"a", "b", "c"} {
		s, _ := open(t, p, id)
		_, rest, found := strings.Cut(mustAnswer(t, s, offerOf(audioSection)), "a=fingerprint:")
		if !found {
			t.Fatal("no fingerprint")
		}
		line, _, _ := strings.Cut(rest, "\r\n")
		prints[line]++
	}
	if len(prints) != 1 {
		t.Errorf("fingerprints %v, want one for all", prints)
	}
}
