package service

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
)

// steady is a stream of a session that nobody disturbs.
type steady struct {
	name   string
	frames atomic.Int64
}

// read reads a stream until the test has seen enough, and finds that nothing is missing.
func (s *steady) read(ctx context.Context, r *reader) error {
	last := uint64(0)
	for {
		m, err := r.stream.Recv()
		switch {
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", s.name, err)
		}
		f := m.GetVideo().GetInfo()
		if f == nil {
			f = m.GetAudio().GetInfo()
		}
		switch {
		case m.GetEvent().GetQualityLimited() != nil, m.GetHeader() != nil && last == 0: // The machine may be busy.
			continue
		case f == nil:
			return fmt.Errorf("%s: %v in mid-stream", s.name, m)
		case last != 0 && f.GetSequence() != last+1, f.GetDroppedFrames()+f.GetLostFrames() != 0, m.GetAudio().GetConcealed():
			return fmt.Errorf("%s: %v follows %d", s.name, f, last)
		}
		last = f.GetSequence()
		s.frames.Add(1)
	}
}

// neighbours is a gateway in which some sessions are read that nobody is to disturb.
type neighbours struct {
	*gateway
	quiet   []*steady
	seen    context.Context // what does not come before it ends, never will
	running sync.WaitGroup
	cycles  atomic.Int64 // of the session that comes and goes
}

// neighboursLimit is how long the noisy ones may take for their worst: what does not come meanwhile was held up by them.
const neighboursLimit = 30 * time.Second

// TestF15_NoisyNeighbours runs 50 sessions in one gateway. One publishes corrupt RTP, the worker of one does not read, one is closed and
// opened again and again. Meanwhile the other 47 lose nothing: no frame is missing between any two, none is dropped, concealed or lost.
func TestF15_NoisyNeighbours(t *testing.T) {
	const (
		quiet    = 47
		frames   = 15 // of each of them, while the others do their worst
		reopened = 3
		faults   = 20
	)
	n := &neighbours{gateway: startGateway(t)} // TestF15_NoisyTracksShareAWorker, of media, has one worker for all
	defer n.running.Wait()
	ctx, end := context.WithCancel(n.ctx)
	defer end()
	n.ctx = ctx
	n.seen = n.ctx
	small, err := clips.CarolLayers()[0].Units()
	must(t, err)
	n.settle(quiet, small[0].Data)

	seen, stop := context.WithTimeout(n.ctx, neighboursLimit)
	defer stop()
	defer context.AfterFunc(seen, end)()
	n.seen = seen
	still := keyFrame(t, "plain-640x360.ivf")
	corrupt := n.corrupt(still)
	n.create("stalled")
	n.publishStill("stalled", still)
	n.openBy(n.narrow(), &penstockv1.StreamTrackRequest{SessionId: "stalled", Selector: byParticipant("alice", camera)}) // read by nobody
	n.running.Go(func() {
		pause := time.NewTicker(time.Second / 2) // it is one of fifty, and not to take the machine for itself
		defer pause.Stop()
		for n.ctx.Err() == nil {
			n.reopen("restless")
			n.cycles.Add(1)
			select {
			case <-pause.C:
			case <-n.ctx.Done():
			}
		}
	})

	n.reach("stalled", "bytes that wait", 1, func() int64 { return n.decoders.Stats().QueuedBytes })
	n.reach("corrupt", "faults", 1, func() int64 { return int64(corrupt().DecodeErrors) })
	from := make([]int64, quiet)
	for i, s := range n.quiet {
		from[i] = s.frames.Load()
	}
	for i, s := range n.quiet {
		n.reach(s.name, "frames beside noisy neighbours", frames, func() int64 { return s.frames.Load() - from[i] })
	}
	n.reach("restless", "times closed and opened", reopened, n.cycles.Load)
	n.reach("corrupt", "faults", faults, func() int64 { return int64(corrupt().DecodeErrors + corrupt().Unusable) })
}

