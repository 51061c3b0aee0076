// Package resolverstore holds what pods know of sessions: their owners, publications (what the SFU announced), media (what
// was received), and the tracks that join the two. It decides what "resolved" means, and wakes whoever waits.
//
// It knows no peer connections: media come in as facts, from whoever received them.
package resolverstore

import (
	"context"
	"time"
)

// Store is the shared state. Implementations: [NewMemory], [NewRedis]. All methods are safe for concurrent use; all
// return soon, except Resolve and Watcher.Next, which wait within their context.
type Store interface {
	Ownership

	// CreateSession stores a session that is new. With an id that is taken: the stored one and false if
	// SameRequest(stored, s), else ErrSessionExists.
	CreateSession(ctx context.Context, s Session) (stored Session, created bool, err error)
	// GetSession returns ErrSessionNotFound for an unknown one.
	GetSession(ctx context.Context, key SessionKey) (Session, error)
	// ListSessions returns sessions of the tenant in the order of ids, after the id given, at most limit.
	ListSessions(ctx context.Context, tenant, after string, labels map[string]string, limit int) ([]Session, error)
	// UpdateSession sets state, generation, expiry; fenced by owner and epoch: ErrFenced.
	UpdateSession(ctx context.Context, key SessionKey, f Fence, u SessionUpdate) (Session, error)
	// EndSession ends a session and all its tracks, and wakes all who wait. It stays readable as ENDED for a short while
	// (the tombstone), then is gone. Ending one that is gone is nil.
	EndSession(ctx context.Context, key SessionKey, reason SessionEndReason) error
	// EndOwned does so in the name of an owner that has lost what fed the session; fenced: a session that another one has taken over goes on.
	EndOwned(ctx context.Context, key SessionKey, f Fence, reason SessionEndReason) error

	// ApplyEvents applies signalling's events in order. They may be kept: the caller does not change them afterwards.
	ApplyEvents(ctx context.Context, key SessionKey, events []Event) (Applied, error)
	// ApplyMedia applies what the peer connection received; fenced. d may be kept: the caller does not change it afterwards.
	ApplyMedia(ctx context.Context, key SessionKey, f Fence, d MediaDiff) error

	// Resolve waits until the selected track is live or paused. Errors: ctx's, ErrSessionNotFound, ErrSessionEnded,
	// ErrTrackNotFound (by id), ErrParticipantLeft.
	Resolve(ctx context.Context, key SessionKey, sel Selector) (Track, error)
	// ListTracks returns tracks that have not ended, in the order of ids, after the id given, and the revision.
	ListTracks(ctx context.Context, key SessionKey, after string, limit int) ([]Track, uint64, error)
	// Watch starts to watch after a revision. The caller must Close the watcher.
	Watch(ctx context.Context, key SessionKey, afterRevision uint64) (Watcher, error)

	// Close wakes all who wait with ErrClosed.
	Close() error
}

// Watcher tells changes of a session's tracks, level-triggered.
type Watcher interface {
	// Next waits for the next change. Errors: ctx's, ErrSessionEnded after the last, ErrClosed.
	Next(ctx context.Context) (Change, error)
	Close()
}

// Change is a snapshot or a difference. Intermediate states may be merged; a removal is always told.
type Change struct {
	Revision uint64
	Snapshot bool
	Tracks   []Track
	Removed  []Track // state TrackEnded
}

// SessionKey names a session. Tenant is empty while there is but one.
type SessionKey struct{ Tenant, ID string }

// Fence is who writes: an owner of the session, by incarnation and epoch.
type Fence struct {
	Owner string
	Epoch uint64
}

// Session is a session's record.
type Session struct {
	Key         SessionKey
	State       SessionState
	Labels      map[string]string
	Source      SourceKind
	RequestHash string // of all that CreateSession was asked for, secrets included; tells "the same request"
	Generation  uint64
	// MinGeneration is the lowest that a new offer may have.
	MinGeneration uint64
	Fence         Fence
	OwnerAddress  string
	EndReason     SessionEndReason
	Grace         time.Duration
	// Sealed is what a new owner needs and nobody else may read, such as the credentials of ICE servers: encrypted by the caller with a key that
	// the pods share. It is stored, and told to nobody but who takes the session over: all other methods return sessions without it.
	Sealed   []byte
	Created  time.Time
	Expires  time.Time // zero while all is well
	Revision uint64

	contested bool // an owner before may not know that another one took the session over
}

