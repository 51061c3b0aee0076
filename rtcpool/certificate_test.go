package rtcpool

import (
	"strings"
	"testing"
	"time"
)

func TestOneCertificateServesThePoolAndIsRenewed(t *testing.T) {
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
	now, err := p.network.certs.at(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for after, same := range map[time.Duration]bool{
		0: true,
		time.Until(now.Expires()) - 8*24*time.Hour: true,
		time.Until(now.Expires()) - 6*24*time.Hour: false,
	} {
		c := certificates{current: &now}
		then, err := c.at(time.Now().Add(after))
		if err != nil {
			t.Fatal(err)
		}
		if then.Equals(now) != same {
			t.Errorf("in %v: the same %v, want %v", after, !same, same)
		}
	}
}
