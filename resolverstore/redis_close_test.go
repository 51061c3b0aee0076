package resolverstore

import "testing"

// TestP4_CloseDropsTheLease: a pod that owns nothing any more takes its lease back when it stops, so that nobody takes it for alive; one that owns a session leaves it, since what
// it owns may be taken over only when that has run out.
func TestP4_CloseDropsTheLease(t *testing.T) {
	server := startRedis(t)
	there := func(s *Redis) bool {
		c := server.admin()
		defer func() { _ = c.Close() }()
		n, err := c.Exists(t.Context(), leaseName(s.cfg.Owner)).Result()
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	for name, owns := range map[string]bool{"done": false, "owner": true} {
		s := server.open(unhurried())
		key := SessionKey{ID: name}
		if _, _, err := s.CreateSession(t.Context(), Session{Key: key, Fence: Fence{Owner: s.cfg.Owner, Epoch: 1}}); err != nil {
			t.Fatal(err)
		}
		if !owns {
			if err := s.EndSession(t.Context(), key, SessionDrained); err != nil {
				t.Fatal(err)
			}
		}
		if !there(s) {
			t.Fatalf("%s: no lease", name)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if there(s) != owns {
			t.Errorf("%s: the lease is there: %v", name, !owns)
		}
	}
}

// TestRecreatedSessionHasAHigherEpoch: an id that has ended is used again by a process whose clock is behind. Frames of the new session must not be taken for older ones.
func TestRecreatedSessionHasAHigherEpoch(t *testing.T) {
	memory := NewMemory(Config{})
	defer func() { _ = memory.Close() }()
	for name, store := range map[string]Store{"memory": memory, "redis": startRedis(t).open(unhurried())} {
		key := SessionKey{ID: "call"}
		for _, epoch := range [][2]uint64{{1_000, 1_000}, {10, 1_001}, {5_000, 5_000}} { // by the clock, and as it is
			rec, created, err := store.CreateSession(t.Context(), Session{Key: key, Fence: Fence{Owner: "me", Epoch: epoch[0]}})
			if err != nil || !created || rec.Fence != (Fence{Owner: "me", Epoch: epoch[1]}) {
				t.Errorf("%s: created with %+v, want epoch %d: %v", name, rec.Fence, epoch[1], err)
			}
			if err := store.EndOwned(t.Context(), key, rec.Fence, SessionDeleted); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
