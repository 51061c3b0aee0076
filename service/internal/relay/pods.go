package relay

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
)

// Settings of connections between pods, for messages of 1.4 MB.
const (
	// streamWindow lets the owner write two raw pictures of 720p ahead of what this pod has passed on. It is what a slow worker on this
	// pod can hold of the relay's memory.
	streamWindow = 4 << 20
	// connectionWindow is for all streams of two pods together. gRPC opens it as bytes come in, whoever reads them, so that a slow
	// worker holds up nobody else.
	connectionWindow = 16 << 20
	// readBuffer takes 16 frames of HTTP/2 from the socket in one system call.
	readBuffer = 256 << 10
	// pingAfter and pingTimeout find a pod whose machine has vanished. Servers allow pings every 5 s.
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second
	// connectTimeout bounds one attempt to connect.
	connectTimeout = 3 * time.Second
	// DefaultIdle is how long a connection that no call uses is kept.
	DefaultIdle = time.Minute
	// maxAddress bounds an address, in bytes.
	maxAddress = 261
)

// Config is what Pods needs. The zero value of a field is its default where one is named.
type Config struct {
	// Self is this pod's incarnation. Required.
	Self string
	// Keys signs proofs. Required.
	Keys *Keys
	// Credentials secures connections; nil is none.
	Credentials credentials.TransportCredentials
	// Propagator carries traces. Required.
	Propagator propagation.TextMapPropagator
	// Idle is how long a connection that no call uses is kept. Default DefaultIdle.
	Idle time.Duration
	// Buffers is where messages are received into. Default: a pool that does not clear them.
	Buffers mem.BufferPool
}

// Pod is where a call is to go: an incarnation, and its address, which must come from the pod's lease.
type Pod struct{ Incarnation, Address string }

// Pods holds connections to other pods: one or more for each that calls are under way to, and for a while after. All methods are safe for concurrent use.
type Pods struct {
	cfg   Config
	codec encoding.CodecV2
	stats stats

	mu     sync.Mutex
	closed bool
	open   map[way]*connection
	idling sync.WaitGroup // one for each timer that has fired
}

// CallsAConnection is how many calls one connection carries at a time; for more, another one is made. It is the least that pods may allow a connection, beyond
// which gRPC would let calls wait without a word.
const CallsAConnection = 256

// way is one of the connections to a pod.
type way struct {
	to     Pod
	number int
}

// connection is a connection and who uses it.
type connection struct {
	cc    *grpc.ClientConn
	users int
	idle  *time.Timer // runs while there are none
}

// New returns a Pods without connections. Close must be called.
func New(cfg Config) *Pods {
	if cfg.Idle == 0 {
		cfg.Idle = DefaultIdle
	}
	if cfg.Buffers == nil {
		cfg.Buffers = &bufferPool{}
	}
	return &Pods{cfg: cfg, codec: Codec(encoding.GetCodecV2(grpcproto.Name)), open: make(map[way]*connection)}
}

// Close closes all connections, which ends the calls on them with ErrUnreachable, and waits. It is idempotent.
func (p *Pods) Close() {
	p.mu.Lock()
	p.closed = true
	open := p.open
	p.open = map[way]*connection{}
	for _, c := range open {
		if c.idle != nil && c.idle.Stop() {
			p.idling.Done()
		}
	}
	p.mu.Unlock()
	for _, c := range open {
		_ = c.cc.Close() // it was open
	}
	p.idling.Wait()
}

// Connections tells how many connections there are.
func (p *Pods) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}

// acquire returns the connection to a pod. The caller must call release when its call is over. Errors: ErrAddress, ErrClosed.
func (p *Pods) acquire(to Pod) (cc *grpc.ClientConn, release func(), err error) {
	if err := checkAddress(to.Address); err != nil {
		return nil, nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, ErrClosed
	}
	at := way{to: to}
	for p.open[at] != nil && p.open[at].users >= CallsAConnection {
		at.number++
	}
	c := p.open[at]
	if c == nil {
		cc, err := p.dial(to.Address)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %q: %w", ErrAddress, to.Address, err)
		}
		c = &connection{cc: cc}
		p.open[at] = c
	}
	if c.idle != nil && c.idle.Stop() {
		p.idling.Done()
	}
	c.idle = nil
	c.users++
	return c.cc, sync.OnceFunc(func() { p.release(at, c) }), nil
}

// release ends a use.
func (p *Pods) release(at way, c *connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.users--; c.users > 0 || p.closed {
		return
	}
	p.idling.Add(1)
	var timer *time.Timer
	timer = time.AfterFunc(p.cfg.Idle, func() {
		defer p.idling.Done()
		p.mu.Lock()
		unused := p.open[at] == c && c.users == 0 && c.idle == timer
		if unused {
			delete(p.open, at)
		}
		p.mu.Unlock()
		if unused {
			_ = c.cc.Close() // it was open
		}
	})
	c.idle = timer
}

// dial makes a connection that connects with its first call. The address is dialled as it is, past any proxy.
func (p *Pods) dial(address string) (*grpc.ClientConn, error) {
	creds := p.cfg.Credentials
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(), // retrying keeps requests until they are answered
		grpc.WithIdleTimeout(0), // there is one of our own
		grpc.WithStaticStreamWindowSize(streamWindow),
		grpc.WithStaticConnWindowSize(connectionWindow),
		grpc.WithReadBufferSize(readBuffer),
		experimental.WithBufferPool(p.cfg.Buffers),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout, PermitWithoutStream: false}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(p.codec), grpc.MaxCallRecvMsgSize(math.MaxInt32)),
	}
	return grpc.NewClient("passthrough:///"+address, opts...)
}

// checkAddress refuses what cannot be the address of one other pod.
func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || len(address) > maxAddress {
		return fmt.Errorf("%w: %q is not host:port", ErrAddress, address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%w: %q has no port", ErrAddress, address)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
			return fmt.Errorf("%w: %q is not the address of one machine", ErrAddress, address)
		}
		return nil
	}
	if host == "" || strings.IndexFunc(host, notInName) >= 0 {
		return fmt.Errorf("%w: %q is not host:port", ErrAddress, address)
	}
	return nil
}

// notInName tells what no name of a machine has in it.
func notInName(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_'
}

// CheckAddress tells whether an address may be called, as one from a lease. Errors: ErrAddress.
func CheckAddress(address string) error { return checkAddress(address) }

// outgoing returns the context of a call to a pod: the deadline, end and trace of the call that it is for, and a proof. Nothing else of that
// call's metadata goes along, credentials least of all. Errors: ErrLooped.
func (p *Pods) outgoing(ctx context.Context, to Pod, method string, caller Caller) (context.Context, error) {
	if f, ok := Forwarded(ctx); ok {
		return nil, fmt.Errorf("%w: %s came from pod %s", ErrLooped, method, f.From)
	}
	sign := newProof(ctx, p.cfg.Self, to.Incarnation, method, caller)
	return withMetadata(ctx, p.cfg.Propagator, sign.encode(p.cfg.Keys)), nil
}
