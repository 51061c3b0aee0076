package rtcpool

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-media/penstock/rtcpool/internal/offer"
	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"
)

// heldSTUN is a STUN server (RFC 8489) on loopback that answers nothing until it is released.
type heldSTUN struct {
	conn    net.PacketConn
	release chan struct{}
	work    sync.WaitGroup
}

func newHeldSTUN(t *testing.T) *heldSTUN {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &heldSTUN{conn: conn, release: make(chan struct{})}
	s.work.Go(s.run)
	t.Cleanup(func() {
		_ = conn.Close()
		s.letGo()
		s.work.Wait()
	})
	return s
}

func (s *heldSTUN) letGo() {
	select {
	case <-s.release:
	default:
		close(s.release)
	}
}

func (s *heldSTUN) server() ICEServer {
	return ICEServer{URLs: []string{"stun:" + s.conn.LocalAddr().String()}}
}

func (s *heldSTUN) run() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		<-s.release
		request := &stun.Message{Raw: append([]byte(nil), buf[:n]...)}
		if request.Decode() != nil {
			continue
		}
		at := from.(*net.UDPAddr)
		reply, err := stun.Build(stun.NewTransactionIDSetter(request.TransactionID), stun.BindingSuccess,
			&stun.XORMappedAddress{IP: net.IPv4(192, 0, 2, 77), Port: at.Port}, stun.Fingerprint)
		if err == nil {
			_, _ = s.conn.WriteTo(reply.Raw, from)
		}
	}
}

// trickled gives the SFU the candidates that were told so far, from the first-th on, and returns how many there are.
func (f *testSFU) trickled(r *recorder, first int) int {
	f.t.Helper()
	told := r.told().candidates
	for _, c := range told[first:] {
		err := f.pc.AddICECandidate(webrtc.ICECandidateInit{
			Candidate: c.Candidate.Candidate, SDPMid: c.MID, SDPMLineIndex: c.MLineIndex, UsernameFragment: c.UsernameFragment,
		})
		if err != nil {
			f.t.Errorf("%+v: %v", c, err)
		}
	}
	return len(told)
}

func openWith(t *testing.T, p *Pool, cfg SessionConfig) (*Session, *recorder) {
	t.Helper()
	r := newRecorder()
	cfg.Observer = r
	s, err := p.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

func answerTo(t *testing.T, s *Session, o Offer) *Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	res, err := s.Negotiate(ctx, o)
	if err != nil || res.Answer == nil {
		t.Fatalf("%+v, %v", res, err)
	}
	return res.Answer
}

// The answer does not wait for the STUN server; each candidate is told once, in order, and then that there are no more.
func TestCandidatesTrickle(t *testing.T) {
	p := newTestPool(t, nil)
	held := newHeldSTUN(t)
	s, r := openWith(t, p, SessionConfig{ID: "s", ICEServers: []ICEServer{held.server()}})
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	text := f.offer(nil)
	first := answerTo(t, s, Offer{SDP: text, Trickle: true})
	if first.CandidatesComplete || !strings.Contains(first.SDP, "a=ice-options:trickle") || strings.Contains(first.SDP, "a=end-of-candidates") {
		t.Errorf("complete %v:\n%s", first.CandidatesComplete, first.SDP)
	}
	bare, inAnswer := withoutCandidates(first.SDP)
	f.accept(bare)
	for _, c := range inAnswer { // what the answer holds already is not told
		if err := f.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: c.Candidate}); err != nil {
			t.Error(err)
		}
	}
	f.add(opus, "mic", "alice") // not offered yet
	r.until(t, "host candidates", func() bool { return len(r.candidates)+len(inAnswer) > 0 })
	n := f.trickled(r, 0)
	cam := r.flowing(t, "cam")

	again := answerTo(t, s, Offer{SDP: text, Trickle: true})
	if again.CandidatesComplete || !strings.Contains(again.SDP, "a=candidate:") {
		t.Errorf("the repeated answer: complete %v:\n%s", again.CandidatesComplete, again.SDP)
	}
	held.letGo()
	r.until(t, "the end of candidates", func() bool {
		return len(r.candidates) > 0 && r.candidates[len(r.candidates)-1].Candidate.Candidate == ""
	})
	f.trickled(r, n)
	checkTrickled(t, first, r.told().candidates)
	if last := answerTo(t, s, Offer{SDP: text}); !last.CandidatesComplete || !strings.Contains(last.SDP, "192.0.2.77") {
		t.Errorf("complete %v:\n%s", last.CandidatesComplete, last.SDP)
	}
	morePackets(t, cam.Track, 20)
	f.negotiate(s, 0)
	r.flowing(t, "mic")
}

