package sfutest

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const patience = 20 * time.Second

// ends are a socket of a network and a plain one at its other end.
type ends struct {
	t     *testing.T
	near  *socket
	far   *net.UDPConn
	count int
}

func newEnds(t *testing.T, n *Network) *ends {
	t.Helper()
	near, err := n.listen()
	if err != nil {
		t.Fatal(err)
	}
	far, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if err := far.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	e := &ends{t: t, near: near, far: far}
	t.Cleanup(func() {
		for range 2 { // idempotent
			if err := near.Close(); err != nil {
				t.Error(err)
			}
		}
		_ = far.Close()
	})
	return e
}

// send sends n numbered datagrams out, and the last word.
func (e *ends) send(n int) {
	e.t.Helper()
	for range n {
		e.write(fmt.Sprintf("\x80packet-%04d", e.count))
		e.count++
	}
	e.write("last word")
}

func (e *ends) write(text string) {
	e.t.Helper()
	if _, err := e.near.WriteTo([]byte(text), e.far.LocalAddr()); err != nil {
		e.t.Fatal(err)
	}
}

// received reads to the last word.
func (e *ends) received() []string {
	e.t.Helper()
	buf := make([]byte, maxDatagram)
	var out []string
	for {
		n, _, err := e.far.ReadFrom(buf)
		if err != nil {
			e.t.Fatalf("after %d: %v", len(out), err)
		}
		if text := string(buf[:n]); text != "last word" {
			out = append(out, text)
			continue
		}
		return out
	}
}

// numbered leaves the last word alone.
func numbered(datagram []byte) bool { return IsRTP(datagram) }

func TestLinkPassesAllInOrderWithoutFaults(t *testing.T) {
	n := NewNetwork(1)
	e := newEnds(t, n)
	e.send(200)
	got := e.received()
	if len(got) != 200 || !slices.IsSorted(got) {
		t.Errorf("%d came, sorted %v", len(got), slices.IsSorted(got))
	}
	if s := n.Out(); s.Sent != 201 || s.Delivered != 201 || s.Lost != 0 || s.Bytes != 200*12+9 {
		t.Errorf("%+v", s)
	}
}

func TestLinkLosesByChanceOfTheSeed(t *testing.T) {
	lossy := func(seed uint64) []string {
		n := NewNetwork(seed)
		n.SetOut(Link{Match: numbered, Loss: 0.3})
		e := newEnds(t, n)
		var got []string
		for range 5 { // more at once would not fit the system's buffer
			e.send(100)
			got = append(got, e.received()...)
		}
		if s := n.Out(); s.Lost != uint64(500-len(got)) || s.Delivered != uint64(len(got)+5) {
			t.Errorf("%d came, %+v", len(got), s)
		}
		return got
	}
	one, again, other := lossy(7), lossy(7), lossy(8)
	if len(one) < 300 || len(one) > 400 {
		t.Errorf("%d of 500 came, want near 350", len(one))
	}
	if !slices.Equal(one, again) || slices.Equal(one, other) {
		t.Error("the seed does not decide")
	}
}

func TestLinkDropsByPredicate(t *testing.T) {
	n := NewNetwork(1)
	n.SetOut(Link{Drop: func(d []byte) bool { return bytes.HasSuffix(d, []byte("3")) }})
	e := newEnds(t, n)
	e.send(100)
	got := e.received()
	if len(got) != 90 || slices.ContainsFunc(got, func(s string) bool { return s[len(s)-1] == '3' }) {
		t.Errorf("%d came", len(got))
	}
}

func TestLinkDuplicatesAndReorders(t *testing.T) {
	n := NewNetwork(3)
	n.SetOut(Link{Match: numbered, Duplicate: 0.2, Reorder: 0.2, ReorderBy: 20 * time.Millisecond})
	e := newEnds(t, n)
	for range 150 {
		e.write(fmt.Sprintf("\x80packet-%04d", e.count))
		e.count++
	}
	var got []string
	buf := make([]byte, maxDatagram)
	for len(got) < int(150+n.Out().Duplicated) {
		size, _, err := e.far.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(buf[:size]))
	}
	if d := n.Out().Duplicated; d < 15 || d > 45 {
		t.Errorf("%d duplicated", d)
	}
	if slices.IsSorted(got) {
		t.Error("nothing is out of order")
	}
	slices.Sort(got)
	if different := slices.Compact(got); len(different) != 150 {
		t.Errorf("%d different ones came", len(different))
	}
}

