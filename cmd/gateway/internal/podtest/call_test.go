package podtest

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// watermark is what is in every picture of carol's camera.
func camera() clips.Clip { return clips.CarolLayers()[0] }

// call is an SFU that publishes carol's camera and alice's microphone into a session, with a caller that does what the contract asks of
// callers: it keeps Signal open, opens it again when it is lost, and starts again when it is told to.
type call struct {
	c         *cluster
	id        string
	sfu       *sfutest.SFU
	signaller *sfutest.StreamSignaller
	tracks    []*sfutest.Track
	heard     chan *penstockv1.SignalResponse
	cancel    context.CancelFunc
	caring    sync.WaitGroup

	mu       sync.Mutex
	offers   []string                     // all that the SFU made
	told     []*penstockv1.SignalResponse // all that the gateway said by itself
	restarts int                          // that were carried out
	over     bool                         // the session has ended
}

// call publishes into a session that exists, and keeps it going till the end of the test.
func (c *cluster) call(at clients, id string) *call {
	c.t.Helper()
	k := &call{c: c, id: id, heard: make(chan *penstockv1.SignalResponse, 1024)}
	k.signaller = &sfutest.StreamSignaller{Client: at.sessions, SessionID: id, Hear: func(m *penstockv1.SignalResponse) {
		k.heard <- m
	}}
	var err error
	k.sfu, err = sfutest.New(sfutest.Config{Signaller: k.signaller, FewCodecs: true, Mangle: func(offer string) string {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.offers = append(k.offers, offer)
		return offer
	}})
	must(c.t, err)
	ctx, cancel := context.WithCancel(c.ctx)
	k.cancel = cancel
	_, err = k.signaller.Open(ctx, 0)
	must(c.t, err)
	carol := sfutest.Participant{ParticipantID: "carol-1", UserID: "carol"}
	for _, m := range []struct {
		source penstockv1.Source
		clip   clips.Clip
	}{{penstockv1.Source_SOURCE_CAMERA, camera()}, {penstockv1.Source_SOURCE_MICROPHONE, clips.AliceMicrophone()}} {
		track, err := k.sfu.NewTrack(carol, m.source, m.clip)
		must(c.t, err)
		k.tracks = append(k.tracks, track)
	}
	must(c.t, k.sfu.Publish(ctx, k.tracks...))
	k.caring.Go(func() { k.care(ctx) })
	c.t.Cleanup(func() {
		k.stop()
		must(c.t, k.sfu.Close())
	})
	return k
}

// stop ends the caller. The session is left alone.
func (k *call) stop() {
	k.cancel()
	k.signaller.Lose()
	k.caring.Wait()
}

// care does what callers do, until ctx ends or the session does.
func (k *call) care(ctx context.Context) {
	for ctx.Err() == nil && !k.isOver() {
		lost := make(chan struct{})
		var waiting sync.WaitGroup
		waiting.Go(func() { _ = k.signaller.Wait(); close(lost) }) // why does not matter
		k.listen(ctx, lost)
		if ctx.Err() == nil && !k.isOver() {
			k.reopen(ctx)
		} else {
			k.signaller.Lose()
		}
		waiting.Wait()
	}
}

// listen heeds what is told until the conversation is lost.
func (k *call) listen(ctx context.Context, lost <-chan struct{}) {
	for {
		select {
		case m := <-k.heard:
			k.heed(ctx, m)
		case <-lost:
			for {
				select {
				case m := <-k.heard:
					k.heed(ctx, m)
				default:
					return
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

func (k *call) heed(ctx context.Context, m *penstockv1.SignalResponse) {
	k.mu.Lock()
	k.told = append(k.told, m)
	if m.GetEnded() != nil {
		k.over = true
	}
	k.mu.Unlock()
	r := m.GetRestart()
	if r == nil || !r.GetIceRestart() && r.GetMinGeneration() <= k.sfu.Generation() && r.GetMinGeneration() > 0 {
		return
	}
	if k.restart(ctx, r) == nil {
		k.mu.Lock()
		k.restarts++
		k.mu.Unlock()
	}
}

// restart starts again. What fails is tried again when the gateway says so again: on the next open, for one.
func (k *call) restart(ctx context.Context, r *penstockv1.SignalRestart) error {
	if r.GetIceRestart() {
		return k.sfu.Renegotiate(ctx, true)
	}
	if err := k.sfu.Reconnect(ctx); err != nil {
		return err
	}
	return k.sfu.CloseOlder()
}

// reopen opens the conversation again, as often as it takes.
func (k *call) reopen(ctx context.Context) {
	pause := newPause()
	defer pause.Stop()
	for {
		_, err := k.signaller.Open(ctx, k.sfu.Generation())
		if err == nil || ctx.Err() != nil {
			return
		}
		if code := status.Code(err); code == codes.NotFound || code == codes.FailedPrecondition || strings.Contains(err.Error(), "SESSION_ENDED") {
			k.mu.Lock()
			k.over = true
			k.mu.Unlock()
			return
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return
		}
	}
}

// firstOffer is what the SFU offered first.
func (k *call) firstOffer() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.offers[0]
}

func (k *call) isOver() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.over
}

// awaitTold waits until the gateway has said something by itself, and returns it.
func (k *call) awaitTold(what string, is func(*penstockv1.SignalResponse) bool) (found *penstockv1.SignalResponse) {
	k.c.t.Helper()
	awaitSo(k.c.ctx, k.c.t, what+" is told to the caller of "+k.id, func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, m := range k.told {
			if is(m) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// publishWHIP publishes carol's camera by way of a pod. The caller closes it.
func (c *cluster) publishWHIP(at *pod, id string) *sfutest.WHIPPublisher {
	c.t.Helper()
	p, err := sfutest.PublishWHIP(c.ctx, sfutest.WHIPConfig{
		URL: "http://" + at.http + "/whip/" + id, Clips: []clips.Clip{camera()},
		Client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	})
	must(c.t, err)
	return p
}

// patch sends an SDP fragment (RFC 9725 section 4.3) and returns status, ETag and body.
func patch(ctx context.Context, t *testing.T, url, etag, fragment string) (code int, newTag, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPatch, url, strings.NewReader(fragment))
	must(t, err)
	r.Header.Set("Content-Type", "application/trickle-ice-sdpfrag")
	r.Header.Set("If-Match", etag)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	must(t, err)
	return response.StatusCode, response.Header.Get("ETag"), string(b)
}
