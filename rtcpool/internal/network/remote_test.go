package network

import (
	"net/netip"
	"testing"
)

func TestWithAddress(t *testing.T) {
	got := WithAddress("candidate:1 1 udp 2130706431 x.local 9 typ host ufrag a", netip.MustParseAddr("fe80::1%eth0"))
	if want := "candidate:1 1 udp 2130706431 fe80::1 9 typ host ufrag a"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// FuzzReadRemote takes candidates as peers write them to where they lead.
func FuzzReadRemote(f *testing.F) {
	f.Add("candidate:1 1 udp 2130706431 127.0.0.1 9 typ host")
	f.Add("1 1 tcp 2130706431 ::ffff:169.254.169.254 65535 typ host tcptype passive")
	f.Add("candidate:1 1 udp 1 x.LOCAL. 9 typ host")
	f.Add("candidate:1 1 udp 1 fe80::1%eth0 9 typ srflx raddr 0.0.0.0 rport 0")
	f.Add("candidate:1 1 udp 1 10.0.0.1 99999999999 typ host")
	p := newPolicy(false, true, nil)
	f.Fuzz(func(t *testing.T, value string) {
		r, ok := ReadRemote(value)
		switch {
		case !ok:
		case (r.Name == "") == !r.At.Addr().IsValid():
			t.Errorf("%q leads to %+v", value, r)
		case r.Name == "":
			if got := p.judge(r.At.Addr(), r.At.Port()); got == RefusedNone && (r.At.Addr().IsLoopback() || r.At.Addr().IsPrivate()) {
				t.Errorf("%q may be used", value)
			}
		}
	})
}
