package service

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
)

// mirror carries what one session's peer connections tell into the store, in order and without ever blocking them.
// It is level-triggered: what was told and not yet written is merged, so that it holds no more than the session's
// media, however slow the store is.
type mirror struct {
	grace time.Duration
	wake  chan struct{} // holds one token while there is something to write
	over  chan struct{} // closed by SessionEnded

	mu         sync.Mutex
	put        map[string]resolverstore.Media // to be written, by id
	order      []string                       // ids of put in the order in which they were told
	removed    []string
	stored     map[string]bool // ids that the store knows
	generation uint64
	state      resolverstore.SessionState
	expires    time.Time
	changed    bool // generation, state or expires
	ended      bool
	left       bool // another process has the session: nothing more is written
	reason     resolverstore.SessionEndReason
}

// newMirror returns a mirror that has been told nothing.
func newMirror(grace time.Duration, expires time.Time) *mirror {
	return &mirror{
		grace: grace, expires: expires, wake: make(chan struct{}, 1), over: make(chan struct{}),
		put: make(map[string]resolverstore.Media), stored: make(map[string]bool),
	}
}

// MediaChanged implements rtcpool.Observer.
func (m *mirror) MediaChanged(d rtcpool.MediaDiff) {
	m.mu.Lock()
	for _, v := range d.Added {
		m.putLocked(v)
	}
	for _, v := range d.Updated {
		m.putLocked(v)
	}
	for _, v := range d.Removed {
		m.removeLocked(v.ID)
	}
	m.mu.Unlock()
	m.signal()
}

// putLocked notes a media that is new or changed.
func (m *mirror) putLocked(v rtcpool.Media) {
	if _, waiting := m.put[v.ID]; !waiting {
		m.order = append(m.order, v.ID)
	}
	m.put[v.ID] = storeMedia(v)
}

// removeLocked notes a media that is gone. One that was never written needs no removal.
func (m *mirror) removeLocked(id string) {
	if _, waiting := m.put[id]; waiting {
		delete(m.put, id)
		for i, v := range m.order {
			if v == id {
				m.order = append(m.order[:i], m.order[i+1:]...)
				break
			}
		}
	}
	if m.stored[id] {
		delete(m.stored, id)
		m.removed = append(m.removed, id)
	}
}

// answered notes that an offer of a generation was answered.
func (m *mirror) answered(generation uint64) {
	m.mu.Lock()
	if generation > m.generation {
		m.generation = generation
		m.state = resolverstore.SessionConnecting
	}
	if generation == m.generation && m.state != resolverstore.SessionConnected {
		m.expires, m.changed = time.Now().Add(m.grace), true // An offer begins the grace anew.
	}
	m.mu.Unlock()
	m.signal()
}

// awaiting notes whether signalling keeps a session that waits for its first offer, so that it does not expire.
func (m *mirror) awaiting(kept bool) {
	m.mu.Lock()
	defer m.signal()
	defer m.mu.Unlock()
	if m.generation > 0 {
		return
	}
	m.expires, m.changed = time.Time{}, true
	if !kept {
		m.expires = time.Now().Add(m.grace)
	}
}

// overlay brings a record up to what was told.
func (m *mirror) overlay(rec *resolverstore.Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state != 0 {
		rec.State = m.state
	}
	rec.Generation, rec.Expires = max(rec.Generation, m.generation), m.expires
}

// StateChanged takes the state of a generation's peer connection. States of older generations are not the session's.
func (m *mirror) StateChanged(generation uint64, state rtcpool.State) {
	m.mu.Lock()
	defer m.signal()
	defer m.mu.Unlock()
	if generation < m.generation {
		return
	}
	m.generation = generation
	switch state {
	case rtcpool.StateNew, rtcpool.StateConnecting:
		m.state = resolverstore.SessionConnecting
		m.graceLocked()
	case rtcpool.StateConnected:
		m.state, m.expires = resolverstore.SessionConnected, time.Time{}
	default: // Closed too: SessionEnded follows, or an offer within the grace.
		m.state = resolverstore.SessionDisconnected
		m.graceLocked()
	}
	m.changed = true
}

// graceLocked notes that the grace runs, if it does not yet.
func (m *mirror) graceLocked() {
	if m.expires.IsZero() {
		m.expires = time.Now().Add(m.grace)
	}
}

// SessionEnded ends the mirror. A reason that was given before counts.
func (m *mirror) SessionEnded(reason rtcpool.EndReason) {
	switch reason {
	case rtcpool.EndMediaLost:
		m.endWith(resolverstore.SessionMediaLost)
	case rtcpool.EndSignallingLost:
		m.endWith(resolverstore.SessionSignallingLost)
	case rtcpool.EndRemoteClosed:
		m.endWith(resolverstore.SessionRemoteClosed)
	default:
		m.endWith(resolverstore.SessionDrained)
	}
	m.mu.Lock()
	m.ended = true
	m.mu.Unlock()
	close(m.over)
	m.signal()
}

// leave takes note that another process has the session, so that nothing more is written. It reports whether that is news.
func (m *mirror) leave() (news bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	news = !m.left
	m.left = true
	return news
}

