package podtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// retryDelays are short, since what was away is soon back.
var retryDelays = backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: 500 * time.Millisecond}

// worker reads one stream to its end, and keeps what is to be judged.
type worker struct {
	c    *cluster
	name string

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every message
	seen    []seen
	headers []*penstockv1.StreamHeader
	ended   bool
	err     error // the status; nil is OK
}

// seen is what a worker was sent: a frame or an event.
type seen struct {
	info      *penstockv1.FrameInfo
	event     *penstockv1.StreamEvent
	watermark int // of a picture; 0 is none that can be read
	key       bool
}

// work opens a stream of a participant's camera or microphone at a pod. It ends with the test.
func (c *cluster) work(name string, at clients, session, participant string, source penstockv1.Source, change ...func(*penstockv1.StreamTrackRequest)) *worker {
	c.t.Helper()
	request := &penstockv1.StreamTrackRequest{
		SessionId: session,
		Selector: &penstockv1.TrackSelector{Selector: &penstockv1.TrackSelector_Participant{
			Participant: &penstockv1.ParticipantTrack{ParticipantId: participant, Source: source},
		}},
		Policy: &penstockv1.StreamPolicy{MaxQueueMs: 10_000}, // nothing is dropped, however busy the machine
	}
	for _, f := range change {
		f(request)
	}
	ctx, cancel := context.WithCancel(c.ctx)
	stream, err := at.tracks.StreamTrack(ctx, request)
	must(c.t, err)
	w := &worker{c: c, name: name, changed: make(chan struct{})}
	var reading sync.WaitGroup
	reading.Go(func() { w.read(stream) })
	c.t.Cleanup(func() {
		cancel()
		reading.Wait()
		if c.t.Failed() {
			c.t.Logf("worker %s: %s", name, w)
		}
	})
	return w
}

func (w *worker) read(stream penstockv1.TrackService_StreamTrackClient) {
	for {
		m, err := stream.Recv()
		w.mu.Lock()
		switch {
		case err != nil:
			w.ended = true
			if !errors.Is(err, io.EOF) {
				w.err = err
			}
		case m.GetHeader() != nil:
			w.headers = append(w.headers, m.GetHeader())
		case m.GetVideo() != nil:
			v := m.GetVideo()
			s := seen{info: v.GetInfo(), key: v.GetKeyFrame()}
			if p := v.GetPlanes(); len(p) > 0 {
				s.watermark, _ = clips.ReadWatermark(v.GetPayload()[p[0].GetOffset():], int(v.GetWidth()), int(v.GetHeight()), int(p[0].GetStride()))
			}
			w.seen = append(w.seen, s)
		case m.GetAudio() != nil:
			w.seen = append(w.seen, seen{info: m.GetAudio().GetInfo()})
		case m.GetEvent() != nil:
			w.seen = append(w.seen, seen{event: m.GetEvent()})
		}
		close(w.changed)
		w.changed = make(chan struct{})
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// all returns what was sent so far.
func (w *worker) all() []seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]seen(nil), w.seen...)
}

// token is the resume token of the last header.
func (w *worker) token() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.headers) == 0 {
		return ""
	}
	return w.headers[len(w.headers)-1].GetResumeToken()
}

// await waits until what was sent is so.
func (w *worker) await(what string, is func([]seen) bool) {
	w.c.t.Helper()
	for {
		w.mu.Lock()
		changed, ok, ended, err := w.changed, is(w.seen), w.ended, w.err
		w.mu.Unlock()
		switch {
		case ok:
			return
		case ended:
			w.c.t.Fatalf("worker %s: the stream ended (%v) before %s", w.name, err, what)
		}
		select {
		case <-changed:
		case <-w.c.ctx.Done():
			w.c.t.Fatalf("worker %s never: %s", w.name, what)
		}
	}
}

// awaitFrames waits for so many frames more.
func (w *worker) awaitFrames(n int) {
	w.c.t.Helper()
	want := frames(w.all()) + n
	w.await(fmt.Sprint(n, " more frames"), func(s []seen) bool { return frames(s) >= want })
}

