package rtcpool

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/penstock-media/penstock/rtcpool/internal/network"
	"github.com/penstock-media/penstock/rtcpool/internal/offer"
	"github.com/pion/webrtc/v4"
	"go.opentelemetry.io/otel/trace"
)

// peer is one generation: a peer connection, what was last negotiated on it, and the goroutines that read from it.
// All fields but pc, ctx and feedback are owned by the session's goroutine.
type peer struct {
	session    *Session
	generation uint64
	pc         *webrtc.PeerConnection
	net        *network.Peer
	ctx        context.Context
	cancel     context.CancelFunc
	work       sync.WaitGroup // readers
	feedback   *feedback

	state       State
	last        *offer.Offer      // applied; nil before the first
	negotiated  trace.SpanContext // of last
	answer      *Answer           // of last; nil while it gathers
	gathered    localCandidates
	trickle     trickle
	restart     Restart // what was asked for last; the zero value when all is well
	readers     []*reader
	strays      *strays
	flooded     bool     // it was closed, for too many sources
	retired     []uint32 // sources of media that are gone; the last maxRetired
	usedUfrags  map[string]struct{}
	remotes     map[string]struct{} // remote candidates since the last ICE restart
	sourceLines offer.SourceLines   // of the last offer applied
	watching    bool                // cuts are told what arrives
	flowWanted  int                 // how many media must flow before the older generation is let go
}

// newPeer makes the peer connection of a generation.
func (s *Session) newPeer(generation uint64, remotes []netip.AddrPort) (*peer, error) {
	repairs := &retransmissions{}
	n := s.pool.network.NewPeer(context.Background(), s.relayRefused)
	ctx, cancel := context.WithCancel(context.Background())
	p := &peer{
		session: s, generation: generation, net: n, ctx: ctx, cancel: cancel, usedUfrags: make(map[string]struct{}), remotes: make(map[string]struct{}),
	}
	p.strays = newStrays(ctx, &s.pool.stats, s.changed)
	p.strays.net = n
	n.Join(remotes)
	pc, err := s.pool.newPeerConnection(n, &s.cfg, p.strays.buffer, repairs, p.strays)
	if err != nil {
		cancel()
		n.Leave()
		return nil, fmt.Errorf("making a peer connection: %w", err)
	}
	p.pc = pc
	p.feedback = newFeedback(p)
	repairs.feedback.Store(p.feedback)
	pc.OnConnectionStateChange(func(webrtc.PeerConnectionState) { s.changed() })
	pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		p.gathered.add(c)
		s.changed()
	})
	pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		p.found(newReader(p, &trackSource{TrackRemote: track, receiver: receiver}, kindOf(track.Kind().String()+"/")))
	})
	s.pool.stats.peers.Add(1)
	p.work.Go(p.feedback.run)
	return p, nil
}

// renewServers lets an ICE restart gather from the servers that were set meanwhile. While the last gathering still runs
// pion cannot take them: then the restart after this one does.
func (p *peer) renewServers() {
	s := p.session
	if !s.serversChanged || p.pc.ICEGatheringState() == webrtc.ICEGatheringStateGathering {
		return
	}
	cfg := p.pc.GetConfiguration()
	var err error
	if cfg.ICEServers, err = iceServers(s.cfg.ICEServers); err == nil {
		p.net.SetServers(cfg.ICEServers)
		err = p.pc.SetConfiguration(cfg)
	}
	if err != nil {
		s.log.Warn("ICE servers cannot be replaced", "generation", p.generation, "error", err)
		return
	}
	s.serversChanged = false
}

// found runs on a goroutine of pion's: it hands a source over and is gone.
func (p *peer) found(r *reader) {
	select {
	case p.session.started <- r:
	case <-p.ctx.Done():
	case <-p.session.ctx.Done():
	}
}

// closePeer takes a generation out of the session: its media are gone at once, the connection itself closes beside.
func (s *Session) closePeer(p *peer) {
	switch p {
	case s.current:
		s.current = nil
	case s.draining:
		s.draining = nil
		s.drainTimer.Stop()
	}
	s.removeEntries(func(e *entry) bool { return e.peer == p })
	p.cancel()
	if p.state != StateClosed {
		p.state = StateClosed
		s.observer.StateChanged(p.generation, StateClosed)
	}
	s.closing.Go(p.close)
}

