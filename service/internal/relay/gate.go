package relay

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
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
	log    *slog.Logger
	used   used

	mu      sync.Mutex
	refused uint64
	told    uint64 // of them, those that were logged
	last    time.Time
}

// NewGate returns the gate of the pod of an incarnation. mutual tells whether a connection is one of a pod, by its verified certificate, which is asked for beside the
// proof; nil asks for none.
func NewGate(self string, keys *Keys, mutual func(*tls.ConnectionState) bool, log *slog.Logger) *Gate {
	return &Gate{self: self, keys: keys, mutual: mutual, log: log}
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
	p, what := proof{}, "there is none"
	if len(values) > 0 {
		p, what = fault(g.keys, values[0], method, g.self, time.Now())
	}
	switch {
	case len(values) > 1:
		what = "there is more than one"
	case what == "" && g.mutual != nil && !g.certified(ctx):
		what = "the pod that forwards shows no certificate of --pod-ca"
	case what == "" && !g.used.first(p.nonce, time.Now()):
		what = "it was used before"
	}
	caller, err := p.caller()
	if what == "" && err != nil {
		what = "its caller cannot be read"
	}
	if what != "" {
		g.refuse(ctx, method, p.from, what)
		return nil, fmt.Errorf("%w: %s: %s", ErrRefused, method, what)
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

// Refused returns how many calls were refused.
func (g *Gate) Refused() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refused
}

// refuse counts, and logs at most once a second.
func (g *Gate) refuse(ctx context.Context, method, from, what string) {
	g.mu.Lock()
	g.refused++
	now := time.Now()
	if now.Sub(g.last) < logEvery {
		g.mu.Unlock()
		return
	}
	n := g.refused - g.told
	g.told, g.last = g.refused, now
	g.mu.Unlock()
	address := ""
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		address = p.Addr.String()
	}
	g.log.WarnContext(ctx, "forwarded calls refused", "count", n, "method", method, "fault", what, "from", from, "peer", address)
}
