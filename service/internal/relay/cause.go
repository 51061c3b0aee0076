package relay

// Cause is who or what made a call be refused that claimed to come from a pod: what anybody can bring about is told apart from what needs a pod, or its secret.
type Cause uint8

// The causes.
const (
	CauseStranger Cause = iota // it is not signed by the pods' secret, and not known to come from a pod: anybody can send it
	CauseSecret                // it is not signed by the pods' secret, and comes from where a pod is: that one has another
	CauseClock                 // it is signed, and too old or of the future
	CauseReplayed              // it is signed, and came before: somebody listens between pods
	CauseTarget                // it is signed, and for another pod, as after a restart, or was forwarded twice
	CauseIdentity              // it is signed, and lacks a pod's certificate, or its caller cannot be read
	causes
)

// CauseNames are the names of all causes, in their order, as they are in logs and figures.
func CauseNames() [causes]string {
	return [causes]string{"stranger", "secret", "clock", "replayed", "target", "identity"}
}

// String implements fmt.Stringer.
func (c Cause) String() string { return CauseNames()[c] }

// fault is what is wrong with a call's proof, and its cause. The zero value is nothing.
type fault struct {
	what  string
	cause Cause
}