// checkTrickled checks what was told beside the answer: each once, none that the answer holds, and one end.
func checkTrickled(t *testing.T, answer *Answer, told []toldCandidate) {
	t.Helper()
	ufrag := sdpAttribute(answer.SDP, "ice-ufrag")
	known := make(map[string]bool)
	_, inAnswer := withoutCandidates(answer.SDP)
	for _, c := range inAnswer {
		known[offer.CandidateIdentity(c.Candidate)] = true
	}
	reflexive := false
	for i, c := range told {
		if c.generation != answer.Generation || c.MID == nil || *c.MID != "0" || c.MLineIndex == nil || *c.MLineIndex != 0 ||
			c.UsernameFragment == nil || *c.UsernameFragment != ufrag {
			t.Errorf("%+v", c)
		}
		if last := i == len(told)-1; (c.Candidate.Candidate == "") != last {
			t.Errorf("%q is %d of %d", c.Candidate.Candidate, i, len(told))
		}
		if identity := offer.CandidateIdentity(c.Candidate.Candidate); known[identity] {
			t.Errorf("%s was known", identity)
		} else {
			known[identity] = true
		}
		reflexive = reflexive || strings.Contains(c.Candidate.Candidate, "192.0.2.77")
	}
	if !reflexive {
		t.Errorf("no candidate of the STUN server: %+v", told)
	}
}

// Candidates of a generation that is gone are told to nobody; nor are those of an offer that does not trickle.
func TestCandidatesOfAGoneGenerationAreNotTold(t *testing.T) {
	p := newTestPool(t, func(c *Config) { c.GatherTimeout = 50 * time.Millisecond })
	held := newHeldSTUN(t)
	s, r := openWith(t, p, SessionConfig{ID: "s", ICEServers: []ICEServer{held.server()}})
	first, second := newTestSFU(t), newTestSFU(t)
	first.add(vp8, "cam", "alice")
	answerTo(t, s, Offer{SDP: first.offer(nil), Trickle: true})
	second.add(vp8, "cam2", "alice")
	text := second.offer(nil)
	answer := second.exchange(s, 2, text)
	if answer.CandidatesComplete {
		t.Error("the answer waited for the server")
	}
	before := len(r.told().candidates)
	held.letGo()
	r.flowing(t, "cam2")
	r.until(t, "the first generation is gone", func() bool { return len(r.media) == 1 })
	waitFor(t, "the end of gathering", func() bool { return answerTo(t, s, Offer{Generation: 2, SDP: text}).CandidatesComplete })
	if told := r.told().candidates; len(told) != before {
		t.Errorf("%+v", told[before:])
	}
}

// A restart gathers anew, with the servers that were set meanwhile, and its candidates are told under its own fragment.
func TestCandidatesOfAnICERestartTrickle(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	f.negotiate(s, 0)
	cam := r.flowing(t, "cam")
	held := newHeldSTUN(t)
	if err := s.SetICEServers(context.Background(), []ICEServer{held.server()}); err != nil {
		t.Fatal(err)
	}
	answer := answerTo(t, s, Offer{SDP: f.offer(restartOptions), Trickle: true})
	if answer.CandidatesComplete {
		t.Errorf("the new server is not asked:\n%s", answer.SDP)
	}
	f.accept(answer.SDP)
	held.letGo()
	r.until(t, "the end of candidates", func() bool {
		return len(r.candidates) > 0 && r.candidates[len(r.candidates)-1].Candidate.Candidate == ""
	})
	f.trickled(r, 0)
	checkTrickled(t, answer, r.told().candidates)
	morePackets(t, cam.Track, 20)
	if now, ok := s.Media(cam.ID); !ok || now != cam {
		t.Errorf("was %+v, is %+v", cam, now)
	}
}
