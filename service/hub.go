package service

import (
	"sync"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
)

const (
	// maxGathered bounds the local candidates that are kept of a generation; pion gathers some for each interface and server.
	maxGathered = 256
	// keptStates is of how many generations below the newest a change of state is still worth telling: the one before
	// may go on receiving for a while.
	keptStates = 1
)

// hub knows where one session's signalling stands, and tells it to the open conversation, if there is one. It holds what a caller
// that comes back must be told, and no more. All methods are safe for concurrent use and none blocks.
type hub struct {
	session string

	mu         sync.Mutex
	open       *conversation
	lost       bool      // there was a conversation, and it was not replaced
	since      time.Time // when the caller of the last conversation opened it
	over       bool
	generation uint64 // the newest that was told of
	state      rtcpool.State
	known      bool // state was told
	gathered   []rtcpool.Candidate
	complete   bool // the last of gathered is end-of-candidates
	restart    *rtcpool.Restart
	demand     *demand
}

// newHub returns the hub of a session of which nothing is known.
func newHub(session string) *hub {
	h := &hub{session: session}
	h.demand = newDemand(h.tellWanted, h.forgetTrack)
	return h
}

// attach makes a conversation the session's, and tells it all that stands, after its reply to open. generation is the one that the
// caller is at. It returns the conversation that it replaces, or false when the session is over or has a newer one.
func (h *hub) attach(c *conversation, opened func(), generation uint64) (old *conversation, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over || h.outdated(c) {
		return nil, false
	}
	old, h.open, h.lost, h.since = h.open, c, false, c.since
	opened()
	if r := h.behind(generation); r != nil {
		c.out.put(subject{kind: aboutRestart}, protoRestart(*r))
	}
	if h.known {
		c.out.put(subject{kind: aboutState, generation: h.generation}, protoState(h.generation, h.state))
	}
	for _, one := range h.gathered {
		c.candidate(h.generation, one)
	}
	h.demand.repeatAll()
	return old, true
}

// newer tells whether a conversation that comes over from an owner before was replaced meanwhile.
func (h *hub) newer(than *conversation) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.outdated(than)
}

func (h *hub) outdated(c *conversation) bool { return c.again && c.since.Before(h.since) }

// behind returns why a caller at a generation must start again, or nil.
func (h *hub) behind(generation uint64) *rtcpool.Restart {
	switch {
	case generation > h.generation:
		r := rtcpool.Restart{MinGeneration: generation + 1, Reason: "the gateway knows no peer connection of that generation"}
		if h.restart != nil {
			r = rtcpool.Restart{MinGeneration: max(r.MinGeneration, h.restart.MinGeneration), Reason: h.restart.Reason}
		}
		return &r
	case h.restart != nil:
		return h.restart
	}
	return nil
}

// detach takes a conversation out when it has ended, and tells whether it was the session's.
func (h *hub) detach(c *conversation) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open != c {
		return false
	}
	h.open, h.lost = nil, true
	return true
}

// listening tells whether a conversation is open, so that candidates can trickle.
func (h *hub) listening() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open != nil
}

// signallingLost tells whether a conversation was open and did not come back.
func (h *hub) signallingLost() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lost
}

// minGeneration returns the lowest generation that a new offer may have, as far as the peer connections say.
func (h *hub) minGeneration() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.restart != nil {
		return h.restart.MinGeneration
	}
	return 0
}

// begin takes note that a generation is the newest.
func (h *hub) begin(generation uint64) {
	if generation <= h.generation {
		return
	}
	h.generation, h.known = generation, false
	h.regather()
	if h.restart != nil && h.restart.MinGeneration <= generation {
		h.settled()
	}
}

// regather forgets the candidates of a gathering that is over, also those that were not sent yet.
func (h *hub) regather() {
	h.gathered, h.complete = nil, false
	if h.open != nil {
		h.open.dropCandidates()
	}
}

// settled takes note that no restart is needed any longer.
func (h *hub) settled() {
	h.restart = nil
	if h.open != nil {
		h.open.out.take(subject{kind: aboutRestart})
	}
}

// answered takes note that an offer was answered. An answer that holds every candidate leaves none to be told.
func (h *hub) answered(a *rtcpool.Answer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.begin(a.Generation)
	if a.CandidatesComplete && a.Generation == h.generation {
		h.gathered, h.complete = nil, false
	}
}

