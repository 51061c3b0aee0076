package service

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-media/penstock/resolverstore"
)

// TestP3_LegsRestUntilTheSessionMoves pauses between two owners: the pause ends when the session is no longer that of the owner of before, and is had in full where
// it is, or nobody knows whose it was.
func TestP3_LegsRestUntilTheSessionMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const after = 100 * time.Millisecond // less than the least pause below
		store := resolverstore.NewMemory(resolverstore.Config{})
		defer store.Close()
		rec, _, err := store.CreateSession(t.Context(), resolverstore.Session{Key: key("call"), Fence: resolverstore.Fence{Owner: "a", Epoch: 1}})
		must(t, err)
		rests := func(owner resolverstore.Fence) time.Duration {
			l := legs{owner: owner, pause: backoff{pause: lastPause}}
			begin := time.Now()
			must(t, l.rest(t.Context(), store, rec.Key))
			return time.Since(begin)
		}
		for _, owner := range []resolverstore.Fence{rec.Fence, {}} {
			if d := rests(owner); d < lastPause/2 {
				t.Errorf("rested for %v after %v", d, owner)
			}
		}
		time.AfterFunc(after, func() { _ = store.EndSession(t.Context(), rec.Key, resolverstore.SessionDeleted) })
		if d := rests(rec.Fence); d != after {
			t.Errorf("rested for %v, and the owner changed after %v", d, after)
		}
		if d := rests(resolverstore.Fence{Owner: "before", Epoch: 1}); d != firstPause {
			t.Errorf("rested for %v after an owner that it was before", d)
		}
	})
}
