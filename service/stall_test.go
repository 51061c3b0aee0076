package service

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
)

// narrow returns a client whose streams have windows of a fixed size, so that what is not read waits in the gateway.
func (g *gateway) narrow() penstockv1.TrackServiceClient {
	g.t.Helper()
	conn := g.dial(grpc.WithInitialWindowSize(128<<10), grpc.WithInitialConnWindowSize(16<<20))
	g.t.Cleanup(func() { must(g.t, conn.Close()) })
	return penstockv1.NewTrackServiceClient(conn)
}

// openBy opens a stream on another connection than the gateway's own.
func (g *gateway) openBy(client penstockv1.TrackServiceClient, r *penstockv1.StreamTrackRequest) *reader {
	g.t.Helper()
	s, err := client.StreamTrack(g.ctx, r)
	must(g.t, err)
	return &reader{g.t, s, nil}
}

// cadence reads n pictures of a stream, and finds that none is missing between them but what the network lost, which is told.
func (r *reader) cadence(n int) error {
	last := uint64(0)
	for i := 0; i < n; {
		m, err := r.stream.Recv()
		if err != nil {
			return err
		}
		f := m.GetVideo().GetInfo()
		if f == nil {
			f = m.GetAudio().GetInfo()
		}
		if f == nil {
			continue
		}
		i++
		if last != 0 && f.GetSequence() != last+1 || f.GetDroppedFrames() != 0 {
			return fmt.Errorf("frame %d follows %d, %d dropped", f.GetSequence(), last, f.GetDroppedFrames())
		}
		last = f.GetSequence()
	}
	return nil
}

// roomy is the policy of who reads, on a machine that may be busy.
func roomy() *penstockv1.StreamPolicy {
	return &penstockv1.StreamPolicy{MaxQueueMs: 10_000, MaxQueueBytes: 64 << 20}
}

// TestF6_WhoStopsReadingHarmsNobody opens streams on one HTTP/2 connection. One is not read for a while: it is told what it missed. One is
// not read at all: it is ended with a reason. The others miss nothing, and what waits for all stays bounded.
func TestF6_WhoStopsReadingHarmsNobody(t *testing.T) {
	const bound = 64 << 20
	g := startGatewayWith(t, media.NewDecodePool(2, media.WithQueueBytes(bound)), func(c *Config) { c.StallTimeout = 5 * time.Second })
	g.create("call")
	sfu := g.sfu("call", sfutest.MSIDStream)
	must(t, sfu.Publish(g.ctx, newTrack(t, sfu, "bob", camera, clips.BobCamera())))
	client := g.narrow()
	request := func(p *penstockv1.StreamPolicy) *penstockv1.StreamTrackRequest {
		return &penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("bob", camera), Policy: p,
			Format: videoOf(&penstockv1.VideoFormat{Width: 160, MaxFps: 10})}
	}
	small := &penstockv1.StreamPolicy{MaxQueueBytes: 2 << 20}
	never, rests := g.openBy(client, request(small)), g.openBy(client, request(small))
	never.video()
	rested := rests.video().GetInfo().GetSequence()

	var others, ends sync.WaitGroup
	for range 3 {
		r := g.openBy(client, request(roomy()))
		r.video()
		others.Add(1)
		ends.Go(func() {
			if err := r.cadence(60); err != nil {
				t.Error(err)
			}
			others.Done()
			_ = r.end()
		})
	}
	pace := g.openBy(client, request(roomy()))
	for g.decoders.Totals().Consumers.DroppedQueueFull < 20 { // of the two that rest, and of nobody else
		pace.video()
		if held := g.decoders.Stats().QueuedBytes; held > bound {
			t.Fatalf("%d bytes wait", held)
		}
	}
	missed := uint64(0)
	for missed == 0 {
		i := rests.video().GetInfo()
		missed = uint64(i.GetDroppedFrames())
		if i.GetSequence() != rested+missed+1 || missed > 0 && i.GetDroppedMs() == 0 {
			t.Fatalf("frame %d follows %d, %d dropped in %d ms", i.GetSequence(), rested, missed, i.GetDroppedMs())
		}
		rested = i.GetSequence()
	}
	awake := make(chan error, 1)
	ends.Go(func() { awake <- rests.end() }) // Read, it goes on.
	ends.Go(func() { _ = pace.end() })

	for g.svc.streams.n.Load() != 5 { // The gateway has let go of the one that nobody reads.
		mustTick(t, g)
	}
	wantStatus(t, never.end(), codes.ResourceExhausted, "CONSUMER_STALLED")
	others.Wait()
	select {
	case err := <-awake:
		t.Errorf("who reads again was ended with %v", err)
	default:
	}
	_, err := g.sessions.DeleteSession(g.ctx, &penstockv1.DeleteSessionRequest{SessionId: "call"})
	must(t, err)
	ends.Wait()
	for g.decoders.Stats().QueuedBytes != 0 || g.svc.streams.n.Load() != 0 {
		mustTick(t, g)
	}
}

// TestF6_PolicyDisconnect ends a stream as soon as its queue is full.
func TestF6_PolicyDisconnect(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	sfu := g.sfu("call", sfutest.MSIDStream)
	must(t, sfu.Publish(g.ctx, newTrack(t, sfu, "bob", camera, clips.BobCamera())))
	r := g.openBy(g.narrow(), &penstockv1.StreamTrackRequest{
		SessionId: "call", Selector: byParticipant("bob", camera),
		Policy: &penstockv1.StreamPolicy{MaxQueueBytes: 1 << 20, Overflow: penstockv1.OverflowAction_OVERFLOW_ACTION_DISCONNECT},
	})
	r.video()
	for g.svc.streams.n.Load() != 0 {
		mustTick(t, g)
	}
	wantStatus(t, r.end(), codes.ResourceExhausted, "CONSUMER_STALLED")
}

// TestPanicInAStreamIsInternal lets the goroutine that sends fail: the process goes on.
func TestPanicInAStreamIsInternal(t *testing.T) {
	broken := &followed{svc: &Service{cfg: Config{Logger: slog.New(slog.DiscardHandler)}}} // without a store
	if f := classify(broken.guarded(t.Context())); f.reason != penstockv1.ErrorReason_ERROR_REASON_INTERNAL {
		t.Errorf("got %v", f)
	}
}