// settle opens the quiet sessions, and waits until frames of each come.
func (n *neighbours) settle(quiet int, still []byte) {
	n.t.Helper()
	for i := range quiet {
		s := &steady{name: fmt.Sprint("call-", i)}
		n.quiet = append(n.quiet, s)
		r := n.openSteady(s.name, still, i%16 == 0)
		n.running.Go(func() {
			if err := s.read(n.ctx, r); err != nil {
				n.t.Error(err)
			}
		})
	}
	for _, s := range n.quiet {
		n.reach(s.name, "frames", 1, s.frames.Load)
	}
}

// reach waits until there are so many of something in a session, and ends the test when they do not come.
func (n *neighbours) reach(session, what string, want int64, count func() int64) {
	n.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for count() < want {
		select {
		case <-tick.C:
			if n.t.Failed() {
				n.t.FailNow()
			}
		case <-n.seen.Done():
			n.t.Fatalf("%s: %d %s of %d: %v", session, count(), what, want, n.seen.Err())
		}
	}
}

// await waits until a condition holds.
func (g *gateway) await(holds func() bool) {
	g.t.Helper()
	for !holds() {
		mustTick(g.t, g)
	}
}

// openSteady makes a session with a camera that shows a still picture, or with a microphone, and streams it.
func (g *gateway) openSteady(session string, still []byte, microphones bool) *reader {
	g.t.Helper()
	g.create(session)
	r := &penstockv1.StreamTrackRequest{SessionId: session, Policy: roomy()}
	if microphones {
		sfu := g.sfu(session, sfutest.MSIDStream)
		must(g.t, sfu.Publish(g.ctx, newTrack(g.t, sfu, "alice", microphone, clips.BobMicrophone())))
		r.Selector, r.Format = byParticipant("alice", microphone), audioOf(&penstockv1.AudioFormat{SampleRateHz: 16000})
		return g.open(r)
	}
	g.publishStillEvery(session, still, 400*time.Millisecond)
	r.Selector, r.Format = byParticipant("alice", camera), videoOf(&penstockv1.VideoFormat{Width: 64})
	return g.open(r)
}

// corrupt makes a session whose camera sends noise now and then, and a stream of it; it returns what the track counts.
func (g *gateway) corrupt(still []byte) func() media.TrackStats {
	g.t.Helper()
	g.create("corrupt")
	peer := g.publishStill("corrupt", still)
	r := g.open(&penstockv1.StreamTrackRequest{SessionId: "corrupt", Selector: byParticipant("alice", camera)})
	r.video()
	m, ok := g.svc.session(key("corrupt")).media(g.resolved("corrupt"))
	if !ok {
		g.t.Fatal("no media")
	}
	noise := rand.New(rand.NewPCG(1, 2))
	bad := make([]byte, 5000)
	for i := range bad {
		bad[i] = byte(noise.Uint32())
	}
	bad[0] &^= 1 // looks like a key frame
	peer.show(bad)
	return m.Stats
}

// reopen makes a session, publishes, streams one frame, and ends all of it.
func (g *gateway) reopen(session string) {
	check := func(err error) {
		if err != nil && g.ctx.Err() == nil {
			g.t.Errorf("the session that comes and goes: %v", err)
		}
	}
	if _, err := g.sessions.CreateSession(g.ctx, &penstockv1.CreateSessionRequest{SessionId: session}); err != nil {
		check(err)
		return
	}
	defer func() {
		_, err := g.sessions.DeleteSession(g.ctx, &penstockv1.DeleteSessionRequest{SessionId: session})
		check(err)
	}()
	sfu, err := sfutest.New(sfutest.Config{Signaller: sfutest.GRPCSignaller{Client: g.sessions, SessionID: session}, FewCodecs: true})
	if err != nil {
		check(err)
		return
	}
	defer func() { check(sfu.Close()) }()
	track, err := sfu.NewTrack(sfutest.Participant{ParticipantID: "alice", UserID: "user-alice"}, camera, clips.BobCamera())
	if err != nil {
		check(err)
		return
	}
	check(sfu.Publish(g.ctx, track))
	ctx, cancel := context.WithCancel(g.ctx)
	defer cancel()
	s, err := g.tracks.StreamTrack(ctx, &penstockv1.StreamTrackRequest{SessionId: session, Selector: byParticipant("alice", camera)})
	for err == nil {
		var m *penstockv1.StreamTrackResponse
		if m, err = s.Recv(); m.GetVideo() != nil {
			return
		}
	}
	check(err)
}
