package relay

import "errors"

var (
	// ErrRefused means that a call claims to come from another pod, or is only for pods, and its proof is missing, wrong, too old or of another call.
	ErrRefused = errors.New("relay: the call does not prove that it comes from another pod")
	// ErrUnreachable means that the other pod cannot be reached, went away in mid-call, or does not take this pod's calls. It says nothing of whether the call
	// was served.
	ErrUnreachable = errors.New("relay: the other pod cannot be reached")
	// ErrAddress means that a pod has no address, or one that is not host:port.
	ErrAddress = errors.New("relay: not an address of a pod")
	// ErrLooped means that a call that was forwarded to this pod is to be forwarded again.
	ErrLooped = errors.New("relay: a forwarded call is not forwarded again")
	// ErrClosed means that Pods was closed.
	ErrClosed = errors.New("relay: closed")
	// ErrSecret means that a pod secret is too short.
	ErrSecret = errors.New("relay: a pod secret needs at least 32 bytes")
	// ErrSealed means that what was sealed cannot be opened: it was changed, or sealed for something else or with another secret.
	ErrSealed = errors.New("relay: what was sealed cannot be opened")
	// errSent means that a message was sent a second time.
	errSent = errors.New("relay: message was sent or freed already")
)
