package service

import (
	"fmt"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
)

// listen attaches a conversation that nobody carries, at a generation.
func listen(h *hub, generation uint64) *conversation {
	c := &conversation{out: newOutbox()}
	h.attach(c, func() {}, generation)
	return c
}

// announced counts the tracks that the hub knows to be published.
func (h *hub) announced() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.demand.tracks {
		if t.track.Publication != nil {
			n++
		}
	}
	return n
}

// asWords returns messages in few words.
func asWords(in []*penstockv1.SignalResponse) (out []string) {
	for _, m := range in {
		switch {
		case m.GetCandidate() != nil:
			out = append(out, fmt.Sprint("candidate ", m.GetCandidate().GetGeneration(), " ", m.GetCandidate().GetCandidate().GetCandidate()))
		case m.GetConnectionState() != nil:
			out = append(out, fmt.Sprint("state ", m.GetConnectionState().GetGeneration(), " ", int(m.GetConnectionState().GetState())))
		case m.GetRestart() != nil:
			out = append(out, fmt.Sprint("restart ", m.GetRestart().GetMinGeneration(), " ", m.GetRestart().GetIceRestart()))
		case m.GetEnded() != nil:
			out = append(out, fmt.Sprint("ended ", int(m.GetEnded().GetReason())))
		}
	}
	return out
}

// standing returns what a caller that opens now at a generation is told.
func standing(h *hub, generation uint64) string {
	return fmt.Sprint(asWords(drained(listen(h, generation).out)))
}

// gathers tells candidates of a generation and of ICE credentials.
func gathers(h *hub, generation uint64, ufrag string, candidates ...string) {
	for _, c := range candidates {
		h.gatheredOne(generation, rtcpool.Candidate{Candidate: c, UsernameFragment: &ufrag})
	}
}

// TestHubKeepsWhatStillMatters opens again and again while generations, gatherings and faults come and go: told is what matters now.
func TestHubKeepsWhatStillMatters(t *testing.T) {
	h := newHub("call")
	for _, step := range []struct {
		what  string
		do    func()
		stand string
	}{
		{"nothing", func() {}, "[]"},
		{"gathering", func() { gathers(h, 1, "one", "a", "b") }, "[candidate 1 a candidate 1 b]"},
		{"connected", func() { h.stateChanged(1, rtcpool.StateConnected) }, "[state 1 3 candidate 1 a candidate 1 b]"},
		{"complete", func() { gathers(h, 1, "one", "") }, "[state 1 3 candidate 1 a candidate 1 b candidate 1 ]"},
		{"failed", func() {
			h.stateChanged(1, rtcpool.StateFailed)
			h.restartNeeded(rtcpool.Restart{ICE: true, MinGeneration: 1})
		}, "[restart 1 true state 1 5 candidate 1 a candidate 1 b candidate 1 ]"},
		{"ICE restarted", func() { gathers(h, 1, "two", "c") }, "[restart 1 true state 1 5 candidate 1 c]"},
		{"connected again", func() { h.stateChanged(1, rtcpool.StateConnected) }, "[state 1 3 candidate 1 c]"},
		{"answered with all", func() { h.answered(&rtcpool.Answer{Generation: 1, CandidatesComplete: true}) }, "[state 1 3]"},
		{"half applied", func() { h.restartNeeded(rtcpool.Restart{MinGeneration: 2}) }, "[restart 2 false state 1 3]"},
		{"connected once more", func() { h.stateChanged(1, rtcpool.StateConnected) }, "[restart 2 false state 1 3]"},
		{"a new generation", func() { h.stateChanged(2, rtcpool.StateConnecting) }, "[state 2 2]"},
		{"late news of the older", func() {
			h.stateChanged(1, rtcpool.StateClosed)
			gathers(h, 1, "two", "d")
		}, "[state 2 2]"},
	} {
		step.do()
		if got := standing(h, 0); got != step.stand {
			t.Errorf("%s: told %s, want %s", step.what, got, step.stand)
		}
	}
	if got := standing(h, 5); got != "[restart 6 false state 2 2]" {
		t.Errorf("a caller that is further: told %s", got)
	}
	for i := range 2 * maxGathered {
		gathers(h, 2, "three", fmt.Sprint(i))
	}
	if len(h.gathered) != maxGathered {
		t.Errorf("%d candidates are kept", len(h.gathered))
	}
}

