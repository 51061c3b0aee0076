package service

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
)

// session is an open session of this process: its peer connections, and the mirror that carries what they
// receive into the store.
type session struct {
	svc    *Service
	key    resolverstore.SessionKey
	fence  resolverstore.Fence
	source resolverstore.SourceKind
	rtc    *rtcpool.Session
	mirror *mirror       // from the peer connections into the store
	view   *view         // from the store to the streams
	held   *holders      // whose media are
	hub    *hub          // to and from signalling
	gone   chan struct{} // closed when the pool and the store know the end
	vacant chan struct{} // closed when it is forgotten, and its place free

	moved context.Context    // ends when another process has the session; what serves it here follows it there
	move  context.CancelFunc // ends moved

	unheard context.Context    // ends when the session has ended and the store, by which all others hear of it, was not told
	silence context.CancelFunc // ends unheard

	yield     func()     // gives its creator's share back
	consuming sync.Mutex // held while a consumer is attached

	serving sync.Mutex          // held while its ICE servers are replaced, or sealed anew
	servers []rtcpool.ICEServer // under serving
	keeping sync.Mutex          // held while the session is told whether signalling keeps it

	mu        sync.Mutex
	publisher string            // resource id of the WHIP publication, "" while there is none
	offer     [sha256.Size]byte // of that publication, as digestOf has it; zero after an ICE restart
	published uint64            // how many publications were tried
	settled   chan struct{}     // closed when it is known whether the last of them is one
	offered   bool              // an offer was forwarded by signalling
	feeds     feeds             // streams
}

// newSession returns a session that is not in the pool yet.
func newSession(svc *Service, rec resolverstore.Session) *session {
	v := &session{
		svc: svc, key: rec.Key, fence: rec.Fence, source: rec.Source,
		mirror: newMirror(rec.Grace, rec.Expires), hub: newHub(rec.Key.ID), gone: make(chan struct{}), vacant: make(chan struct{}), yield: func() {},
	}
	v.moved, v.move = context.WithCancel(context.Background())
	v.unheard, v.silence = context.WithCancel(context.Background())
	if rec.MinGeneration > 0 { // Its peer connections were elsewhere.
		v.hub.restart = &rtcpool.Restart{MinGeneration: rec.MinGeneration, Reason: restartReason}
		v.published = rec.MinGeneration - 1
	}
	v.view, v.held = newView(v.tracksChanged), newHolders(v.receives)
	return v
}

// tracksChanged takes what the store says of tracks.
func (v *session) tracksChanged(changed []resolverstore.Track, removed []string) {
	v.held.note(changed, time.Now())
	v.hub.tracksChanged(changed, removed)
}

// receives tells whether media are still received.
func (v *session) receives(media string) bool {
	_, ok := v.rtc.Media(media)
	return ok
}

// here returns a context that ends with another, or as soon as another process has the session: errMoved. The caller must call cancel.
func (v *session) here(ctx context.Context) (out context.Context, cancel func()) {
	out, end := context.WithCancelCause(ctx)
	stop := context.AfterFunc(v.moved, func() { end(errMoved) })
	return out, func() {
		stop()
		end(context.Canceled)
	}
}

// follow carries what the pool tells into the store, and what the store says to the streams, until the session has ended or another process has it.
func (v *session) follow() {
	defer close(v.gone)
	log := v.svc.cfg.Logger.With("session", logName(v.key))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var watching sync.WaitGroup
	watching.Go(func() { v.view.run(ctx, v.svc.cfg.Store, v.key, log) })
	watching.Go(func() { v.guard(ctx, log) })
	err := v.mirror.run(v.svc.cfg.Store, v.key, v.fence, log)
	if errors.Is(err, resolverstore.ErrFenced) {
		v.depose(resolverstore.Fence{}, log) // The store may have known before the guard did.
	} else {
		v.hub.sessionEnded(v.mirror.endReason())
		v.svc.meters.sessionEnded(v.mirror.endReason(), false)
	}
	if err != nil {
		cancel() // The store would never tell an end that it does not know, or that is not this one's.
	}
	<-v.rtc.Done()
	one := ending{v.fence, v.mirror.endReason()}
	if unheard(err) {
		v.svc.endings.add(v.key, one)
		v.silence()
	}
	v.svc.forget(v)
	if unheard(err) {
		v.svc.endLater(v.key, one, log)
	}
	defer time.AfterFunc(endTimeout, cancel).Stop() // It may be away.
	watching.Wait()
}

