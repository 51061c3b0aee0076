package resolverstore

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// memoryWatcher watches one session. It keeps no queue: it knows the revision that it told last, and derives the next change
// from the state.
type memoryWatcher struct {
	session *memorySession
	store   *Memory

	mu     sync.Mutex // Next is one at a time
	told   uint64
	opened bool // the first change was told

	closing sync.Once
	closed  chan struct{}
}

// Next implements Watcher.
func (w *memoryWatcher) Next(ctx context.Context) (Change, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		change, changed, err := w.look()
		if err != nil || changed != nil && change != nil {
			return deref(change), err
		}
		select {
		case <-ctx.Done():
			return Change{}, ctx.Err()
		case <-w.closed:
			return Change{}, ErrClosed
		case <-w.store.done:
			return Change{}, ErrClosed
		case <-changed:
		}
	}
}

func deref(c *Change) Change {
	if c == nil {
		return Change{}
	}
	return *c
}

// look returns the change since what was told last, or nil and a channel that is closed at the next one.
func (w *memoryWatcher) look() (*Change, <-chan struct{}, error) {
	select {
	case <-w.closed:
		return nil, nil, ErrClosed
	default:
	}
	s := w.session
	s.mu.Lock()
	defer s.mu.Unlock()
	change := s.call.since(w.told, w.opened)
	if change != nil {
		w.told, w.opened = change.Revision, true
		return change, s.revised, nil
	}
	if s.record.State == SessionEnded {
		return nil, nil, ErrSessionEnded
	}
	return nil, s.revised, nil
}

// Close implements Watcher. It wakes Next.
func (w *memoryWatcher) Close() { w.closing.Do(func() { close(w.closed) }) }

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