// TestHubSlowCaller changes everything a thousand times while the caller does not read: it gets no state of generations that are over, and the last of those that are not.
func TestHubSlowCaller(t *testing.T) {
	h := newHub("call")
	c := listen(h, 0)
	for g := range uint64(1000) {
		for s := rtcpool.StateNew; s <= rtcpool.StateClosed; s++ {
			h.stateChanged(g+1, s)
		}
		h.restartNeeded(rtcpool.Restart{MinGeneration: g + 2})
	}
	h.sessionEnded(resolverstore.SessionDeleted)
	if got := fmt.Sprint(asWords(drained(c.out))); got != "[state 999 6 state 1000 6 restart 1001 false ended 1]" &&
		got != "[restart 1001 false state 999 6 state 1000 6 ended 1]" {
		t.Errorf("told %s", got)
	}
	if _, ok := h.attach(&conversation{out: newOutbox()}, func() {}, 0); ok {
		t.Error("a session that is over has a conversation")
	}
}

// TestHubKnowsWhoListens counts the conversation that is open, not those that it replaced.
func TestHubKnowsWhoListens(t *testing.T) {
	h := newHub("call")
	if h.listening() || h.signallingLost() {
		t.Error("somebody listens before all")
	}
	first := listen(h, 0)
	second := listen(h, 0)
	if h.detach(first) || !h.listening() || h.signallingLost() {
		t.Error("the end of the older is the end of the newer")
	}
	if !h.detach(second) || h.listening() || !h.signallingLost() {
		t.Error("the end of the newer is none")
	}
	listen(h, 0)
	if !h.listening() || h.signallingLost() {
		t.Error("signalling that came back is lost")
	}
}

// TestCandidatesWaitForTheAnswer holds candidates back while an offer of the conversation is not answered.
func TestCandidatesWaitForTheAnswer(t *testing.T) {
	h := newHub("call")
	c := listen(h, 0)
	c.offering = 2
	gathers(h, 1, "one", "a", "b")
	if _, waits := c.out.first(); c.out.take(subject{kind: aboutCandidate, generation: 1, id: "a"}) != nil || waits {
		t.Error("a candidate overtakes the answer")
	}
	c.offerDone()
	if len(c.held) != 2 {
		t.Errorf("%d are held while another offer is under way", len(c.held))
	}
	c.offerDone()
	if got := fmt.Sprint(asWords(drained(c.out))); got != "[candidate 1 a candidate 1 b]" || len(c.held) != 0 {
		t.Errorf("told %s", got)
	}
}

// TestHubSlowCallerGetsOneGathering restarts ICE, and begins generations, again and again while the caller does not read, and while its offer is
// not answered: it gets the candidates of the last gathering, whose end comes last.
func TestHubSlowCallerGetsOneGathering(t *testing.T) {
	for _, offering := range []int{0, 1} {
		h := newHub("call")
		c := listen(h, 0)
		c.offering = offering
		for g := range uint64(20) {
			for restart := range 20 {
				gathers(h, g+1, fmt.Sprint(restart), fmt.Sprint(restart, " a"), fmt.Sprint(restart, " b"), "")
			}
		}
		gathers(h, 3, "late", "late")
		if offering > 0 {
			c.offerDone()
		}
		if got := fmt.Sprint(asWords(drained(c.out))); got != "[candidate 20 19 a candidate 20 19 b candidate 20 ]" {
			t.Errorf("with %d offers under way told %s", offering, got)
		}
	}
}
