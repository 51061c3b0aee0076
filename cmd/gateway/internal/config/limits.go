package config

import "time"

// Limits are the settings that bound what callers and peers may take.
type Limits struct {
	// MaxSessions is how many sessions may be open at one time; the next is refused with LIMIT_REACHED.
	MaxSessions int `name:"max-sessions" env:"PENSTOCK_MAX_SESSIONS" range:"1..1000000" default:"1000" placeholder:"N" group:"Limits" help:"Sessions open at one time."`
	// MaxStreams is how many StreamTrack and GetFrame calls may be open at one time.
	MaxStreams int `name:"max-streams" env:"PENSTOCK_MAX_STREAMS" range:"1..10000000" default:"10000" placeholder:"N" group:"Limits" help:"StreamTrack and GetFrame calls open at one time."`
	// MaxQueueBytes caps the queue that one stream may ask for, in bytes. At least 1 MiB.
	MaxQueueBytes int `name:"max-queue-bytes" env:"PENSTOCK_MAX_QUEUE_BYTES" range:"1048576..1099511627776" default:"268435456" placeholder:"BYTES" group:"Limits" help:"Largest queue that one stream may ask for."`
	// MaxQueuedBytes caps what all streams' queues hold together, in bytes: beyond it the longest queue drops its oldest frames. At least 1 MiB.
	MaxQueuedBytes int `name:"max-queued-bytes" env:"PENSTOCK_MAX_QUEUED_BYTES" range:"1048576..1099511627776" default:"1073741824" placeholder:"BYTES" group:"Limits" help:"What the queues of all streams may hold together."`
	// StallTimeout is how long a stream whose queue overflows may go without being read, before it ends with CONSUMER_STALLED. 1 s to 10 min.
	StallTimeout time.Duration `name:"stall-timeout" env:"PENSTOCK_STALL_TIMEOUT" range:"1s..10m" default:"10s" placeholder:"DURATION" group:"Limits" help:"How long a stream whose queue overflows may go without being read."`
	// MaxPicturePixels refuses larger pictures before anything is allocated for them: width times height.
	MaxPicturePixels int `name:"max-picture-pixels" env:"PENSTOCK_MAX_PICTURE_PIXELS" range:"1..1073741824" default:"9437184" placeholder:"PIXELS" group:"Limits" help:"Largest picture that is decoded, width times height."`
	// MaxSDPBytes refuses larger offers. 1 KiB to 1 MiB.
	MaxSDPBytes int `name:"max-sdp-bytes" env:"PENSTOCK_MAX_SDP_BYTES" range:"1024..1048576" default:"1048576" placeholder:"BYTES" group:"Limits" help:"Largest SDP offer."`
	// DecodeWorkers is how many threads decode video; 0 is one for each core. At most 1024.
	DecodeWorkers int `name:"decode-workers" env:"PENSTOCK_DECODE_WORKERS" range:"0..1024" default:"0" placeholder:"N" group:"Limits" help:"Threads that decode video; 0 is one for each core."`

	// MaxSessionsPerCaller is how many of them one caller may have made: an identity, or an address where there is none. Sessions that were taken over from another pod are nobody's.
	// 0 is no limit but MaxSessions, which is right where all callers are one.
	MaxSessionsPerCaller int `name:"max-sessions-per-caller" env:"PENSTOCK_MAX_SESSIONS_PER_CALLER" range:"0..1000000" default:"0" placeholder:"N" group:"Limits" help:"Sessions of one caller (an identity, or an address without one) open at one time; 0 is no limit of its own."`
	// MaxStreamsPerCaller is how many StreamTrack, GetFrame, WatchTracks and Signal calls one caller may have open at one time. 0 is no limit of its own.
	MaxStreamsPerCaller int `name:"max-streams-per-caller" env:"PENSTOCK_MAX_STREAMS_PER_CALLER" range:"0..10000000" default:"0" placeholder:"N" group:"Limits" help:"Streams, watches and conversations of one caller open at one time; 0 is no limit of its own."`
	// MaxCalls is how many gRPC calls may be under way at one time, those of health apart: also those that wait, as ResolveTrack does, and all streams.
	MaxCalls int `name:"max-calls" env:"PENSTOCK_MAX_CALLS" range:"100..10000000" default:"30000" placeholder:"N" group:"Limits" help:"gRPC calls under way at one time, waiting ones and streams included."`
	// MaxCallsPerCaller is how many of them may be one caller's. 0 is no limit of its own.
	MaxCallsPerCaller int `name:"max-calls-per-caller" env:"PENSTOCK_MAX_CALLS_PER_CALLER" range:"0..10000000" default:"0" placeholder:"N" group:"Limits" help:"gRPC calls of one caller under way at one time; 0 is no limit of its own."`
	// CallerRate is how many gRPC calls one caller may begin in a second; the next is refused with the time after which it may try again. 0 is no limit.
	CallerRate int `name:"caller-rate" env:"PENSTOCK_CALLER_RATE" range:"0..1000000" default:"1000" placeholder:"CALLS/S" group:"Limits" help:"gRPC calls that one caller may begin in a second; 0 is no limit."`
	// CallerBurst is how many of them it may begin at once. It is at least CallerRate.
	CallerBurst int `name:"caller-burst" env:"PENSTOCK_CALLER_BURST" range:"1..10000000" default:"5000" placeholder:"CALLS" group:"Limits" help:"gRPC calls that one caller may begin at once."`
	// SignalRate is how many messages a Signal stream may carry to the gateway in a second; each further one is refused in its reply. 0 is no limit.
	SignalRate int `name:"signal-rate" env:"PENSTOCK_SIGNAL_RATE" range:"0..1000000" default:"200" placeholder:"MESSAGES/S" group:"Limits" help:"Messages of one Signal stream in a second; 0 is no limit."`
	// SignalBurst is how many of them may come at once. It is at least SignalRate.
	SignalBurst int `name:"signal-burst" env:"PENSTOCK_SIGNAL_BURST" range:"1..10000000" default:"2000" placeholder:"MESSAGES" group:"Limits" help:"Messages of one Signal stream at once."`
	// WHIPRate is how many WHIP requests may come from one address in a second; the next gets 429 with Retry-After. 0 is no limit.
	WHIPRate int `name:"whip-rate" env:"PENSTOCK_WHIP_RATE" range:"0..1000000" default:"100" placeholder:"REQUESTS/S" group:"Limits" help:"WHIP requests from one address in a second; 0 is no limit."`
	// WHIPBurst is how many of them may come at once. It is at least WHIPRate.
	WHIPBurst int `name:"whip-burst" env:"PENSTOCK_WHIP_BURST" range:"1..10000000" default:"500" placeholder:"REQUESTS" group:"Limits" help:"WHIP requests from one address at once."`
	// FailedAuthRate is how many tokens or certificates that fail may come from one address in a second; beyond it those that are known to be bad are refused without a check, with
	// the time after which to try again, and unknown ones are checked one after another. Good ones pass: those that were seen before at once, others in their turn. 0 is no limit.
	FailedAuthRate int `name:"failed-auth-rate" env:"PENSTOCK_FAILED_AUTH_RATE" range:"0..1000000" default:"10" placeholder:"N/S" group:"Limits" help:"Tokens or certificates that fail, from one address in a second; good ones pass all the time. 0 is no limit."`
	// FailedAuthBurst is how many of them may come at once. It is at least FailedAuthRate.
	FailedAuthBurst int `name:"failed-auth-burst" env:"PENSTOCK_FAILED_AUTH_BURST" range:"1..10000000" default:"100" placeholder:"N" group:"Limits" help:"Tokens or certificates that fail, from one address at once."`
	// MaxHealthWatches is how many Health.Watch calls may be open at one time: they need no credentials, and one address has no more than half of them.
	MaxHealthWatches int `name:"max-health-watches" env:"PENSTOCK_MAX_HEALTH_WATCHES" range:"1..100000" default:"256" placeholder:"N" group:"Limits" help:"Health.Watch calls open at one time."`
	// MaxConsumersPerTrack is how many StreamTrack and GetFrame calls may take one track at one time.
	MaxConsumersPerTrack int `name:"max-consumers-per-track" env:"PENSTOCK_MAX_CONSUMERS_PER_TRACK" range:"1..100000" default:"1000" placeholder:"N" group:"Limits" help:"Streams of one track at one time."`
	// MaxMediaPerSession is how many media descriptions an offer may have; beyond it the offer is refused.
	MaxMediaPerSession int `name:"max-media-per-session" env:"PENSTOCK_MAX_MEDIA_PER_SESSION" range:"1..512" default:"512" placeholder:"N" group:"Limits" help:"Media descriptions of an offer."`
	// MaxPublicationsPerSession is how many publications a session may have; ReportEvents names each further one as ignored.
	MaxPublicationsPerSession int `name:"max-publications-per-session" env:"PENSTOCK_MAX_PUBLICATIONS_PER_SESSION" range:"1..100000" default:"4000" placeholder:"N" group:"Limits" help:"Publications that a session may have; further ones are ignored, and named in the reply."`
	// MaxParticipantsPerSession is how many participants a session may have; ReportEvents names each further one as ignored.
	MaxParticipantsPerSession int `name:"max-participants-per-session" env:"PENSTOCK_MAX_PARTICIPANTS_PER_SESSION" range:"1..100000" default:"2000" placeholder:"N" group:"Limits" help:"Participants that a session may have; further ones are ignored, and named in the reply."`
	// MaxConnections is how many connections each of the two listeners may have open; further ones are closed at once. They are counted apart, so that callers of gRPC leave room for
	// probes over HTTP.
	MaxConnections int `name:"max-connections" env:"PENSTOCK_MAX_CONNECTIONS" range:"10..1000000" default:"10000" placeholder:"N" group:"Limits" help:"Connections open at --grpc-addr, and as many at --http-addr; further ones are closed."`
	// MaxConnectionsPerAddress is how many of them may be from one address, or one /64 network of IPv6. 0 is no limit of its own.
	MaxConnectionsPerAddress int `name:"max-connections-per-address" env:"PENSTOCK_MAX_CONNECTIONS_PER_ADDRESS" range:"0..1000000" default:"1000" placeholder:"N" group:"Limits" help:"Those of them from one address, or /64 network of IPv6; 0 is no limit of its own."`
	// MaxConnectionStreams is how many gRPC calls one connection may carry at one time; gRPC clients let the next one wait. The same on all pods.
	MaxConnectionStreams int `name:"max-connection-streams" env:"PENSTOCK_MAX_CONNECTION_STREAMS" range:"256..100000" default:"1000" placeholder:"N" group:"Limits" help:"gRPC calls on one connection at one time; clients let further ones wait."`
	// MaxHeaderBytes is how large the header of a gRPC call or of an HTTP request may be, tokens included.
	MaxHeaderBytes int `name:"max-header-bytes" env:"PENSTOCK_MAX_HEADER_BYTES" range:"4096..1048576" default:"16384" placeholder:"BYTES" group:"Limits" help:"Largest header of a gRPC call or HTTP request, tokens included."`
	// ConnectionIdle is after how long a gRPC connection without calls is closed; its client is told, and connects again with its next call.
	ConnectionIdle time.Duration `name:"connection-idle" env:"PENSTOCK_CONNECTION_IDLE" range:"1s..24h" default:"2h" placeholder:"DURATION" group:"Limits" help:"After how long a gRPC connection without calls is closed."`
	// HandshakeTimeout is how long a gRPC connection may take to be set up: TLS, the preface of HTTP/2 and the first settings.
	HandshakeTimeout time.Duration `name:"handshake-timeout" env:"PENSTOCK_HANDSHAKE_TIMEOUT" range:"1s..2m" default:"10s" placeholder:"DURATION" group:"Limits" help:"How long a gRPC connection may take to be set up, TLS included."`
	// RequestTimeout is how long the first message of a gRPC call may take to come, after its header.
	RequestTimeout time.Duration `name:"request-timeout" env:"PENSTOCK_REQUEST_TIMEOUT" range:"1s..10m" default:"10s" placeholder:"DURATION" group:"Limits" help:"How long the first message of a gRPC call may take to come."`
}

// defaultLimits returns the limits that no flag, no environment and no file give.
func defaultLimits() Limits {
	return Limits{
		MaxSessions: 1000, MaxStreams: 10_000, MaxQueueBytes: 256 << 20, MaxQueuedBytes: 1 << 30, StallTimeout: 10 * time.Second,
		MaxPicturePixels: 4096 * 2304, MaxSDPBytes: 1 << 20,
		MaxCalls: 30_000, CallerRate: 1000, CallerBurst: 5000, SignalRate: 200, SignalBurst: 2000, WHIPRate: 100, WHIPBurst: 500,
		FailedAuthRate: 10, FailedAuthBurst: 100,
		MaxHealthWatches: 256, MaxConsumersPerTrack: 1000, MaxMediaPerSession: 512, MaxPublicationsPerSession: 4000, MaxParticipantsPerSession: 2000,
		MaxConnections: 10_000, MaxConnectionsPerAddress: 1000, MaxConnectionStreams: 1000, MaxHeaderBytes: 16 << 10,
		ConnectionIdle: 2 * time.Hour, HandshakeTimeout: 10 * time.Second, RequestTimeout: 10 * time.Second,
	}
}
