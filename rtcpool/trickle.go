package rtcpool

import (
	"sync"

	"github.com/penstock-media/penstock/rtcpool/internal/offer"
	"github.com/pion/webrtc/v4"
)

// maxLocalCandidates bounds the local candidates of one generation that wait to be told.
const maxLocalCandidates = 256

// localCandidates takes what ICE gathers, on a goroutine of pion's, to the session's goroutine.
type localCandidates struct {
	mu   sync.Mutex
	list []*webrtc.ICECandidate // in the order of gathering; nil is the end
}

// add never blocks.
func (l *localCandidates) add(c *webrtc.ICECandidate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) < maxLocalCandidates || c == nil && len(l.list) == maxLocalCandidates {
		l.list = append(l.list, c)
	}
}

func (l *localCandidates) take() []*webrtc.ICECandidate {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.list
	l.list = nil
	return list
}

// trickle is how far the local candidates of a generation have been told. It is owned by the session's goroutine.
type trickle struct {
	on    bool                // the last offer asked for it
	ufrag string              // local, of the last answer
	told  map[string]struct{} // candidates that the offerer knows, in the answer or one by one
	ended bool                // the offerer knows that there are no more
}

// answered takes note of what an answer that is given out tells.
func (t *trickle) answered(text string) {
	ufrag, candidates, ended, err := offer.ReadAnswer(text)
	if err != nil {
		return // our own; it was made by the same package
	}
	if ufrag != t.ufrag || t.told == nil {
		t.ufrag, t.told, t.ended = ufrag, make(map[string]struct{}), false
	}
	for _, value := range candidates {
		t.told[offer.CandidateIdentity(value)] = struct{}{}
	}
	t.ended = t.ended || ended
}

// next returns the candidate to be told, or false when the offerer knows it already or can do nothing with it.
func (t *trickle) next(c *webrtc.ICECandidate, at *offer.Section) (Candidate, bool) {
	out := Candidate{UsernameFragment: &t.ufrag}
	if at != nil {
		mid, index := at.MID, uint16(at.Index) //nolint:gosec // the media descriptions of an offer are bounded
		out.MID, out.MLineIndex = &mid, &index
	}
	if c == nil {
		first := !t.ended
		t.ended = true
		return out, first
	}
	out.Candidate = c.ToJSON().Candidate
	ufrag, ok := readCandidate(out)
	identity := offer.CandidateIdentity(out.Candidate)
	if _, known := t.told[identity]; known || !ok || ufrag != t.ufrag {
		return out, false
	}
	t.told[identity] = struct{}{}
	return out, true
}

// tellCandidates tells the observer the local candidates of the current generation that the offerer does not know yet.
func (s *Session) tellCandidates() {
	p := s.current
	if p == nil || !p.trickle.on || p.answer == nil || p.state == StateClosed {
		return
	}
	for _, c := range p.gathered.take() {
		if out, fresh := p.trickle.next(c, p.last.Transport()); fresh {
			s.observer.CandidateGathered(p.generation, out)
		}
	}
}
