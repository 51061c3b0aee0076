package network

import (
	"testing"
	"time"
)

func TestCertificateIsRenewedBeforeItsEnd(t *testing.T) {
	w := testNetwork(t, Config{})
	now, err := w.Certificate()
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
