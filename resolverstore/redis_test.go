package resolverstore

import "testing"

// newTestRedis starts a server for each store that a test asks for, so that nothing is shared.
func newTestRedis(t *testing.T, cfg Config) Store {
	t.Helper()
	return startRedis(t).open(cfg)
}

// TestRedis runs the suite that every store must pass.
func TestRedis(t *testing.T) { testStore(t, newTestRedis) }

// secondPod gives calls to another pod than the one that owns the sessions, but for those that only an owner makes.
type secondPod struct {
	*Redis
	owner *Redis
}
