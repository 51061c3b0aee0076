package sfutest_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/pion/webrtc/v4"
)

// build makes an SFU of a configuration, for a receiver.
func build(t *testing.T, r *receiver, cfg sfutest.Config) *sfutest.SFU {
	t.Helper()
	cfg.Signaller = r
	sfu, err := sfutest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sfu.Close(); err != nil {
			t.Error(err)
		}
	})
	r.told = nil
	if cfg.Trickle != sfutest.TrickleOff {
		r.told = sfu.AddCandidate
	}
	return sfu
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTrickle(t *testing.T) {
	for name, trickle := range map[string]sfutest.Trickle{"with": sfutest.TrickleWith, "before": sfutest.TrickleBefore} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t)
			sfu := build(t, r, sfutest.Config{Trickle: trickle})
			must(t, sfu.Add(testContext(t), newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone())))
			track := r.next(t)
			read(t, track, 5)
			if strings.Contains(r.lastOffer(), "candidate") {
				t.Errorf("candidates in the offer:\n%s", r.lastOffer())
			}
			offer := slices.Index(r.heard, "offer")
			if len(r.heard) < 3 || !slices.Contains(r.heard, "") || (trickle == sfutest.TrickleBefore && offer != len(r.heard)-1) {
				t.Errorf("heard %q", r.heard)
			}
			// A restart has candidates of its own, which come while the old ones are in use.
			must(t, sfu.Renegotiate(testContext(t), true))
			read(t, track, 60)
		})
	}
	if _, err := sfutest.New(sfutest.Config{Trickle: sfutest.TrickleWith, Signaller: sfutest.GRPCSignaller{}}); !errors.Is(err, sfutest.ErrConfig) {
		t.Errorf("trickling without a Trickler: %v", err)
	}
}

func TestReconnectCarriesTheSameTracks(t *testing.T) {
	r := newReceiver(t)
	sfu := build(t, r, sfutest.Config{Generation: 1})
	ctx := testContext(t)
	mic := newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone())
	must(t, sfu.Add(ctx, mic))
	old := r.next(t)
	must(t, sfu.Reconnect(ctx))
	fresh := r.next(t)
	read(t, fresh, 20)
	read(t, old, 20) // it goes on
	if old.ID() != fresh.ID() || old.SSRC() == fresh.SSRC() || sfu.Generation() != 2 || len(r.pcs) != 2 {
		t.Errorf("old %s %d, new %s %d, generation %d", old.ID(), old.SSRC(), fresh.ID(), fresh.SSRC(), sfu.Generation())
	}
	must(t, sfu.CloseOlder())
	drained(t, old)
	read(t, fresh, 20)
	other := newTrack(t, sfu, bob(), microphone, clips.BobMicrophone())
	must(t, sfu.Add(ctx, other))
	read(t, r.next(t), 5)
}

// drained reads a track to its end.
func drained(t *testing.T, track *webrtc.TrackRemote) {
	t.Helper()
	must(t, track.SetReadDeadline(time.Now().Add(hangLimit)))
	for {
		_, _, err := track.ReadRTP()
		if err == nil {
			continue
		}
		if strings.Contains(err.Error(), "timeout") {
			t.Error("it does not end")
		}
		return
	}
}

func TestLostAnswerIsOfferedAgain(t *testing.T) {
	r := newReceiver(t)
	sfu := build(t, r, sfutest.Config{})
	ctx := testContext(t)
	must(t, sfu.Add(ctx, newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone())))
	sfu.LoseAnswer()
	if err := sfu.Add(ctx, newTrack(t, sfu, bob(), microphone, clips.BobMicrophone())); !errors.Is(err, sfutest.ErrAnswerLost) {
		t.Fatalf("got %v", err)
	}
	lost := r.lastOffer()
	pending, err := sfu.Offer(ctx)
	must(t, err)
	if pending != lost {
		t.Error("the pending offer is another")
	}
	must(t, sfu.Renegotiate(ctx, false))
	if n := len(r.offers); n != 4 || r.offers[2] != lost || Version(r.offers[3]) <= Version(lost) {
		t.Errorf("%d offers", n)
	}
	read(t, r.next(t), 5)
	read(t, r.next(t), 5)
}

// Version is short for the tests.
func Version(sdp string) uint64 { return sfutest.Version(sdp) }

func TestOfferByHand(t *testing.T) {
	r := newReceiver(t)
	mangled := 0
	sfu := build(t, r, sfutest.Config{Mangle: func(offer string) string {
		mangled++
		return strings.Replace(offer, "s=-", "s=mangled", 1)
	}})
	ctx := testContext(t)
	offer, err := sfu.Offer(ctx)
	must(t, err)
	again, err := sfu.Offer(ctx)
	must(t, err)
	if offer != again || !strings.Contains(offer, "s=mangled") || mangled != 1 {
		t.Errorf("mangled %d times, the same %v", mangled, offer == again)
	}
	must(t, sfu.Close())
	if _, err := sfu.Offer(ctx); !errors.Is(err, sfutest.ErrClosed) {
		t.Errorf("offer after the end: %v", err)
	}
	if err := sfu.Accept(""); !errors.Is(err, sfutest.ErrClosed) {
		t.Errorf("answer after the end: %v", err)
	}
}

