package service

import (
	"fmt"
	"time"
)

// Limits bounds what callers may take of this process. Refusals are RESOURCE_EXHAUSTED with the reason LIMIT_REACHED, and counted in Stats. A caller is an identity,
// or an address where there is none.
type Limits struct {
	// Sessions open at one time. Default 1000.
	Sessions int
	// CallerSessions are those of one caller. Those that were taken over from another pod are nobody's. 0 is no limit but that of all.
	CallerSessions int
	// Streams of StreamTrack and GetFrame at one time. Default 10000.
	Streams int
	// CallerStreams are the calls of StreamTrack, GetFrame, WatchTracks and Signal of one caller at one time. 0 is no limit but that of all.
	CallerStreams int
	// Calls under way at one time, but those of health: streams too, and those that wait, as ResolveTrack does. Default 30000.
	Calls int
	// CallerCalls are those of one caller. 0 is no limit but that of all.
	CallerCalls int
	// CallerRate is how many calls a caller may make in a second, CallerBurst how many at once. 0 is no limit; the burst is at least the rate.
	CallerRate, CallerBurst int
	// SignalRate is how many messages a conversation may have in a second, SignalBurst how many at once. 0 is no limit; the burst is at least the rate.
	SignalRate, SignalBurst int
	// WHIPRate is how many WHIP requests may come from one address in a second, WHIPBurst how many at once. 0 is no limit; the burst is at least the rate.
	WHIPRate, WHIPBurst int
	// FailedAuthRate is how many credentials that fail may come from one address in a second, FailedAuthBurst how many at once; beyond it what is known to be bad is refused
	// unchecked, and what is not known waits for its check. Good ones are served. 0 is no limit; the burst is at least the rate.
	FailedAuthRate, FailedAuthBurst int
	// HealthWatches are the calls of Health.Watch at one time, which need no credentials: one caller has no more than half of them. Default 256.
	HealthWatches int
	// Consumers of one track at one time. Default 1000.
	Consumers int
	// Media is how many media descriptions an offer may have. Default 512, which is also the most.
	Media int
	// QueueBytes caps StreamPolicy.max_queue_bytes. Default 256 MiB.
	QueueBytes int
	// ConnectionStreams is how many calls one connection may have at one time. At least MinConnectionStreams; default 1000.
	ConnectionStreams int
	// HeaderBytes is the largest header of a call, as HTTP/2 counts it. Default 16 KiB.
	HeaderBytes int
	// ConnectionIdle is after how long a connection without calls is closed, which its client hears of before. Default 2 h.
	ConnectionIdle time.Duration
	// HandshakeTimeout is how long a connection may take to be set up: TLS, the preface of HTTP/2 and the first settings. Default 10 s.
	HandshakeTimeout time.Duration
	// RequestTimeout is how long the first message of a call may take to come. Default 10 s.
	RequestTimeout time.Duration
}

// Defaults of Limits.
const (
	DefaultSessions          = 1000
	DefaultStreams           = 10_000
	DefaultCalls             = 30_000
	DefaultHealthWatches     = 256
	DefaultConsumers         = 1000
	DefaultMedia             = 512
	DefaultQueueBytes        = 256 << 20
	DefaultConnectionStreams = 1000
	DefaultHeaderBytes       = 16 << 10
	DefaultConnectionIdle    = 2 * time.Hour
	DefaultHandshakeTimeout  = 10 * time.Second
	DefaultRequestTimeout    = 10 * time.Second
)

// MinConnectionStreams is the least of Limits.ConnectionStreams: pods open another connection to each other when one has as many calls.
const MinConnectionStreams = 256

// complete fills in defaults and names the first fault.
func (l *Limits) complete() error {
	for _, n := range []int{
		l.Sessions, l.CallerSessions, l.Streams, l.CallerStreams, l.Calls, l.CallerCalls, l.CallerRate, l.CallerBurst, l.SignalRate, l.SignalBurst,
		l.WHIPRate, l.WHIPBurst, l.FailedAuthRate, l.FailedAuthBurst, l.HealthWatches, l.Consumers, l.Media, l.QueueBytes, l.ConnectionStreams, l.HeaderBytes,
		int(l.ConnectionIdle), int(l.HandshakeTimeout), int(l.RequestTimeout),
	} {
		if n < 0 {
			return fmt.Errorf("%w: Limits must not be negative", ErrConfig)
		}
	}
	setDefault(&l.Sessions, DefaultSessions)
	setDefault(&l.Streams, DefaultStreams)
	setDefault(&l.Calls, DefaultCalls)
	setDefault(&l.HealthWatches, DefaultHealthWatches)
	setDefault(&l.Consumers, DefaultConsumers)
	setDefault(&l.Media, DefaultMedia)
	setDefault(&l.QueueBytes, DefaultQueueBytes)
	setDefault(&l.ConnectionStreams, DefaultConnectionStreams)
	setDefault(&l.HeaderBytes, DefaultHeaderBytes)
	setDefault(&l.ConnectionIdle, DefaultConnectionIdle)
	setDefault(&l.HandshakeTimeout, DefaultHandshakeTimeout)
	setDefault(&l.RequestTimeout, DefaultRequestTimeout)
	if l.ConnectionStreams < MinConnectionStreams {
		return fmt.Errorf("%w: Limits.ConnectionStreams is below %d", ErrConfig, MinConnectionStreams)
	}
	return nil
}