func TestLinkDelays(t *testing.T) {
	for name, link := range map[string]Link{
		"in order": {Delay: 30 * time.Millisecond, Jitter: 30 * time.Millisecond, InOrder: true},
		"jittered": {Delay: 30 * time.Millisecond, Jitter: 30 * time.Millisecond},
		"limited":  {BitsPerSecond: 500_000, QueueBytes: 1 << 20}, // 200 × 12 bytes take 38 ms
	} {
		t.Run(name, func(t *testing.T) {
			n := NewNetwork(5)
			link.Match = numbered
			n.SetOut(link)
			e := newEnds(t, n)
			begin := time.Now()
			for range 200 {
				e.write(fmt.Sprintf("\x80packet-%04d", e.count))
				e.count++
			}
			var got []string
			buf := make([]byte, maxDatagram)
			for range 200 {
				size, _, err := e.far.ReadFrom(buf)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(buf[:size]))
			}
			if took := time.Since(begin); took < 30*time.Millisecond {
				t.Errorf("all came within %v", took)
			}
			if sorted := slices.IsSorted(got); sorted == (name == "jittered") {
				t.Errorf("sorted: %v", sorted)
			}
		})
	}
}

func TestLimitedLinkLosesWhatDoesNotFitItsQueue(t *testing.T) {
	n := NewNetwork(5)
	n.SetOut(Link{Match: numbered, BitsPerSecond: 8000, QueueBytes: 60})
	e := newEnds(t, n)
	for range 100 {
		e.write(fmt.Sprintf("\x80packet-%04d", e.count))
		e.count++
	}
	if s := n.Out(); s.Lost < 90 || s.Lost > 95 {
		t.Errorf("%+v", s)
	}
}

func TestCutIsSilentUntilRestored(t *testing.T) {
	n := NewNetwork(1)
	e := newEnds(t, n)
	n.Cut()
	e.send(10)
	if _, err := e.far.WriteTo([]byte("lost"), e.near.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	for n.In().Lost == 0 { // it is on its way through the system
		runtime.Gosched()
	}
	n.Restore()
	e.send(1)
	if got := e.received(); len(got) != 1 || got[0] != "\x80packet-0010" {
		t.Errorf("%q came", got)
	}
	if _, err := e.far.WriteTo([]byte("heard"), e.near.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, maxDatagram)
	size, from, err := e.near.ReadFrom(buf)
	if err != nil || string(buf[:size]) != "heard" || from.String() != e.far.LocalAddr().String() {
		t.Errorf("%q from %v, %v", buf[:size], from, err)
	}
}

// TestSocketHasNoDeadline sets deadlines as pion's mux does when a candidate is closed while another one writes (an ICE restart).
func TestSocketHasNoDeadline(t *testing.T) {
	n := NewNetwork(1)
	e := newEnds(t, n)
	for _, set := range []func(time.Time) error{e.near.SetDeadline, e.near.SetReadDeadline, e.near.SetWriteDeadline} {
		if err := set(time.Now()); err != nil {
			t.Fatal(err)
		}
		e.send(1)
		if got := e.received(); len(got) != 1 {
			t.Fatalf("%q", got)
		}
	}
}

// TestWhatTheSystemRefusesIsLost sends more than a datagram can hold.
func TestWhatTheSystemRefusesIsLost(t *testing.T) {
	n := NewNetwork(1)
	e := newEnds(t, n)
	e.write(strings.Repeat("x", 1<<16))
	if s := n.Out(); s.Lost != 1 || s.Delivered != 0 || s.Bytes != 0 {
		t.Errorf("%+v", s)
	}
}

func TestCloseSendsWhatIsUnderWay(t *testing.T) {
	n := NewNetwork(1)
	n.SetOut(Link{Delay: time.Hour})
	e := newEnds(t, n)
	e.send(3)
	if err := e.near.Close(); err != nil {
		t.Fatal(err)
	}
	if got := e.received(); len(got) != 3 {
		t.Errorf("%d came", len(got))
	}
	if _, err := e.near.WriteTo([]byte("x"), e.far.LocalAddr()); err == nil {
		t.Error("written after the end")
	}
	if _, _, err := e.near.ReadFrom(nil); err == nil {
		t.Error("read after the end")
	}
}

func TestKindsOfDatagrams(t *testing.T) {
	pad := make([]byte, 20)
	for kind, first := range map[string][]byte{
		"RTP": {0x80, 96}, "RTCP": {0x81, 205}, "DTLS": {22, 254}, "STUN": {0, 1}, "none": {100, 1},
	} {
		d := append(first, pad...)
		got := map[string]bool{"RTP": IsRTP(d), "RTCP": IsRTCP(d), "DTLS": IsDTLS(d), "STUN": IsSTUN(d)}
		for name, is := range got {
			if is != (name == kind) {
				t.Errorf("%s: %s is %v", kind, name, is)
			}
		}
	}
	if IsRTP(nil) || IsRTCP(nil) || IsDTLS(nil) || IsSTUN(nil) {
		t.Error("nothing is something")
	}
}