func TestRolesAndFingerprints(t *testing.T) {
	for name, cfg := range map[string]sfutest.Config{
		"active": {Setup: "active"}, "passive": {Setup: "passive"}, "lite": {ICELite: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t)
			sfu := build(t, r, cfg)
			must(t, sfu.Add(testContext(t), newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone())))
			read(t, r.next(t), 5)
			if offer := r.lastOffer(); cfg.ICELite != strings.Contains(offer, "a=ice-lite") || cfg.Setup != "" && !strings.Contains(offer, "a=setup:"+cfg.Setup) {
				t.Errorf("offer:\n%s", offer)
			}
		})
	}
	r := newReceiver(t)
	failed := make(chan struct{})
	r.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateFailed || s == webrtc.PeerConnectionStateClosed {
			select {
			case failed <- struct{}{}:
			case <-t.Context().Done():
			}
		}
	})
	sfu := build(t, r, sfutest.Config{Mangle: sfutest.WithWrongFingerprint})
	must(t, sfu.Add(testContext(t), newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone())))
	select {
	case <-failed:
	case <-time.After(hangLimit):
		t.Error("a wrong fingerprint connects")
	}
}

func TestVanishSaysNothing(t *testing.T) {
	r := newReceiver(t)
	sfu := build(t, r, sfutest.Config{})
	must(t, sfu.Add(testContext(t), newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone())))
	read(t, r.next(t), 5)
	must(t, sfu.Vanish())
	if s := r.pc.ConnectionState(); s != webrtc.PeerConnectionStateConnected {
		t.Errorf("the receiver is %v", s)
	}
	if n := sfu.Network().Out(); n.Lost == 0 {
		t.Errorf("nothing was held back: %+v", n)
	}
}

// TestNetworkLiesBetween loses a tenth of the media packets: the receiver misses those, and only those.
func TestNetworkLiesBetween(t *testing.T) {
	r := newReceiver(t)
	network := sfutest.NewNetwork(9)
	sfu := build(t, r, sfutest.Config{Network: network, WithoutNACK: true})
	mic := newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone())
	must(t, sfu.Add(testContext(t), mic))
	track := r.next(t)
	read(t, track, 5)
	network.SetOut(sfutest.Link{Match: sfutest.IsRTP, Loss: 0.1})
	packets := read(t, track, 100)
	holes := 0
	for i, p := range packets[1:] {
		holes += int(p.SequenceNumber-packets[i].SequenceNumber) - 1
	}
	if lost := int(network.Out().Lost); holes == 0 || holes > lost {
		t.Errorf("%d missing, %d lost", holes, lost)
	}
	network.SetIn(sfutest.Link{Loss: 1}) // half-closed: it hears nothing and goes on to send
	network.SetOut(sfutest.Link{})
	read(t, track, 20)
}

// TestICERestartLosesNothing restarts ICE again and again: what is sent between is kept until there is a pair, as other SFUs go on with the
// one before, and each packet goes out in its turn. What the receiver has is not counted: a plain pion one closes its sockets then.
func TestICERestartLosesNothing(t *testing.T) {
	r := newReceiver(t)
	var sent []uint16 // sequence numbers on the network
	var lock sync.Mutex
	network := sfutest.NewNetwork(1)
	network.SetOut(sfutest.Link{Match: func(datagram []byte) bool {
		if sfutest.IsRTP(datagram) {
			lock.Lock()
			sent = append(sent, binary.BigEndian.Uint16(datagram[2:]))
			lock.Unlock()
		}
		return false
	}})
	sfu := build(t, r, sfutest.Config{WithoutNACK: true, Network: network})
	cam := newTrack(t, sfu, alice(), camera, clips.AliceCamera())
	must(t, sfu.Add(testContext(t), cam))
	track := r.next(t)
	for range 20 {
		must(t, sfu.Renegotiate(testContext(t), true))
		read(t, track, 20)
	}
	cam.Hold(true)
	lock.Lock()
	defer lock.Unlock()
	for i, number := range sent[1:] {
		if number != sent[i]+1 {
			t.Errorf("packet %d of %d: number %d after %d", i+1, len(sent), number, sent[i])
		}
	}
	if uint64(len(sent)) != cam.Packets() || network.Out().Lost != 0 {
		t.Errorf("%d packets sent, %d on the network, of which it lost %d", cam.Packets(), len(sent), network.Out().Lost)
	}
}

// TestWhatIsNotConnectedKeepsNothing cuts the network before anything was sent: what comes after is the present.
func TestWhatIsNotConnectedKeepsNothing(t *testing.T) {
	r := newReceiver(t)
	network := sfutest.NewNetwork(1)
	network.Cut()
	sfu := build(t, r, sfutest.Config{Network: network})
	mic := newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone())
	must(t, sfu.Add(testContext(t), mic))
	select {
	case <-sfu.Connected():
		t.Fatal("connected over a network that is cut")
	default:
	}
	if mic.Packets() != 0 {
		t.Errorf("%d packets sent", mic.Packets())
	}
	network.Restore()
	read(t, r.next(t), 5)
	select {
	case <-sfu.Connected():
	case <-time.After(hangLimit):
		t.Error("not connected")
	}
}
