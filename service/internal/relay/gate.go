package relay

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	podv1 "github.com/penstock-media/penstock/api/penstock/pod/v1"
)

// logEvery is how often refused forwards are logged at most.
const logEvery = time.Second

// Gate checks the proofs of calls that come in. It is safe for concurrent use.
type Gate struct {
	self   string
	keys   *Keys
	mutual func(*tls.ConnectionState) bool
	isPod  func(incarnation, host string) bool
	log    *slog.Logger
	used   used

	mu      sync.Mutex
	refused [causes]refusals
}

// refusals are those of one cause.
type refusals struct {
	n    uint64
	told uint64 // of them, those that were logged
	last time.Time
}

// NewGate returns the gate of the pod of an incarnation. mutual tells whether a connection is one of a pod, by its verified certificate, which is asked for beside the
// proof; nil asks for none. isPod tells whether a pod of that incarnation seems to live at a host, by which a refusal's cause is guessed and nothing else; nil knows none.
func NewGate(self string, keys *Keys, mutual func(*tls.ConnectionState) bool, isPod func(incarnation, host string) bool, log *slog.Logger) *Gate {
	return &Gate{self: self, keys: keys, mutual: mutual, isPod: isPod, log: log}
}

// forwardKey is the context key of a Forward.
type forwardKey struct{}

// Forwarded returns what is known of a call that another pod has forwarded to this one, and whether one has.
func Forwarded(ctx context.Context) (Forward, bool) {
	f, ok := ctx.Value(forwardKey{}).(Forward)
	return f, ok
}

// Enter checks a call that came in. A call without a proof passes as it is, unless only pods may make it; one with a wrong proof is refused,
// even where it would be served without. Errors: ErrRefused.
func (g *Gate) Enter(ctx context.Context, method string) (context.Context, error) {
	values := metadata.ValueFromIncomingContext(ctx, Metadata)
	podsOnly := strings.HasPrefix(method, "/"+podv1.PodService_ServiceDesc.ServiceName+"/")
	if len(values) == 0 && !podsOnly {
		return ctx, nil
	}
	p, wrong := proof{}, fault{"there is none", CauseStranger}
	if len(values) > 0 {
		p, wrong = check(g.keys, values[0], method, g.self, time.Now())
	}
	switch {
	case len(values) > 1:
		wrong = fault{"there is more than one", CauseStranger}
	case wrong.what == "" && g.mutual != nil && !g.certified(ctx):
		wrong = fault{"the pod that forwards shows no certificate of --pod-ca", CauseIdentity}
	case wrong.what == "" && !g.used.first(p.nonce, time.Now()):
		wrong = fault{"it was used before", CauseReplayed}
	}
	var caller Caller
	if wrong.what == "" { // What is not proved is not read.
		var err error
		if caller, err = p.caller(); err != nil {
			wrong = fault{"its caller cannot be read", CauseIdentity}
		}
	}
	if wrong.what != "" {
		g.refuse(ctx, method, p.from, wrong)
		return nil, fmt.Errorf("%w: %s: %s", ErrRefused, method, wrong.what)
	}
	return context.WithValue(ctx, forwardKey{}, Forward{From: p.from, Caller: caller, since: p.since}), nil
}

// certified tells whether the call's connection is one of a pod.
func (g *Gate) certified(ctx context.Context) bool {
	from, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	info, ok := from.AuthInfo.(credentials.TLSInfo)
	return ok && g.mutual(&info.State)
}

// Refused returns how many calls were refused, by cause.
func (g *Gate) Refused() (n [causes]uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for cause, r := range g.refused {
		n[cause] = r.n
	}
	return n
}

// refuse counts, and logs at most once a second of each cause, so that no stranger keeps the fault of a pod out of the log.
func (g *Gate) refuse(ctx context.Context, method, from string, wrong fault) {
	address, host := "", ""
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		address = p.Addr.String()
		host, _, _ = net.SplitHostPort(address)
	}
	switch {
	case wrong.cause != CauseStranger:
	case from != "" && g.isPod != nil && g.isPod(from, host):
		wrong.cause = CauseSecret
	default:
		from = "" // Anybody may write anything there.
	}
	g.mu.Lock()
	r := &g.refused[wrong.cause]
	r.n++
	now := time.Now()
	if now.Sub(r.last) < logEvery {
		g.mu.Unlock()
		return
	}
	n := r.n - r.told
	r.told, r.last = r.n, now
	g.mu.Unlock()
	g.log.WarnContext(ctx, "forwarded calls refused", "count", n, "cause", wrong.cause.String(), "method", method, "fault", wrong.what, "from", from, "peer", address)
}