// end ends the session with a reason, and waits for its end as long as the pool lets it take. It is idempotent; the
// first reason counts.
func (v *session) end(ctx context.Context, reason resolverstore.SessionEndReason) {
	v.mirror.endWith(reason)
	v.rtc.Close()
	select {
	case <-v.rtc.Done():
	default:
		return // It hangs; its goroutines are waited for in Close.
	}
	select {
	case <-v.gone:
	case <-ctx.Done():
	}
}

// media returns the received media that a track of the store names.
func (v *session) media(t resolverstore.Track) (*media.Track, bool) {
	if t.Media == nil {
		return nil, false
	}
	m, ok := v.rtc.Media(t.Media.ID)
	return m.Track, ok && m.Track != nil
}

// negotiations returns links to the negotiations of a track's media.
func (v *session) negotiations(t resolverstore.Track) []trace.Link {
	if t.Media == nil {
		return nil
	}
	return v.rtc.Negotiations(t.Media.ID)
}

// negotiate applies an offer of signalling.
func (v *session) negotiate(ctx context.Context, o rtcpool.Offer) (rtcpool.Result, error) {
	if err := v.svc.limitMedia(o.SDP); err != nil {
		return rtcpool.Result{}, err
	}
	v.mu.Lock()
	if v.publisher != "" || v.source != resolverstore.SourceOffers {
		v.mu.Unlock()
		return rtcpool.Result{}, errNotOffers
	}
	v.offered = true
	o.Feeds = v.fed()
	v.mu.Unlock()
	r, err := v.rtc.Negotiate(ctx, o)
	if err == nil && r.Drop != nil && v.moved.Err() != nil { // It is not closed, but elsewhere.
		return rtcpool.Result{}, errMoved
	}
	if r.Answer != nil {
		v.answered(r.Answer)
	}
	return r, err
}

// limitMedia refuses an offer of too many media, before anything is made of it.
func (s *Service) limitMedia(sdp string) error {
	if most := s.cfg.Limits.Media; strings.Count(sdp, "\nm=") > most {
		return s.limits.refusals.refuse(limitMedia, most)
	}
	return nil
}

// answered notes that an offer was answered.
func (v *session) answered(a *rtcpool.Answer) {
	v.mirror.answered(a.Generation)
	v.hub.answered(a)
}

// setServers replaces the session's STUN and TURN servers, here and for whoever may have to take the session over.
func (v *session) setServers(ctx context.Context, servers []rtcpool.ICEServer) error {
	v.serving.Lock()
	defer v.serving.Unlock()
	if err := v.rtc.SetICEServers(ctx, servers); err != nil {
		return err
	}
	v.servers = servers
	return v.keepServers(ctx)
}

// keepServers seals the servers for whoever may have to take the session over. The caller holds serving.
func (v *session) keepServers(ctx context.Context) error {
	sealed, err := sealServers(v.svc.keys, v.key, v.servers)
	if err != nil {
		return err
	}
	_, err = v.svc.cfg.Store.UpdateSession(ctx, v.key, v.fence, resolverstore.SessionUpdate{Sealed: &sealed})
	switch {
	case errors.Is(err, resolverstore.ErrFenced):
		return errMoved
	case err != nil:
		return fmt.Errorf("keeping the ICE servers of session %q: %w", v.key.ID, err)
	}
	return nil
}
