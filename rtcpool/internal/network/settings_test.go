package network

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

// connection makes a peer connection that ends with the test.
func connection(t *testing.T, settings webrtc.SettingEngine) *webrtc.PeerConnection {
	t.Helper()
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pc.GracefulClose(); err != nil {
			t.Error(err)
		}
	})
	return pc
}

// describe sets a local description and returns it with all its candidates.
func describe(t *testing.T, pc *webrtc.PeerConnection, write func() (webrtc.SessionDescription, error)) webrtc.SessionDescription {
	t.Helper()
	complete := webrtc.GatheringCompletePromise(pc)
	d, err := write()
	if err == nil {
		err = pc.SetLocalDescription(d)
	}
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-complete:
	case <-time.After(hang):
		t.Fatal("candidates are not gathered in time")
	}
	return *pc.LocalDescription()
}

// Without Loopback an SFU there is not spoken to: neither by its candidates nor when it speaks first.
func TestPeerReflexiveCandidatesAreJudgedToo(t *testing.T) {
	w := testNetwork(t, Config{SocketReceiveBuffer: 1 << 16})
	w.policy.loopback = false // it gathers on loopback, but its judgement is that of a deployment
	n := w.NewPeer(t.Context(), nil)
	t.Cleanup(n.Leave)
	settings, err := w.Settings(n)
	if err != nil {
		t.Fatal(err)
	}
	ours := connection(t, settings)
	around := webrtc.SettingEngine{}
	around.SetIncludeLoopbackCandidate(true)
	around.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	sfu := connection(t, around)
	if _, err := sfu.CreateDataChannel("any", nil); err != nil {
		t.Fatal(err)
	}

	offer := describe(t, sfu, func() (webrtc.SessionDescription, error) { return sfu.CreateOffer(nil) })
	var bare []string
	refused := 0
	for line := range strings.Lines(offer.SDP) {
		value, isCandidate := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "a=candidate:")
		switch {
		case !isCandidate && !strings.HasPrefix(line, "a=end-of-candidates"):
			bare = append(bare, line)
		case isCandidate:
			refused++
			if !w.Refuses(value) {
				t.Errorf("%s is not refused", value)
			}
		}
	}
	if got := w.Stats().Refused.Loopback; got != uint64(refused) || got == 0 {
		t.Errorf("%d counted, want %d", got, refused)
	}
	if err := ours.SetRemoteDescription(webrtc.SessionDescription{Type: offer.Type, SDP: strings.Join(bare, "")}); err != nil {
		t.Fatal(err)
	}
	answer := describe(t, ours, func() (webrtc.SessionDescription, error) { return ours.CreateAnswer(nil) })
	if err := sfu.SetRemoteDescription(answer); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(2 * time.Millisecond) // the SFU sends its checks
	defer tick.Stop()
	limit := time.NewTimer(hang)
	defer limit.Stop()
	for w.Stats().Refused.Loopback <= uint64(refused) {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatal("no check came")
		}
	}
	if state := ours.ICEConnectionState(); state == webrtc.ICEConnectionStateConnected || state == webrtc.ICEConnectionStateCompleted {
		t.Errorf("it is %v", state)
	}
}
