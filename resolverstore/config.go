package resolverstore

import (
	"log/slog"
	"time"
)

// Config is what a store needs. The zero value of a field is its default.
type Config struct {
	// Logger gets what operators may want to know. Default: nothing is logged.
	Logger *slog.Logger
	// Observe is told how long each command and pipeline of Redis took. It must return soon. Default: nobody is told.
	Observe func(time.Duration)
	// Schemes read the words of an msid, in this order; the first that understands it decides. Default: DefaultSchemes.
	Schemes []Scheme

	// Settle is how long a pair that was found by elimination (rules 3 and 4) must have stood alone before it is joined, so
	// that a burst of events is seen whole first. Default 100 ms; negative joins at once.
	Settle time.Duration
	// EliminationTTL is how long after its arrival unclaimed media may be joined by elimination. Default 60 s.
	EliminationTTL time.Duration
	// PendingTTL is how long a publication or a media waits for its other half before it is forgotten. It is long, since a
	// publication that nobody asked for has no media. Default 1 h.
	PendingTTL time.Duration
	// RepublishTTL is how long the track of an unpublished publication waits for its return while its media goes on. Default 5 s.
	RepublishTTL time.Duration
	// TombstoneTTL is how long it is remembered that a participant left. Default 10 s.
	TombstoneTTL time.Duration
	// HoldTTL is how long media from before a leave stay out of the running after the participant came back. Default 3 s.
	HoldTTL time.Duration
	// HistoryTTL is how long it is remembered which media were removed, and which tracks ended: a watcher that comes back
	// later gets a snapshot. Default 10 min.
	HistoryTTL time.Duration
	// EndedTTL is how long an ended session stays readable. Default 30 s.
	EndedTTL time.Duration

	// Owner is this process's incarnation: the one in the Fence of sessions that it owns. Only the Redis store uses this and
	// what follows. Default: random.
	Owner string
	// OwnerAddress is where other pods reach this one; it is in its lease.
	OwnerAddress string
	// Seal proves leases; nil neither writes nor asks for proofs, which is right for tests only: an address in a lease is where calls go.
	Seal *LeaseSeal
	// Heartbeat is how often the lease is renewed. Default 1 s.
	Heartbeat time.Duration
	// LeaseTTL is how long a pod's lease lasts without. Default 3 s.
	LeaseTTL time.Duration
	// SessionTTL is how long a session stays stored that no pod renews. Default 1 h.
	SessionTTL time.Duration
	// IdleTTL is how long the state of another pod's session is kept here after its last use. Default 10 s.
	IdleTTL time.Duration

	// MaxSessions bounds the sessions of the store; of a Redis store, those that this process owns. Default 10,000.
	MaxSessions int
	// MaxParticipants bounds the participants of a session. Default 2,000.
	MaxParticipants int
	// MaxPublications bounds the publications of a session. Default 4,000.
	MaxPublications int
	// MaxMedia bounds the media of a session. Default 4,000.
	MaxMedia int
	// MaxIDBytes bounds each id and name that a peer or a caller gives. Default 512.
	MaxIDBytes int
	// MaxTombstones bounds the tombstones and the removals that a session remembers. Default 1,024.
	MaxTombstones int
}

// withDefaults returns c with every default filled in.
func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Schemes == nil {
		c.Schemes = DefaultSchemes()
	}
	setDefault(&c.Settle, 100*time.Millisecond)
	setDefault(&c.EliminationTTL, time.Minute)
	setDefault(&c.PendingTTL, time.Hour)
	setDefault(&c.RepublishTTL, 5*time.Second)
	setDefault(&c.TombstoneTTL, 10*time.Second)
	setDefault(&c.HoldTTL, 3*time.Second)
	setDefault(&c.HistoryTTL, 10*time.Minute)
	setDefault(&c.EndedTTL, 30*time.Second)
	setDefault(&c.Heartbeat, time.Second)
	setDefault(&c.LeaseTTL, 3*time.Second)
	setDefault(&c.SessionTTL, time.Hour)
	setDefault(&c.IdleTTL, 10*time.Second)
	setDefault(&c.MaxSessions, 10_000)
	setDefault(&c.MaxParticipants, 2_000)
	setDefault(&c.MaxPublications, 4_000)
	setDefault(&c.MaxMedia, 4_000)
	setDefault(&c.MaxIDBytes, 512)
	setDefault(&c.MaxTombstones, 1_024)
	return c
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
