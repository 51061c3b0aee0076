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

// read reads a stream until stop is closed, and finds that nothing is missing.
func (s *steady) read(r *reader, stop <-chan struct{}) error {
	last := uint64(0)
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		m, err := r.stream.Recv()
		if err != nil {
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

// TestF15_NoisyNeighbours runs 50 sessions in one gateway. One publishes corrupt RTP, the worker of one does not read, one is closed and opened
// again and again. Meanwhile the other 47 lose nothing: no frame is missing between any two, none is dropped, concealed or lost.
func TestF15_NoisyNeighbours(t *testing.T) {
	const (
		quiet    = 47
		frames   = 30 // of each of them, while the others do their worst
		reopened = 3
	)
	g := startGateway(t)
	still := keyFrame(t, "plain-640x360.ivf")
	stop := make(chan struct{})
	var readers sync.WaitGroup
	all := make([]*steady, quiet)
	for i := range all {
		s := &steady{name: fmt.Sprint("call-", i)}
		all[i] = s
		r := g.openSteady(s.name, still, i%8 == 0)
		readers.Go(func() {
			if err := s.read(r, stop); err != nil {
				t.Error(err)
			}
			r.cancel()
		})
	}
	for _, s := range all {
		g.await(func() bool { return s.frames.Load() > 0 || t.Failed() })
	}

	corrupt := g.corrupt(still)
	g.create("stalled")
	g.publishStill("stalled", still)
	g.openBy(g.narrow(), &penstockv1.StreamTrackRequest{SessionId: "stalled", Selector: byParticipant("alice", camera)}).video()
	var cycles atomic.Int64
	churn, leave := context.WithCancel(g.ctx)
	readers.Go(func() {
		for churn.Err() == nil {
			g.reopen("restless")
			cycles.Add(1)
		}
	})

	from := make([]int64, quiet)
	for i, s := range all {
		from[i] = s.frames.Load()
	}
	for i, s := range all {
		g.await(func() bool { return s.frames.Load() >= from[i]+frames || t.Failed() })
	}
	g.await(func() bool { return cycles.Load() >= reopened || t.Failed() })
	g.await(func() bool { return corrupt().DecodeErrors+corrupt().Unusable > 20 || t.Failed() })
	leave()
	close(stop)
	readers.Wait()
	if held := g.decoders.Stats().QueuedBytes; held == 0 {
		t.Error("nothing waits for the worker that does not read")
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
	g.publishStillEvery(session, still, 200*time.Millisecond)
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
	m, ok := g.svc.session("corrupt").media(g.resolved("corrupt"))
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
	sfu, err := sfutest.New(sfutest.Config{Signaller: sfutest.GRPCSignaller{Client: g.sessions, SessionID: session}})
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
