package rtcpool

import (
	"context"
	"testing"
	"time"
)

// A session that was not offered anything lives for as long as it is held, and then for its grace.
func TestHeldGrace(t *testing.T) {
	t.Parallel()
	const grace = time.Second // The first call must come within it.
	p := newTestPool(t, nil)
	held, heldRecorder := openWith(t, p, SessionConfig{ID: "held", Grace: grace})
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	if !held.HoldGrace(ctx, true) {
		t.Fatal("a session that waits for its first offer is not held")
	}
	_, other := openWith(t, p, SessionConfig{ID: "other", Grace: 2 * grace}) // Its end tells that the held one's would have come.
	other.until(t, "the end of the other", func() bool { return len(other.ended) > 0 })
	if ended := heldRecorder.told().ended; len(ended) != 0 {
		t.Fatalf("ended %v while it was held", ended)
	}
	if !held.HoldGrace(ctx, false) {
		t.Fatal("it is not let go")
	}
	heldRecorder.until(t, "the end", func() bool { return len(heldRecorder.ended) > 0 })
	if got := heldRecorder.told().ended[0]; got != EndSignallingLost {
		t.Errorf("ended with %v", got)
	}
	if held.HoldGrace(ctx, true) {
		t.Error("a session that has ended is held")
	}
}
