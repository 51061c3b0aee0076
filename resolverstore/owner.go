package resolverstore

import "context"

// Ownership is the part of a Store by which pods share the sessions out among themselves. A pod has one lease, a hint of whether
// it lives; what counts is the fence in a session's record. In a Memory there is one pod, which owns everything.
type Ownership interface {
	// Self is this process, as its next heartbeat tells it.
	Self() Pod
	// SetLoad says what heartbeats tell of this process from the next one on.
	SetLoad(Load)
	// Pods returns the pods whose leases live, this one among them, in the order of incarnations. ErrUnavailable.
	Pods(ctx context.Context) ([]Pod, error)

	// Claimed returns the address that a pod's lease named when it was last looked at, be it proved or not, and whether the lease was there. It asks nobody, and nobody may be called there: Pods and
	// Owner tell what may be.
	Claimed(incarnation string) (address string, alive bool)

	// Sure reports whether this process has run without a pause, or has looked again at all sessions that it owns since it was paused. It costs
	// nothing. A process that was paused for longer than its lease lasts may have been deposed without a word: while it is not sure
	// it must serve nothing of its sessions. A Redis that cannot be reached is no pause.
	Sure() bool
	// Recheck waits until Sure; at once if it is. Errors: ctx's, ErrClosed.
	Recheck(ctx context.Context) error

	// Deposed reports whether this process knows of another owner of a session than f, which was one. It asks nobody. Who waits in Owner hears of it
	// too, a little later: until then what is here of the session must not be taken for the session.
	Deposed(key SessionKey, f Fence) bool

	// Owner returns who owns a session as soon as the fence is another than not, or the session has ended; at once where not is zero. Waiting
	// costs no commands. Alive is as of now: nothing is told when a pod dies, see Gone. Errors: ctx's, ErrSessionNotFound, ErrUnavailable, ErrClosed.
	Owner(ctx context.Context, key SessionKey, not Fence) (Owner, error)
	// TakeOver makes this process the owner in the place of from, with a higher epoch that is never below the wall clock's milliseconds. Media of
	// the owner before are gone, publications stay, the state is SessionAwaitingOffer, MinGeneration is above every generation that was, and
	// Expires is a grace away. It alone returns Sealed. A process may take over from itself with consent, where it owns what it does not serve.
	// Errors: ErrOwned while the owner's lease has not been gone for as long as the rules ask, unless consent says
	// that it has agreed; ErrFenced if from owns the session no longer; ErrSessionNotFound, ErrSessionEnded, ErrLimitReached, ErrUnavailable:
	// then it may have been done, and Orphans tells of it.
	TakeOver(ctx context.Context, key SessionKey, from Fence, consent bool) (Session, error)
	// Gone waits until a pod has been gone for so long that its sessions may be taken over. It costs no commands. Errors: ctx's, ErrClosed.
	Gone(ctx context.Context, incarnation string) error
	// Orphans waits until there are sessions whose owner is gone for so long that they may be taken over, and which are this process's share of
	// them; or which nobody else has taken for a while. At most limit at a time, which the caller takes over, or leaves: then they are told again,
	// after a while. A process that drains has no share. One caller at a time. Errors: ctx's, ErrClosed.
	Orphans(ctx context.Context, limit int) ([]Session, error)
}

// Pod is one process of the gateway, as its lease tells.
type Pod struct {
	Incarnation string // random for each process
	Address     string // host:port of its gRPC server for other pods; empty if it has none
	Load        Load
}

// Load is how busy a pod is.
type Load struct {
	Sessions    int
	MaxSessions int
	Busy        float64 // share of its decode workers' time that is used, 0 to 1
	Draining    bool    // it takes no new sessions
}

// Owner is who owns a session. It does not tell what is sealed.
type Owner struct {
	Session Session
	Pod     Pod  // the owner's; only its incarnation is known when its lease is gone
	Alive   bool // its lease was there when it was last looked at
}