// gatheredOne takes a local candidate. One that comes after end-of-candidates, or that names other credentials, is the
// first of another gathering, after an ICE restart.
func (h *hub) gatheredOne(generation uint64, c rtcpool.Candidate) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if generation < h.generation {
		return
	}
	h.begin(generation)
	if c.UsernameFragment != nil {
		ufrag := *c.UsernameFragment // the pool's own may change
		c.UsernameFragment = &ufrag
	}
	if h.complete || len(h.gathered) > 0 && otherCredentials(h.gathered[0], c) {
		h.regather()
	}
	if c.Candidate == "" {
		h.complete = true
	} else if len(h.gathered) >= maxGathered {
		return
	}
	h.gathered = append(h.gathered, c)
	if h.open != nil {
		h.open.candidate(generation, c)
	}
}

// otherCredentials tells whether two candidates are of different ICE sessions.
func otherCredentials(a, b rtcpool.Candidate) bool {
	return a.UsernameFragment != nil && b.UsernameFragment != nil && *a.UsernameFragment != *b.UsernameFragment
}

// stateChanged takes the state of a generation's peer connection.
func (h *hub) stateChanged(generation uint64, s rtcpool.State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if generation >= h.generation {
		h.begin(generation)
		h.state, h.known = s, true
		// Being connected mends what an ICE restart was asked for, not a peer connection that takes no further offer.
		if s == rtcpool.StateConnected && h.restart != nil && h.restart.MinGeneration <= generation {
			h.settled()
		}
	}
	if h.open == nil || generation+keptStates < h.generation {
		return
	}
	h.open.out.drop(func(s subject) bool { return s.kind == aboutState && s.generation+keptStates < h.generation })
	h.open.out.put(subject{kind: aboutState, generation: generation}, protoState(generation, s))
}

// restartNeeded takes note that media will not come back without the offerer.
func (h *hub) restartNeeded(r rtcpool.Restart) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.restart = &r
	if h.open != nil {
		h.open.out.put(subject{kind: aboutRestart}, protoRestart(r))
	}
}

// sessionEnded ends the conversation.
func (h *hub) sessionEnded(reason resolverstore.SessionEndReason) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	if h.open != nil {
		h.open.out.put(subject{kind: aboutEnd}, &penstockv1.SignalResponse{Message: &penstockv1.SignalResponse_Ended{
			Ended: &penstockv1.SignalEnded{Reason: penstockv1.SessionEndReason(reason)},
		}})
		h.open.finish(nil)
	}
}

// leave ends the conversation here: another process has the session.
func (h *hub) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	if h.open != nil {
		h.open.abort(errMoved)
	}
}

// want notes a consumer's wish. The caller must close it.
func (h *hub) want(sel resolverstore.Selector, s shape) *want {
	w := &want{hub: h, selector: sel, shape: s}
	w.seek()
	return w
}

// tracksChanged takes what the store says of the session's tracks.
func (h *hub) tracksChanged(changed []resolverstore.Track, removed []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.demand.apply(changed, removed)
}

// reported tells again what is wanted of what signalling has published just now: it may have forgotten what it was told
// before it unpublished.
func (h *hub) reported(events []resolverstore.Event) {
	published := make(map[resolverstore.PublicationRef]bool)
	note := func(p *resolverstore.Publication) {
		published[resolverstore.PublicationRef{ParticipantID: p.Participant.ID, Source: p.Source}] = true
	}
	for _, e := range events {
		if e.Published != nil {
			note(e.Published)
		}
		if e.Snapshot != nil {
			for i := range e.Snapshot.Publications {
				note(&e.Snapshot.Publications[i])
			}
		}
	}
	if len(published) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.demand.repeat(func(r resolverstore.PublicationRef) bool { return published[r] })
}

// tellWanted implements demand.tell.
func (h *hub) tellWanted(t resolverstore.Track, a asked) {
	if h.open != nil {
		h.open.out.put(subject{kind: aboutTrack, id: t.ID}, protoWanted(h.session, t, a))
	}
}

// forgetTrack implements demand.forget.
func (h *hub) forgetTrack(id string) {
	if h.open != nil {
		h.open.out.take(subject{kind: aboutTrack, id: id})
	}
}
