package rtcpool

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

var candidateLine = regexp.MustCompile(`(?m)^a=(candidate:.*)\r\n`)

// withoutCandidates takes the candidates out of an offer.
func withoutCandidates(offer string) (bare string, candidates []Candidate) {
	for _, m := range candidateLine.FindAllStringSubmatch(offer, -1) {
		candidates = append(candidates, Candidate{Candidate: m[1]})
	}
	return strings.ReplaceAll(candidateLine.ReplaceAllString(offer, ""), "a=end-of-candidates\r\n", ""), candidates
}

func give(t *testing.T, s *Session, generation uint64, c Candidate) CandidateResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	r, err := s.AddCandidate(ctx, generation, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Only the kept candidates lead to the SFU: it answers no check before it has seen ours.
func TestS5_CandidatesBeforeTheOfferAreKept(t *testing.T) {
	t.Parallel()
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(opus, "mic", "alice")
	bare, candidates := withoutCandidates(f.offer(nil))
	for _, c := range candidates {
		if got := give(t, s, 0, c); got != CandidateKept {
			t.Errorf("%v: %v", c, got)
		}
	}
	if got := give(t, s, 0, Candidate{}); got != CandidateKept {
		t.Errorf("end-of-candidates: %v", got)
	}
	for _, end := range endsOfCandidates() {
		if got := give(t, s, 0, end); got != CandidateKept {
			t.Errorf("end-of-candidates of one: %v", got)
		}
	}
	// The SFU learns nothing of us: the connection can only come about by the checks that we send it.
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	res, err := s.Negotiate(ctx, Offer{SDP: bare})
	if err != nil || res.Answer == nil {
		t.Fatal(res, err)
	}
	ours, _ := withoutCandidates(res.Answer.SDP)
	f.accept(ours)
	r.flowing(t, "mic")
	if st := p.Stats(); st.CandidatesAdded != uint64(len(candidates)+3) {
		t.Errorf("%+v", st)
	}
}

// endsOfCandidates end those of one media description each, named by mid or by index.
func endsOfCandidates() []Candidate {
	mid, index := "0", uint16(0)
	return []Candidate{{MID: &mid}, {MLineIndex: &index}}
}

func TestS5_CandidatesAfterTheOfferAreAdded(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(opus, "mic", "alice")
	bare, candidates := withoutCandidates(f.offer(nil))
	f.exchange(s, 0, bare)
	for _, c := range candidates {
		if got := give(t, s, 1, c); got != CandidateAdded {
			t.Errorf("%v: %v", c, got)
		}
	}
	for _, end := range append(endsOfCandidates(), Candidate{}) {
		if got := give(t, s, 1, end); got != CandidateAdded {
			t.Errorf("end-of-candidates: %v", got)
		}
	}
	r.flowing(t, "mic")
}

func TestS5_UselessCandidatesAreIgnored(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(opus, "mic", "alice")
	first := f.offer(nil)
	f.exchange(s, 0, first)
	r.flowing(t, "mic")
	stale := sdpAttribute(first, "ice-ufrag")
	f.exchange(s, 0, f.offer(restartOptions))

	const good = "candidate:1 1 udp 2130706431 127.0.0.1 9 typ host"
	future := "futu"
	for _, c := range []struct {
		name string
		c    Candidate
		want CandidateResult
	}{
		{"malformed", Candidate{Candidate: "candidate:hello"}, CandidateIgnored},
		{"malformed port", Candidate{Candidate: "candidate:1 1 udp 1 127.0.0.1 99999 typ host"}, CandidateIgnored},
		{"mDNS", Candidate{Candidate: "candidate:1 1 udp 1 4b1d1a2e-5b1d-4f0f-b3b1-1d4b4d4b4d4b.local 9 typ host"}, CandidateIgnored},
		{"too long", Candidate{Candidate: good + strings.Repeat(" x y", 500)}, CandidateIgnored},
		{"stale by field", Candidate{Candidate: good, UsernameFragment: &stale}, CandidateIgnored},
		{"stale by extension", Candidate{Candidate: good + " ufrag " + stale}, CandidateIgnored},
		{"of an offer to come", Candidate{Candidate: good, UsernameFragment: &future}, CandidateKept},
		{"good", Candidate{Candidate: good}, CandidateAdded},
	} {
		if got := give(t, s, 0, c.c); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if st := p.Stats(); st.CandidatesIgnored != 6 {
		t.Errorf("%+v", st)
	}
	morePackets(t, r.flowing(t, "mic").Track, 10)
}

func TestS5_KeptCandidatesAreBounded(t *testing.T) {
	p := newTestPool(t, nil)
	s, _ := open(t, p, "s")
	kept := 0
	for i := range 3 * maxKeptCandidates {
		c := Candidate{Candidate: fmt.Sprintf("candidate:%d 1 udp 1 127.0.0.1 9 typ host", i)}
		if give(t, s, uint64(1+i%(2*maxKeptGenerations)), c) == CandidateKept {
			kept++
		}
	}
	for i := range 2 * maxKeptCandidates {
		c := Candidate{Candidate: fmt.Sprintf("candidate:%d 1 udp 1 127.0.0.1 9 typ host", i)}
		if give(t, s, 1, c) == CandidateKept {
			kept++
		}
	}
	if kept > maxKeptGenerations*maxKeptCandidates || kept < maxKeptCandidates {
		t.Errorf("%d kept", kept)
	}
}

// Candidates of an ICE restart may overtake it: they are kept by its username fragment, and added when it comes.
func TestS5_CandidatesBeforeTheRestartAreAdded(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(opus, "mic", "alice")
	f.negotiate(s, 0)
	r.flowing(t, "mic")
	ufrag := "coming"
	c := Candidate{Candidate: "candidate:1 1 udp 1 192.0.2.9 9 typ host", UsernameFragment: &ufrag}
	if got := give(t, s, 0, c); got != CandidateKept {
		t.Errorf("before: %v", got)
	}
	before := p.Stats().CandidatesAdded
	if res, err := s.RestartICE(t.Context(), ufrag, strings.Repeat("p", 24), nil); err != nil || res.Answer == nil {
		t.Fatalf("%+v, %v", res, err)
	}
	if n := p.Stats().CandidatesAdded - before; n != 1 {
		t.Errorf("%d added by the restart", n)
	}
	if got := give(t, s, 0, c); got != CandidateAdded {
		t.Errorf("after: %v", got)
	}
}