// awaitEpoch waits for frames of an epoch above another.
func (w *worker) awaitEpoch(above uint64, n int) {
	w.c.t.Helper()
	w.await(fmt.Sprint(n, " frames of an epoch above ", above), func(s []seen) bool {
		got := 0
		for _, f := range s {
			if f.info.GetEpoch() > above {
				got++
			}
		}
		return got >= n
	})
}

// awaitEvent waits for an event.
func (w *worker) awaitEvent(what string, is func(*penstockv1.StreamEvent) bool) {
	w.c.t.Helper()
	w.await(what, func(all []seen) bool {
		for _, s := range all {
			if s.event != nil && is(s.event) {
				return true
			}
		}
		return false
	})
}

// end waits for the end of the stream, and returns its status.
func (w *worker) end() error {
	w.c.t.Helper()
	for {
		w.mu.Lock()
		changed, ended, err := w.changed, w.ended, w.err
		w.mu.Unlock()
		if ended {
			return err
		}
		select {
		case <-changed:
		case <-w.c.ctx.Done():
			w.c.t.Fatalf("worker %s: the stream does not end", w.name)
		}
	}
}

// open tells whether the stream has not ended.
func (w *worker) open() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.ended
}

// frames counts the frames.
func frames(all []seen) int {
	n := 0
	for _, s := range all {
		if s.info != nil {
			n++
		}
	}
	return n
}

// judge checks all that a worker was sent: epochs never fall, within one each sequence number is the one before plus one, the first of a
// later epoch is 1 and comes after a gap that tells of the owner, times never go back, and every picture is the one that is expected.
func (w *worker) judge(watermark int) {
	w.c.t.Helper()
	var last *penstockv1.FrameInfo
	told := false
	for i, s := range w.all() {
		if s.event != nil {
			told = told || s.event.GetGap().GetCause() == penstockv1.GapCause_GAP_CAUSE_OWNER_CHANGED
			continue
		}
		f := s.info
		switch {
		case last == nil && f.GetSequence() != 1:
			w.c.t.Errorf("worker %s: the first frame is number %d", w.name, f.GetSequence())
		case last == nil:
		case f.GetEpoch() < last.GetEpoch():
			w.c.t.Errorf("worker %s: message %d is of epoch %d after %d", w.name, i, f.GetEpoch(), last.GetEpoch())
		case f.GetEpoch() == last.GetEpoch() && f.GetSequence() != last.GetSequence()+1:
			w.c.t.Errorf("worker %s: message %d is number %d after %d (%d dropped)", w.name, i, f.GetSequence(), last.GetSequence(), f.GetDroppedFrames())
		case f.GetEpoch() > last.GetEpoch() && (f.GetSequence() != 1 || !told):
			w.c.t.Errorf("worker %s: message %d is number %d of a new epoch; a gap was told: %v", w.name, i, f.GetSequence(), told)
		case f.GetPresentationTimeNs() < last.GetPresentationTimeNs():
			w.c.t.Errorf("worker %s: message %d is at %d after %d", w.name, i, f.GetPresentationTimeNs(), last.GetPresentationTimeNs())
		}
		if last == nil || f.GetEpoch() > last.GetEpoch() {
			told = false
		}
		if s.watermark != watermark {
			w.c.t.Errorf("worker %s: message %d has the watermark %d, not %d", w.name, i, s.watermark, watermark)
		}
		last = f
	}
	if last == nil {
		w.c.t.Errorf("worker %s was sent no frame", w.name)
	}
}

// String tells what was sent, in short.
func (w *worker) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d headers;", len(w.headers))
	var first, last *penstockv1.FrameInfo
	flush := func() {
		if first != nil {
			fmt.Fprintf(&b, " epoch %d: %d to %d;", first.GetEpoch(), first.GetSequence(), last.GetSequence())
		}
		first = nil
	}
	for _, s := range w.seen {
		switch {
		case s.event != nil:
			flush()
			fmt.Fprintf(&b, " %T %v;", s.event.GetEvent(), s.event)
		case first == nil || first.GetEpoch() != s.info.GetEpoch():
			flush()
			first, last = s.info, s.info
		default:
			last = s.info
		}
	}
	flush()
	if w.ended {
		fmt.Fprintf(&b, " ended: %v %v", status.Convert(w.err).Code(), w.err)
	}
	return b.String()
}
