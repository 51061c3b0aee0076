package resolverstore

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// watcher watches one session. It keeps no queue: it knows the revision that it told last, and derives the next change
// from the state.
type watcher struct {
	room *room
	done <-chan struct{} // closed when the store is
	free func()          // called once by Close

	mu     sync.Mutex // Next is one at a time
	told   uint64
	era    uint64
	opened bool // the first change was told

	closing sync.Once
	closed  chan struct{}
}

func newWatcher(r *room, after uint64, done <-chan struct{}, free func()) *watcher {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &watcher{room: r, done: done, free: free, told: after, era: r.era, closed: make(chan struct{})}
}

// Next implements Watcher.
func (w *watcher) Next(ctx context.Context) (Change, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		change, changed, err := w.look()
		if err != nil {
			return Change{}, err
		}
		if change != nil {
			return *change, nil
		}
		select {
		case <-ctx.Done():
			return Change{}, ctx.Err()
		case <-w.closed:
			return Change{}, ErrClosed
		case <-w.done:
			return Change{}, ErrClosed
		case <-changed:
		}
	}
}

// look returns the change since what was told last, or nil and a channel that is closed at the next one.
func (w *watcher) look() (*Change, <-chan struct{}, error) {
	select {
	case <-w.closed:
		return nil, nil, ErrClosed
	default:
	}
	r := w.room
	r.mu.Lock()
	defer r.mu.Unlock()
	change := r.call.since(w.told, w.opened)
	if w.era != r.era {
		w.era = r.era
		change = r.call.snapshotChange()
	}
	switch {
	case change != nil:
		w.told, w.opened = change.Revision, true
		return change, nil, nil
	case r.record.State == SessionEnded:
		return nil, nil, ErrSessionEnded
	case r.over != nil:
		return nil, nil, r.over
	}
	return nil, r.revised, nil
}

// Close implements Watcher. It wakes Next.
func (w *watcher) Close() {
	w.closing.Do(func() {
		close(w.closed)
		w.free()
	})
}

// since returns what changed after a revision, nil if nothing did. A revision that is 0, too old or of the future gives a
// snapshot, except that a watcher that has begun needs none while there is nothing.
func (c *call) since(revision uint64, begun bool) *Change {
	if revision == c.revision && (begun || revision != 0) {
		return nil
	}
	if !begun && revision == 0 || revision > c.revision || revision < c.floor {
		return c.snapshotChange()
	}
	change := &Change{Revision: c.revision}
	for _, t := range c.sortedTracks() {
		if t.shown.Revision > revision {
			change.Tracks = append(change.Tracks, t.shown.clone())
		}
	}
	c.removals.all(func(r removal) {
		if r.revision > revision {
			change.Removed = append(change.Removed, r.track.clone())
		}
	})
	slices.SortFunc(change.Removed, func(a, b Track) int { return cmp.Compare(a.ID, b.ID) })
	return change
}

func (c *call) snapshotChange() *Change {
	change := &Change{Revision: c.revision, Snapshot: true}
	for _, t := range c.sortedTracks() {
		change.Tracks = append(change.Tracks, t.shown.clone())
	}
	return change
}
