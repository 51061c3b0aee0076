package podtest

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// loyal is a worker that opens its stream again, with the token of the one before, whenever that is said to help.
type loyal struct {
	c      *cluster
	id     string
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	streams [][]*penstockv1.FrameInfo // what each stream was sent
	failed  error                     // what does not say that trying again helps
}

// loyal streams carol's camera from any pod, for as long as the test goes on.
func (c *cluster) loyal(id string) *loyal {
	ctx, cancel := context.WithCancel(c.ctx)
	w := &loyal{c: c, id: id, cancel: cancel}
	w.done.Go(func() { w.run(ctx) })
	c.t.Cleanup(w.stop)
	return w
}

func (w *loyal) stop() {
	w.cancel()
	w.done.Wait()
}

func (w *loyal) run(ctx context.Context) {
	pause := newPause()
	defer pause.Stop()
	request := &penstockv1.StreamTrackRequest{
		SessionId: w.id,
		Selector: &penstockv1.TrackSelector{Selector: &penstockv1.TrackSelector_Participant{
			Participant: &penstockv1.ParticipantTrack{ParticipantId: "carol-1", Source: penstockv1.Source_SOURCE_CAMERA},
		}},
	}
	for ctx.Err() == nil {
		err := w.stream(ctx, request)
		if ctx.Err() == nil && status.Code(err) != codes.Unavailable {
			w.mu.Lock()
			w.failed = err
			w.mu.Unlock()
			return
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
}

// stream reads one stream to its end, and readies the request for the next.
func (w *loyal) stream(ctx context.Context, request *penstockv1.StreamTrackRequest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.c.any.tracks.StreamTrack(ctx, request)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.streams = append(w.streams, nil)
	w.mu.Unlock()
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if token := m.GetHeader().GetResumeToken(); token != "" {
			request.ResumeToken = token
		}
		if f := m.GetVideo().GetInfo(); f != nil {
			request.ResumePresentationTimeNs, request.ResumeSequence = f.GetPresentationTimeNs(), f.GetSequence()
			w.mu.Lock()
			w.streams[len(w.streams)-1] = append(w.streams[len(w.streams)-1], f)
			w.mu.Unlock()
		}
	}
}

// awaitEpoch waits for frames of an epoch above another.
func (w *loyal) awaitEpoch(above uint64, n int) {
	w.c.t.Helper()
	awaitSo(w.c.ctx, w.c.t, "frames of the next epoch of "+w.id, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.failed != nil {
			w.c.t.Fatalf("the worker of %s gave up: %v", w.id, w.failed)
		}
		got := 0
		for _, s := range w.streams {
			for _, f := range s {
				if f.GetEpoch() > above {
					got++
				}
			}
		}
		return got >= n
	})
}

// stopAndJudge ends it, and checks that epochs and times never fell, over all streams.
func (w *loyal) stopAndJudge() {
	w.c.t.Helper()
	w.stop()
	var last *penstockv1.FrameInfo
	for _, s := range w.streams {
		for _, f := range s {
			if f.GetEpoch() < last.GetEpoch() || f.GetPresentationTimeNs() < last.GetPresentationTimeNs() ||
				f.GetEpoch() == last.GetEpoch() && f.GetSequence() <= last.GetSequence() {
				w.c.t.Errorf("the worker of %s was sent %v after %v", w.id, f, last)
			}
			last = f
		}
	}
}
