package service

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/penstock-media/penstock/resolverstore"
)

// maxRemembered bounds the ends of tracks that a view remembers for streams that come late to ask.
const maxRemembered = 1024

// view is what the store says of one session's tracks, kept by one watcher for all streams of the session.
type view struct {
	mu        sync.Mutex
	tracks    map[string]resolverstore.Track
	ended     map[string]resolverstore.TrackEndReason
	order     []string // of ended, oldest first
	followers map[string]map[*following]struct{}
	over      bool // nothing more will be told
	changed   func(changed []resolverstore.Track, removed []string)
}

// following is a stream that follows one track.
type following struct {
	view  *view
	id    string
	wake  func() // called without locks that it could need; must not block
	track resolverstore.Track
	done  bool
	end   resolverstore.TrackEndReason
}

// newView returns an empty view. changed is called at each change, in order, without locks; it must not block.
func newView(changed func(changed []resolverstore.Track, removed []string)) *view {
	return &view{
		changed:   changed,
		tracks:    make(map[string]resolverstore.Track),
		ended:     make(map[string]resolverstore.TrackEndReason),
		followers: make(map[string]map[*following]struct{}),
	}
}

// run watches until the session has ended or ctx ends. A store that is away ends no stream: it is asked again.
func (v *view) run(ctx context.Context, store resolverstore.Store, key resolverstore.SessionKey, log *slog.Logger) {
	defer v.finish()
	wait := firstRetry
	for revision := uint64(0); ; {
		before := revision
		err := v.watch(ctx, store, key, &revision)
		switch {
		case ctx.Err() != nil, errors.Is(err, resolverstore.ErrSessionEnded), errors.Is(err, resolverstore.ErrClosed):
			return
		case final(err):
			log.Error("session's tracks can no longer be watched", "error", err)
			return
		case revision != before:
			wait = firstRetry
		}
		log.Warn("session's tracks cannot be watched; trying again", "error", err, "after", wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		wait = min(2*wait, lastRetry)
	}
}

// watch applies what is told after a revision, which it carries forward, until that fails.
func (v *view) watch(ctx context.Context, store resolverstore.Store, key resolverstore.SessionKey, revision *uint64) error {
	w, err := store.Watch(ctx, key, *revision)
	if err != nil {
		return err
	}
	defer w.Close()
	for {
		c, err := w.Next(ctx)
		if err != nil {
			return err
		}
		*revision = c.Revision
		v.apply(c)
	}
}

// apply takes a change and wakes those whom it concerns.
func (v *view) apply(c resolverstore.Change) {
	v.mu.Lock()
	var wake []func()
	named := make(map[string]bool, len(c.Tracks))
	for _, t := range c.Tracks {
		named[t.ID] = true
		v.tracks[t.ID] = t
		for f := range v.followers[t.ID] {
			f.track = t
			wake = append(wake, f.wake)
		}
	}
	var gone []string
	for _, t := range c.Removed {
		gone = append(gone, t.ID)
		wake = append(wake, v.removeLocked(t.ID, t.EndReason)...)
	}
	if c.Snapshot {
		for id := range v.tracks {
			if !named[id] {
				gone = append(gone, id)
				wake = append(wake, v.removeLocked(id, resolverstore.TrackMediaEnded)...)
			}
		}
	}
	v.mu.Unlock()
	v.changed(c.Tracks, gone)
	for _, f := range wake {
		f()
	}
}

// removeLocked notes that a track ended, and returns whom to wake.
func (v *view) removeLocked(id string, reason resolverstore.TrackEndReason) (wake []func()) {
	delete(v.tracks, id)
	if _, known := v.ended[id]; !known {
		v.order = append(v.order, id)
	}
	v.ended[id] = reason
	if len(v.order) > maxRemembered {
		delete(v.ended, v.order[0])
		v.order = v.order[1:]
	}
	for f := range v.followers[id] {
		f.done, f.end = true, reason
		wake = append(wake, f.wake)
	}
	return wake
}

// finish ends what is still followed: the session is over.
func (v *view) finish() {
	v.mu.Lock()
	v.over = true
	var wake []func()
	for _, all := range v.followers {
		for f := range all {
			if !f.done {
				f.done, f.end = true, resolverstore.TrackSessionExpired
			}
			wake = append(wake, f.wake)
		}
	}
	v.mu.Unlock()
	for _, f := range wake {
		f()
	}
}

// finished tells whether nothing more will be told.
func (v *view) finished() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.over
}

// follow follows a track that was resolved just now, from what is newer: the resolved state or the view's. The caller must
// call close.
func (v *view) follow(t resolverstore.Track, wake func()) *following {
	v.mu.Lock()
	defer v.mu.Unlock()
	f := &following{view: v, id: t.ID, wake: wake, track: t}
	if known, ok := v.tracks[t.ID]; ok && known.Revision > t.Revision {
		f.track = known
	}
	if reason, ok := v.ended[t.ID]; ok {
		f.done, f.end = true, reason
	} else if v.over {
		f.done, f.end = true, resolverstore.TrackSessionExpired
	}
	if v.followers[t.ID] == nil {
		v.followers[t.ID] = make(map[*following]struct{})
	}
	v.followers[t.ID][f] = struct{}{}
	return f
}

// state returns the track as it is now, and whether and why it ended.
func (f *following) state() (t resolverstore.Track, ended bool, reason resolverstore.TrackEndReason) {
	f.view.mu.Lock()
	defer f.view.mu.Unlock()
	return f.track, f.done, f.end
}

// carries tells whether the track still is joined to a media.
func (f *following) carries(media string) bool {
	t, ended, _ := f.state()
	flowing := t.State == resolverstore.TrackLive || t.State == resolverstore.TrackPaused
	return !ended && flowing && t.Media != nil && t.Media.ID == media
}

// close stops to follow. It is idempotent.
func (f *following) close() {
	f.view.mu.Lock()
	defer f.view.mu.Unlock()
	delete(f.view.followers[f.id], f)
	if len(f.view.followers[f.id]) == 0 {
		delete(f.view.followers, f.id)
	}
}
