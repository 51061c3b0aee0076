package whip

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// Restarts of one resource are done one at a time, those of others go on, and whoever gives up waits no longer.
func TestC1_RestartsTakeTurns(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	var s iceSessions
	inside := 0 // guarded by the turn alone: the race detector sees two at once
	var working sync.WaitGroup
	for range 50 {
		working.Go(func() {
			leave, err := s.enter(ctx, "one")
			if err != nil {
				t.Error(err)
				return
			}
			defer leave()
			inside++
			s.set("one", entityTag("one", "ufrag"))
		})
	}
	working.Wait()
	if inside != 50 || len(s.restarting) != 0 {
		t.Errorf("%d had their turn, %d have it still", inside, len(s.restarting))
	}
	leave, err := s.enter(ctx, "one")
	if err != nil {
		t.Fatal(err)
	}
	gone, giveUp := context.WithCancel(ctx)
	giveUp()
	if _, err := s.enter(gone, "one"); !errors.Is(err, context.Canceled) {
		t.Errorf("a restart that was given up: %v", err)
	}
	other, err := s.enter(gone, "two")
	if err != nil {
		t.Errorf("a restart of another resource: %v", err)
	} else {
		other()
	}
	leave()
}