// close closes the connection and waits for all that read from it, within peerTimeout: pion's graceful close may hang
// when ICE is closed in mid-start.
func (p *peer) close() {
	p.cancel()
	closed := make(chan struct{})
	p.net.Cancel()
	abort := time.AfterFunc(politeTimeout, p.net.Abort)
	go func() {
		defer close(closed)
		defer p.net.Leave()
		defer abort.Stop()
		defer p.session.pool.stats.peers.Add(-1)
		if err := p.pc.GracefulClose(); err != nil {
			p.session.log.Debug("closing the peer connection", "generation", p.generation, "error", err)
		}
		p.work.Wait()
	}()
	t := time.NewTimer(peerTimeout)
	defer t.Stop()
	select {
	case <-closed:
	case <-t.C:
		p.session.log.Warn("peer connection does not close in time", "generation", p.generation, "timeout", peerTimeout)
	}
}

// refresh looks at the peer connections again: states, readers that ended, media that began to flow.
func (s *Session) refresh() {
	for _, p := range []*peer{s.current, s.draining} {
		if p == nil {
			continue
		}
		p.forgetReaders()
		for _, st := range p.strays.fetch() {
			s.startReader(newReader(p, st, st.kind))
		}
		s.checkSources(p)
		s.lookAgain(p)
		p.watchLess()
		if state := stateOf(p.pc.ConnectionState()); state != p.state {
			s.setState(p, state)
		}
	}
	s.tellCandidates()
	s.report()
	s.checkDrain()
}

// setState takes note of a state. A connection that the other side closed is dead: its media end now, and the session
// when no offer brings a new one within the grace.
func (s *Session) setState(p *peer, state State) {
	p.state = state
	s.log.Debug("peer connection state", "generation", p.generation, "state", state.String())
	s.observer.StateChanged(p.generation, state)
	if state == StateClosed {
		s.removeEntries(func(e *entry) bool { return e.peer == p })
	}
	switch {
	case p != s.current:
		if state == StateClosed {
			s.closePeer(p)
		}
	case state == StateClosed && s.cfg.EndOnRemoteClose:
		s.end(EndRemoteClosed)
	case state == StateConnected:
		p.restart = Restart{}
		s.stopGrace()
	default:
		s.startGrace()
	}
	if p != s.current || s.ctx.Err() != nil {
		return
	}
	switch state {
	case StateFailed:
		if len(s.contested) > 0 && p.net.Shares() {
			s.tellContested(p) // to gather anew on the same port would not help
			return
		}
		s.needRestart(p, Restart{ICE: true, MinGeneration: p.generation, Reason: "ICE has failed: nothing comes from the other side"})
	case StateClosed:
		if !p.flooded { // who asked for a new generation then
			s.needRestart(p, Restart{MinGeneration: p.generation + 1, Reason: "the other side has closed the peer connection"})
		}
	}
}

// needRestart asks the offerer to start again, once for each fault.
func (s *Session) needRestart(p *peer, r Restart) {
	if p.restart == r {
		return
	}
	p.restart = r
	s.log.Info("restart needed", "generation", p.generation, "ice", r.ICE, "min_generation", r.MinGeneration, "reason", r.Reason)
	s.observer.RestartNeeded(r)
}

// replaceCurrent makes p the current generation. The one before goes on receiving until p's media flow.
func (s *Session) replaceCurrent(p *peer) {
	if s.draining != nil {
		s.endDrain("a newer generation came")
	}
	old := s.current
	s.current = p
	s.serversChanged = false // p was made with them
	if old == nil {
		return
	}
	s.kept.forgetBelow(p.generation)
	if old.state == StateClosed {
		old.cancel() // now: no reader starts while it is waited for
		s.closing.Go(old.close)
		s.removeEntries(func(e *entry) bool { return e.peer == old })
		return
	}
	p.flowWanted = s.flowing(old)
	s.draining = old
	s.drainTimer.Reset(drainTimeout)
	s.startGrace()
}

// checkDrain lets the older generation go as soon as as many media flow on the new one.
func (s *Session) checkDrain() {
	if s.draining != nil && s.current != nil && s.current.flowWanted <= s.flowing(s.current) && s.flowing(s.current) > 0 {
		s.endDrain("the newer generation flows")
	}
}

func (s *Session) endDrain(why string) {
	if s.draining != nil {
		s.log.Debug("older generation ends", "generation", s.draining.generation, "why", why)
		s.closePeer(s.draining)
		s.report()
	}
}

// flowing counts the media of a generation of which packets have come.
func (s *Session) flowing(p *peer) int {
	n := 0
	for _, e := range s.entries {
		if e.peer == p && e.seen.Load() != 0 {
			n++
		}
	}
	return n
}

func (p *peer) stats() *counters { return &p.session.pool.stats }