// SessionUpdate changes what is not nil.
type SessionUpdate struct {
	State      *SessionState
	Generation *uint64
	Expires    *time.Time
	Sealed     *[]byte
}

// SessionState is where a session is in its life.
type SessionState uint8

// The states.
const (
	SessionAwaitingOffer SessionState = iota + 1
	SessionConnecting
	SessionConnected
	SessionDisconnected
	SessionEnded
)

// SessionEndReason says why a session ended.
type SessionEndReason uint8

// The reasons.
const (
	SessionDeleted SessionEndReason = iota + 1
	SessionSignallingLost
	SessionMediaLost
	SessionDrained
	SessionRemoteClosed
)

// SourceKind is what feeds a session.
type SourceKind uint8

// The kinds.
const (
	SourceOffers SourceKind = iota + 1
	SourceLiveKit
	SourceWHEP
	SourceWHIP
)

// Kind is audio or video.
type Kind uint8

// The kinds.
const (
	KindAudio Kind = iota + 1
	KindVideo
)

// Source is what a publication is.
type Source uint8

// The sources.
const (
	SourceUnknown Source = iota
	Camera
	Microphone
	ScreenShare
	ScreenShareAudio
)

// Kind returns the kind of media that carries the source; 0 for an unknown one.
func (s Source) Kind() Kind {
	switch s {
	case Camera, ScreenShare:
		return KindVideo
	case Microphone, ScreenShareAudio:
		return KindAudio
	default:
		return 0
	}
}

// Participant is a publisher in the call.
type Participant struct {
	ID, UserID, DisplayName string
	// LookupPrefix is the prefix of msid stream ids; empty is ID.
	LookupPrefix string
}

// Publication is what the SFU announced.
type Publication struct {
	Participant Participant
	Source      Source
	TrackID     string
	MID         string
	Muted       bool
}

// Media is what a peer connection received. ID is given by the receiver and never used again.
type Media struct {
	ID         string
	MID        string
	StreamID   string
	TrackID    string
	Kind       Kind
	Codec      uint8 // the contract's number
	SSRC       uint32
	Generation uint64
	Active     bool
}

// MediaDiff is how the received media changed.
type MediaDiff struct {
	Put     []Media  // added or changed
	Removed []string // ids
}

// TrackState is where a track is in its life.
type TrackState uint8

// The states.
const (
	TrackPending TrackState = iota + 1
	TrackLive
	TrackPaused
	TrackEnded
)

// TrackEndReason says why a track ended.
type TrackEndReason uint8

// The reasons.
const (
	TrackUnpublished TrackEndReason = iota + 1
	TrackParticipantLeft
	TrackReplaced
	TrackMediaEnded
	TrackSessionDeleted
	TrackSessionExpired
)

// Track is a publication and a media joined, or one of them while the other is missing.
type Track struct {
	ID          string
	Kind        Kind
	State       TrackState
	Publication *Publication
	Media       *Media
	EndReason   TrackEndReason
	Revision    uint64
}

// Selector names a track: by TrackID, or by Source and one of ParticipantID and UserID.
type Selector struct {
	TrackID       string
	ParticipantID string
	UserID        string
	Source        Source
}

// Event is one thing that signalling learnt: exactly one field but Sequence is set.
type Event struct {
	Sequence    uint64
	Published   *Publication
	Unpublished *PublicationRef
	Muted       *PublicationRef
	Unmuted     *PublicationRef
	Joined      *Participant
	Left        string
	Updated     *Participant
	Snapshot    *Snapshot
}

// PublicationRef names a publication.
type PublicationRef struct {
	ParticipantID string
	Source        Source
}

// Snapshot is all that is in the call.
type Snapshot struct {
	Participants []Participant
	Publications []Publication
}

// Applied tells what became of events.
type Applied struct {
	Revision uint64
	Ignored  []Ignored
}

// Ignored is an event that changed nothing because it could not be used.
type Ignored struct {
	Index  int
	Reason string
	Limit  bool // it would have been more than Config allows
}
