package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

const (
	// takeOverBudget is how long after the owner's end frames may flow again, in seconds, with the default lease.
	takeOverBudget = 5
	// knowing is for how long pods have known each other before one is killed: longer than a lease, before which they take more time to believe that it is gone.
	knowing = 5 * time.Second
	// takeOvers is how often that is measured.
	takeOvers = 10
)

// takeOver measures how long after the end of a session's owner (by SIGKILL) a worker at another pod has frames again, where the caller has
// Signal open at a third and starts again as it is told.
func (b *bench) takeOver(ctx context.Context) []row {
	r := row{ID: "P3", What: "owner killed -> frames flow again at another pod, Signal open, default lease, seconds, the longest", Budget: takeOverBudget}
	var took []time.Duration
	for range takeOvers {
		fmt.Fprintln(b.log, "measuring a take-over")
		d, err := b.takeOverOnce(ctx)
		if err != nil {
			r.Missing = err.Error()
			return []row{r}
		}
		fmt.Fprintln(b.log, "  ", d)
		took = append(took, d.Round(time.Millisecond))
	}
	r.Value = strings.Trim(fmt.Sprint(took), "[]")
	r.judge(slices.Max(took).Seconds())
	return []row{r}
}

func (b *bench) takeOverOnce(ctx context.Context) (took time.Duration, err error) {
	f, err := b.fleet(ctx, false)
	defer f.stop()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if _, err := f.add(ctx); err != nil {
		return 0, err
	}
	const id = "takeover"
	owner, err := f.dial(0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = owner.Close() }()
	if _, err := penstockv1.NewSessionServiceClient(owner).CreateSession(ctx, &penstockv1.CreateSessionRequest{SessionId: id}); err != nil {
		return 0, fmt.Errorf("create a session: %w", err)
	}
	for range 2 {
		if _, err := f.add(ctx); err != nil {
			return 0, err
		}
	}
	p, err := newPublisher(ctx, f, 1, id)
	if err != nil {
		return 0, err
	}
	defer func() { _ = p.sfu.Close() }()
	defer p.caring.Wait()
	defer cancel()
	return p.untilFramesFlowAgain(ctx, f, id)
}

// publisher is an SFU that starts again when it is told to.
type publisher struct {
	sfu    *sfutest.SFU
	caring sync.WaitGroup
}

// newPublisher publishes a camera by way of a pod. ctx ends it; its SFU must be closed.
func newPublisher(ctx context.Context, f *fleet, pod int, id string) (*publisher, error) {
	conn, err := f.dial(pod)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	restarts := make(chan uint64, 16)
	signal := &sfutest.StreamSignaller{Client: penstockv1.NewSessionServiceClient(conn), SessionID: id, Hear: func(m *penstockv1.SignalResponse) {
		if r := m.GetRestart(); r != nil {
			restarts <- r.GetMinGeneration()
		}
	}}
	if _, err := signal.Open(ctx, 0); err != nil {
		return nil, err
	}
	p := &publisher{}
	if p.sfu, err = sfutest.New(sfutest.Config{Signaller: signal, FewCodecs: true}); err != nil {
		return nil, err
	}
	track, err := p.sfu.NewTrack(sfutest.Participant{ParticipantID: participantID(0)}, penstockv1.Source_SOURCE_CAMERA, clips.CarolLayers()[2])
	if err == nil {
		err = p.sfu.Publish(ctx, track)
	}
	if err != nil {
		_ = p.sfu.Close()
		return nil, err
	}
	p.caring.Go(func() {
		for {
			select {
			case least := <-restarts:
				if least > p.sfu.Generation() {
					_ = p.sfu.Reconnect(ctx) // it is told again, or nothing flows, which is seen
				}
			case <-ctx.Done():
				return
			}
		}
	})
	return p, nil
}

// untilFramesFlowAgain streams at the third pod, kills the first and waits for the first frame of a higher epoch.
func (p *publisher) untilFramesFlowAgain(ctx context.Context, f *fleet, id string) (time.Duration, error) {
	conn, err := f.dial(2)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	stream, err := penstockv1.NewTrackServiceClient(conn).StreamTrack(ctx, &penstockv1.StreamTrackRequest{SessionId: id,
		Selector: &penstockv1.TrackSelector{Selector: &penstockv1.TrackSelector_Participant{
			Participant: &penstockv1.ParticipantTrack{ParticipantId: participantID(0), Source: penstockv1.Source_SOURCE_CAMERA},
		}}})
	if err != nil {
		return 0, fmt.Errorf("stream: %w", err)
	}
	next := func() (*penstockv1.FrameInfo, error) {
		for {
			m, err := stream.Recv()
			if err != nil {
				return nil, fmt.Errorf("stream: %w", err)
			}
			if v := m.GetVideo(); v != nil {
				return v.GetInfo(), nil
			}
		}
	}
	first, err := next()
	for begin := time.Now(); err == nil && time.Since(begin) < knowing; {
		_, err = next()
	}
	if err != nil {
		return 0, err
	}
	if err := f.pods[0].cmd.Process.Kill(); err != nil {
		return 0, fmt.Errorf("kill the owner: %w", err)
	}
	killed := time.Now()
	for {
		info, err := next()
		if err != nil {
			return 0, err
		}
		if info.GetEpoch() > first.GetEpoch() {
			return time.Since(killed), nil
		}
	}
}