// endReason returns why the session has ended, or is about to.
func (m *mirror) endReason() resolverstore.SessionEndReason {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reason
}

// hasEnded tells whether the session has ended while this process owned it, and why.
func (m *mirror) hasEnded() (reason resolverstore.SessionEndReason, ended bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reason, m.ended && !m.left
}

// endWith notes why the session is about to end.
func (m *mirror) endWith(reason resolverstore.SessionEndReason) {
	m.mu.Lock()
	if m.reason == 0 {
		m.reason = reason
	}
	m.mu.Unlock()
}

// signal wakes run.
func (m *mirror) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// batch is what is to be written at one time.
type batch struct {
	diff   resolverstore.MediaDiff
	update resolverstore.SessionUpdate
	dirty  bool // update says something
	ended  bool
	left   bool // nothing is to be written
	reason resolverstore.SessionEndReason
}

// take returns what there is to write, and notes it as written.
func (m *mirror) take() batch {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := batch{ended: m.ended, left: m.left, reason: m.reason, dirty: m.changed}
	for _, id := range m.order {
		b.diff.Put = append(b.diff.Put, m.put[id])
		m.stored[id] = true
	}
	b.diff.Removed = m.removed
	clear(m.put)
	m.order, m.removed = nil, nil
	if m.changed {
		state, generation, expires := m.state, m.generation, m.expires
		b.update = resolverstore.SessionUpdate{Generation: &generation, Expires: &expires}
		if state != 0 {
			b.update.State = &state
		}
		m.changed = false
	}
	return b
}

// Waits between attempts to reach the store.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 2 * time.Second
	endTimeout = 5 * time.Second // for the last write of a session
)

// run writes until the session has ended. It returns nil when the store knows the end, ErrFenced when another process has the session, and another error
// when the store could not be told.
func (m *mirror) run(store resolverstore.Store, key resolverstore.SessionKey, fence resolverstore.Fence, log *slog.Logger) error {
	for range m.wake {
		b := m.take()
		switch {
		case b.ended && b.left:
			return resolverstore.ErrFenced
		case b.ended:
			return m.tellEnd(store, key, fence, b.reason, log)
		case !b.left:
			m.write(store, key, fence, b, log)
		}
	}
	return nil
}

// tellEnd writes the end, as the owner.
func (m *mirror) tellEnd(store resolverstore.Store, key resolverstore.SessionKey, fence resolverstore.Fence, reason resolverstore.SessionEndReason,
	log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	err := store.EndOwned(ctx, key, fence, reason)
	switch {
	case errors.Is(err, resolverstore.ErrSessionEnded):
		return nil
	case err != nil && !final(err):
		log.Error("session not ended in the store", "error", err)
	}
	return err
}

// write writes a batch and does not give up while that can help and the session has not ended.
func (m *mirror) write(store resolverstore.Store, key resolverstore.SessionKey, fence resolverstore.Fence, b batch, log *slog.Logger) {
	ctx := context.Background()
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := b.apply(ctx, store, key, fence)
		if err == nil {
			return
		}
		if final(err) {
			level := slog.LevelWarn
			if errors.Is(err, resolverstore.ErrSessionEnded) { // It is about to end here too.
				level = slog.LevelDebug
			}
			log.Log(ctx, level, "store refuses what the session received", "error", err)
			return
		}
		log.Warn("store cannot be written; trying again", "error", err, "after", wait)
		if m.pause(wait) {
			return
		}
	}
}

// apply writes what is left of a batch.
func (b *batch) apply(ctx context.Context, store resolverstore.Store, key resolverstore.SessionKey, fence resolverstore.Fence) error {
	var refused error
	if len(b.diff.Put)+len(b.diff.Removed) > 0 {
		err := store.ApplyMedia(ctx, key, fence, b.diff)
		if err != nil && !errors.Is(err, resolverstore.ErrLimitReached) {
			return err
		}
		refused = err // Too many media say nothing against the state.
		b.diff = resolverstore.MediaDiff{}
	}
	if b.dirty {
		if _, err := store.UpdateSession(ctx, key, fence, b.update); err != nil {
			return err
		}
	}
	return refused
}

// pause waits, and tells whether the session ended meanwhile.
func (m *mirror) pause(d time.Duration) (ended bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false
	case <-m.over:
		return true
	}
}

// final tells errors that trying again does not change.
func final(err error) bool {
	for _, e := range []error{
		resolverstore.ErrSessionNotFound, resolverstore.ErrSessionEnded, resolverstore.ErrFenced,
		resolverstore.ErrClosed, resolverstore.ErrLimitReached,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// storeMedia returns a received media as the store keeps it.
func storeMedia(v rtcpool.Media) resolverstore.Media {
	out := resolverstore.Media{
		ID: v.ID, MID: v.MID, StreamID: v.StreamID, TrackID: v.TrackID, Codec: uint8(protoCodec(v.Codec)),
		SSRC: v.SSRC, Generation: v.Generation, Active: v.Active,
	}
	switch v.Kind {
	case media.KindAudio:
		out.Kind = resolverstore.KindAudio
	case media.KindVideo:
		out.Kind = resolverstore.KindVideo
	}
	return out
}
