package rtcpool

import (
	"strings"
	"testing"

	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
)

func TestOneCertificateServesThePool(t *testing.T) {
	p := newTestPool(t, nil)
	prints := make(map[string]int)
	for _, id := range []string{"a", "b", "c"} {
		s, _ := open(t, p, id)
		_, rest, found := strings.Cut(mustAnswer(t, s, offertest.Of(offertest.Audio)), "a=fingerprint:")
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
