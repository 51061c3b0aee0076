// Package rtcpool owns every peer connection of the gateway: its negotiation, ICE, received media, RTCP and its end.
//
// A [Pool] holds sessions; a [Session] is owned by one goroutine, which applies offers strictly one after another
// and judges each when its turn comes. What it receives it writes into [media.Track]s and reports
// to an [Observer]. It knows nothing of participants or of stores.
package rtcpool

import (
	"log/slog"
	"time"

	"github.com/penstock-media/penstock/media"
	"go.opentelemetry.io/otel/trace"
)

// Config is what a Pool needs. The zero value of a field is its default where one is named.
type Config struct {
	// Decoders decodes for all tracks. Required; the caller closes it after the pool.
	Decoders *media.DecodePool
	Logger   *slog.Logger
	Tracer   trace.Tracer // required; a no-op tracer will do
	// GatherTimeout bounds the gathering of local candidates for an answer. Default 2 s.
	GatherTimeout time.Duration
	// Grace is how long a session may be without a connected peer connection before it ends. Default 30 s.
	Grace time.Duration
	// ConsentTimeout is how long a peer connection may hear nothing from the other side before it has failed, and how long one
	// may take to connect (RFC 7675). After a third of it the state is disconnected. Default 15 s.
	ConsentTimeout time.Duration
	// MaxSDPBytes refuses larger offers. Default 1 MiB.
	MaxSDPBytes int
	// Loopback includes loopback candidates. For tests, the demo and one-machine set-ups.
	Loopback bool
	// UDPPortMin and UDPPortMax bound the local ports; 0 is any.
	UDPPortMin, UDPPortMax uint16
	// AnnouncedIPs replaces host candidates' addresses (1:1 NAT).
	AnnouncedIPs []string
	// MaxPicturePixels is passed on to media.TrackConfig.
	MaxPicturePixels int
	// Network says which sockets are used, and which remote addresses. Its zero value is egress only.
	Network NetworkConfig
}

// ICEServer is a STUN or TURN server (RFC 7064, RFC 7065).
type ICEServer struct {
	URLs                 []string
	Username, Credential string
}

// SessionConfig is what one session needs.
type SessionConfig struct {
	ID         string
	ICEServers []ICEServer
	Grace      time.Duration // 0 is the pool's
	// MinGeneration is the lowest that an offer may have, where peer connections of the session were elsewhere before. What is of a
	// lower one is dropped; an offer that names none is of this one at least.
	MinGeneration uint64
	// EndOnRemoteClose ends the session as soon as the other side closes its peer connection (DTLS close_notify), as a
	// WHIP publisher does who leaves. Otherwise an SFU may offer anew within the grace.
	EndOnRemoteClose bool
	// RelayOnly uses no local candidates but those of its TURN servers (RFC 8828: force-proxy).
	RelayOnly bool
	Observer  Observer // required
}

// Observer is told what a session receives. Its methods are called one at a time, in order, from the session's goroutine;
// they must return soon and must not call back into the session.
type Observer interface {
	// MediaChanged tells the difference after a negotiation, a first packet or an end.
	MediaChanged(d MediaDiff)
	// StateChanged tells the state of a generation's peer connection.
	StateChanged(generation uint64, state State)
	// CandidateGathered tells a local candidate of the current generation, whose last offer asked to trickle (RFC 8838). The
	// empty candidate is end-of-candidates; it comes once, unless the answer said so already. A candidate that the answer
	// holds is not told again. Candidates are told after the answer was handed to the caller of Negotiate, who may not have
	// woken yet: who sends both must send the answer first.
	CandidateGathered(generation uint64, c Candidate)
	// RestartNeeded tells that media will not come back without the offerer, once for each fault: an ICE restart of the
	// current generation when its connection has failed, a new generation when the other side has closed it or when an
	// offer was half applied and cannot be mended. Media that run go on.
	RestartNeeded(r Restart)
	// SessionEnded is the last call.
	SessionEnded(reason EndReason)
}

// MediaDiff is how the received media changed.
type MediaDiff struct {
	Added, Updated, Removed []Media
}

// Media is one received media description. ID is unique in the process and never used again.
type Media struct {
	ID         string
	Generation uint64
	MID        string
	StreamID   string // msid (RFC 8830); empty when the offer has none
	TrackID    string
	Kind       media.Kind
	Codec      media.Codec // of the last packet; unknown before the first
	SSRC       uint32      // 0 before the first packet
	Active     bool        // the offer's direction lets the SFU send
	// Track is where its packets go. The session ends it.
	Track *media.Track
}

// Restart asks the offerer to start again.
type Restart struct {
	ICE           bool   // an ICE restart of the current generation is enough
	MinGeneration uint64 // the lowest that a new offer may have
	Reason        string // for a person
}

// State is the state of a peer connection (W3C RTCPeerConnectionState).
type State uint8

// The states.
const (
	StateNew State = iota
	StateConnecting
	StateConnected
	StateDisconnected
	StateFailed
	StateClosed
)

// EndReason says why a session ended.
type EndReason uint8

// The reasons.
const (
	EndClosed         EndReason = iota + 1 // Close was called
	EndMediaLost                           // no connected peer connection for longer than the grace
	EndRemoteClosed                        // the other side closed DTLS
	EndSignallingLost                      // no offer was answered within the grace
)

// Offer is a remote offer.
type Offer struct {
	Generation uint64 // 0 is the current one, or 1
	SDP        string
	// Trickle answers without waiting for local candidates: the observer is told of each (RFC 8838).
	Trickle bool
	// Feeds are the spans of streams that run on the session's media, for the negotiation's span to name.
	Feeds []trace.Link
}

// Result is the outcome of a negotiation: exactly one field is set.
type Result struct {
	Answer *Answer
	Drop   *Drop
}

// Answer is what an accepted offer gives.
type Answer struct {
	SDP                string
	Generation         uint64
	CandidatesComplete bool
	Rejected           []RejectedMedia
}

// RejectedMedia is a media description that the answer refuses.
type RejectedMedia struct {
	MID    string
	Index  int
	Reason string
}

// DropReason says why an offer came too late to matter.
type DropReason uint8

// The reasons.
const (
	DropClosed DropReason = iota + 1
	DropStaleGeneration
	DropSuperseded
)

// Drop is a normal result: the offer came too late to matter.
type Drop struct {
	Reason            DropReason
	CurrentGeneration uint64
	MinGeneration     uint64 // SessionConfig's
}

// Candidate is a remote ICE candidate (W3C RTCIceCandidateInit). An empty Candidate is end-of-candidates.
type Candidate struct {
	Candidate        string
	MID              *string
	MLineIndex       *uint16
	UsernameFragment *string
}

// CandidateResult says what became of a candidate.
type CandidateResult uint8

// The results.
const (
	CandidateAdded CandidateResult = iota + 1
	CandidateKept
	CandidateIgnored
	CandidateDropped
)
