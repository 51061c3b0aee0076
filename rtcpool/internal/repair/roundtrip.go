package repair

import (
	"sync"
	"time"
)

// Bounds of the time after which a retransmission that has not come is asked for again.
const (
	minRepairTimeout = 20 * time.Millisecond
	maxRepairTimeout = 400 * time.Millisecond
)

// RoundTrip estimates the way to the sender and back as RFC 6298 section 2 does: from the time between a NACK and its
// retransmission, and from ICE's connectivity checks. A pure receiver has no receiver reports of its own to learn it from.
type RoundTrip struct {
	mu        sync.Mutex
	smoothed  time.Duration
	deviation time.Duration
}

// Sample takes a measurement.
func (r *RoundTrip) Sample(d time.Duration) {
	if d <= 0 || d > 10*time.Second {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.smoothed == 0 {
		r.smoothed, r.deviation = d, d/2
		return
	}
	r.deviation += ((d - r.smoothed).Abs() - r.deviation) / 4
	r.smoothed += (d - r.smoothed) / 8
}

// Estimate returns the smoothed time, 0 while it is not known, and how long a retransmission may take before it is worth
// asking again.
func (r *RoundTrip) Estimate() (smoothed, timeout time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.smoothed, min(max(r.smoothed+4*r.deviation, minRepairTimeout), maxRepairTimeout)
}
