package rtcpool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"
)

// strangeBytes is what somebody sends who does not mean well: noise, and STUN in every state of disrepair.
func strangeBytes(t *testing.T, seed uint64) [][]byte {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	var out [][]byte
	for n := range 200 {
		b := make([]byte, n*7)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		out = append(out, b)
	}
	for i := range 100 {
		m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(fmt.Sprintf("unknown%d:x", i)),
			stun.NewShortTermIntegrity("no such password"), stun.Fingerprint)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, m.Raw, m.Raw[:len(m.Raw)-r.IntN(len(m.Raw)-1)])
		bare := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
		long := append([]byte(nil), bare.Raw...)
		binary.BigEndian.PutUint16(long[2:], 0xFFFC) // says that it is much longer
		out = append(out, bare.Raw, long)
	}
	return out
}

// framed puts the length in front that a stream needs (RFC 4571).
func framed(b []byte) []byte {
	out := make([]byte, 2, 2+len(b))
	binary.BigEndian.PutUint16(out, uint16(len(b)))
	return append(out, b...)
}

func TestSharedUDPPortSurvivesStrangers(t *testing.T) {
	port := freePorts(t, 1)
	p := newTestPool(t, func(cfg *Config) { cfg.Network.UDPMuxPort = port })
	s, r := open(t, p, "s")
	f := newTestSFU(t, sfuOn(webrtc.NetworkTypeUDP4))
	f.add(opus, "mic", "alice")
	f.negotiate(s, 0)
	mic := r.flowing(t, "mic")
	conn, err := net.Dial("udp4", fmt.Sprint("127.0.0.1:", port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, b := range strangeBytes(t, 7) {
		if _, err := conn.Write(b); err != nil && !strings.Contains(err.Error(), "too long") {
			t.Fatal(err)
		}
	}
	morePackets(t, mic.Track, 50)
	again, r2 := open(t, p, "again")
	f2 := newTestSFU(t, sfuOn(webrtc.NetworkTypeUDP4))
	f2.add(opus, "second", "bob")
	f2.negotiate(again, 0)
	r2.flowing(t, "second")
}

func TestSharedTCPPortSurvivesStrangers(t *testing.T) {
	t.Parallel()
	const most = 100
	port := freePorts(t, 1)
	p := newTestPool(t, func(cfg *Config) {
		cfg.Network.TCPMuxPort, cfg.Network.MaxTCPConnections = port, most
		cfg.Network.AllowNetworks = prefixes("127.0.0.1/32")
	})
	s, r := open(t, p, "s")
	f := newTestSFU(t, sfuOn(webrtc.NetworkTypeTCP4))
	f.add(opus, "mic", "alice")
	f.negotiate(s, 0)
	mic := r.flowing(t, "mic")
	at := fmt.Sprint("127.0.0.1:", port)

	var all []net.Conn
	defer func() {
		for _, c := range all {
			_ = c.Close()
		}
	}()
	dial := func(first []byte) {
		c, err := net.Dial("tcp4", at)
		if errors.Is(err, syscall.ECONNRESET) {
			return // refused already
		}
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(first) // the other end may have closed it already
		all = append(all, c)
	}
	for i, b := range strangeBytes(t, 9) {
		if i%3 == 0 {
			b = framed(b)
		}
		dial(b)
		if i%2 == 0 && len(all) > 0 {
			_ = all[len(all)-1].Close()
		}
	}
	for range 1000 {
		dial(nil) // and says nothing
	}
	if got := p.Stats().Network; got.TCPConnections > most || got.TCPRefused == 0 {
		t.Errorf("%d connections, %d refused; want at most %d", got.TCPConnections, got.TCPRefused, most)
	}
	morePackets(t, mic.Track, 20)
	// Those that were let in and say nothing are closed; then there is room again.
	for _, c := range all {
		_, _ = io.Copy(io.Discard, c)
	}
	waitFor(t, "room", func() bool { return p.Stats().Network.TCPConnections <= 2 })
	again, r2 := open(t, p, "again")
	f2 := newTestSFU(t, sfuOn(webrtc.NetworkTypeTCP4))
	f2.add(opus, "second", "bob")
	f2.negotiate(again, 0)
	r2.flowing(t, "second")
	morePackets(t, mic.Track, 20)
}
