package service

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/credentials"

	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
	"github.com/penstock-media/penstock/service/internal/identity"
	"github.com/penstock-media/penstock/service/metrics"
)

// Config is what a Service needs. The zero value of a field is its default where one is named.
type Config struct {
	// Pool holds the peer connections. Required; the caller closes it after the service.
	Pool *rtcpool.Pool
	// Store holds what is known of sessions and tracks. Required; the caller closes it after the pool.
	Store resolverstore.Store
	// Logger is required.
	Logger *slog.Logger

	// TracerProvider makes the spans of calls, resolution and attachment; nil turns telemetry off.
	TracerProvider trace.TracerProvider
	// Metrics takes what is measured; nil measures nothing.
	Metrics *metrics.Set
	// Propagator reads the caller's trace from a call's metadata, and gives it to other pods. Default W3C trace context.
	Propagator propagation.TextMapPropagator

	// Owner is this process's incarnation, by which it owns sessions. Required, random for each process.
	Owner string
	// OwnerAddress is where other pods reach this one; it may be empty while there is but one.
	OwnerAddress string
	// PodSecrets are what all pods of the deployment share, at least 32 bytes each: by the first one pods prove to each other that a call comes from a pod, and
	// make tokens; what the others made is still accepted, so that the secret can be changed pod by pod. None makes a random one, which is right
	// for a process that is alone. Secret.
	PodSecrets [][]byte
	// PodCredentials secures this pod's connections to others; nil is no TLS.
	PodCredentials credentials.TransportCredentials
	// Busy returns the share of the decoders' time that is used, 0 to 1, for new sessions to be placed by; nil tells nothing of it.
	Busy func() float64
	// PodCertified tells whether a connection is one of another pod, by its client certificate, which is asked for beside the proof of a forwarded call; nil
	// asks for none.
	PodCertified func(*tls.ConnectionState) bool

	// Token is a bearer token that lets a caller do everything with the sessions of the tenant "". Secret. Where there is neither a token, nor JWT, nor
	// ClientCertificate, nobody is asked who it is.
	Token string
	// TokenNow returns the token that is good now, where it changes; Token is only the first one then. It must be quick, and safe for concurrent use. nil keeps Token.
	TokenNow func() string
	// JWT says which JSON Web Tokens are good, beside Token; nil is none.
	JWT *JWTConfig
	// ClientCertificate returns the client certificate of a connection that a caller may be known by, if it has one that was verified for that; nil where
	// certificates are nobody's identity. One is good where there is no token.
	ClientCertificate func(*tls.ConnectionState) *x509.Certificate
	// ClientCertificateRequired asks every caller for one, beside its token.
	ClientCertificateRequired bool
	// ClientCertificateActions are what a certificate allows that names no actions: "signal", "stream", "admin".
	ClientCertificateActions []string
	// ExpiryWarning is how long before a caller's credentials expire its streams are told. Default 10 s; less where they are good for less than twice of that.
	ExpiryWarning time.Duration
	// ResumeLife is how long a resume token is good for. Streams that are longer get new ones. Default 1 h.
	ResumeLife time.Duration
	// MoveTimeout bounds how long a call waits for the next owner of a session whose owner is gone. Default 10 s.
	MoveTimeout time.Duration
	// EndpointGrace is how long after the begin of a drain calls are still taken and nobody is told yet, while load balancers hear of it. Default none.
	EndpointGrace time.Duration
	// WHIPCreate lets a WHIP publisher create the session it publishes into.
	WHIPCreate bool

	// Grace is how long a session may be without media before it ends. Default 30 s.
	Grace time.Duration
	// FrameTimeout bounds GetFrame where the caller sets no deadline. Default 10 s.
	FrameTimeout time.Duration
	// SignalPatience is how long a Signal stream may go without being opened, or without one of its messages being read. Default 10 s.
	SignalPatience time.Duration
	// StallTimeout is how long a stream whose queue overflows may go without being read. Default 10 s.
	StallTimeout time.Duration
	// PingInterval is after how long without a sign of life a worker's connection is pinged, and PingTimeout how long the answer may take
	// before the connection is given up. Default 15 s and 10 s; gRPC knows no interval below 1 s.
	PingInterval, PingTimeout time.Duration
	// Limits bounds what callers may take.
	Limits Limits

	spanLimit time.Duration // tests make it shorter
}

// JWTConfig says which JSON Web Tokens are good.
type JWTConfig = identity.JWTConfig

// CheckJWKS tells whether keys may be taken from JWTConfig.JWKS.
func CheckJWKS(source string) error { return identity.CheckJWKS(source) }

// Defaults of Config.
const (
	DefaultGrace        = 30 * time.Second
	DefaultFrameTimeout = 10 * time.Second
	// DefaultSignalPatience is long enough for a caller that is busy, and too short for many dead ones to pile up.
	DefaultSignalPatience = 10 * time.Second
	// DefaultStallTimeout lets a worker load a model, and leaves what is dropped meanwhile to be told.
	DefaultStallTimeout = 10 * time.Second
	// DefaultPingInterval and DefaultPingTimeout find workers that vanished without a FIN.
	DefaultPingInterval = 15 * time.Second
	DefaultPingTimeout  = 10 * time.Second
	// DefaultMoveTimeout is longer than two leases of the default length: the owner's must be gone for as long as it lasts.
	DefaultMoveTimeout = 10 * time.Second
	// DefaultExpiryWarning is long enough to fetch a new token and open a stream again.
	DefaultExpiryWarning = 10 * time.Second
)

// complete fills in defaults and names the first fault.
func (c *Config) complete() error {
	switch {
	case c.Pool == nil:
		return fmt.Errorf("%w: Pool is missing", ErrConfig)
	case c.Store == nil:
		return fmt.Errorf("%w: Store is missing", ErrConfig)
	case c.Logger == nil:
		return fmt.Errorf("%w: Logger is missing", ErrConfig)
	case c.Owner == "":
		return fmt.Errorf("%w: Owner is empty; give each process a random one", ErrConfig)
	case c.Grace < 0 || c.FrameTimeout < 0 || c.SignalPatience < 0 || c.StallTimeout < 0 || c.PingInterval < 0 || c.PingTimeout < 0:
		return fmt.Errorf("%w: Grace, FrameTimeout, SignalPatience, StallTimeout, PingInterval and PingTimeout must not be negative", ErrConfig)
	case c.ResumeLife < 0:
		return fmt.Errorf("%w: ResumeLife must not be negative", ErrConfig)
	case c.ExpiryWarning < 0:
		return fmt.Errorf("%w: ExpiryWarning must not be negative", ErrConfig)
	case c.MoveTimeout < 0 || c.EndpointGrace < 0:
		return fmt.Errorf("%w: MoveTimeout and EndpointGrace must not be negative", ErrConfig)
	}
	if err := c.Limits.complete(); err != nil {
		return err
	}
	setDefault(&c.Grace, DefaultGrace)
	setDefault(&c.FrameTimeout, DefaultFrameTimeout)
	setDefault(&c.SignalPatience, DefaultSignalPatience)
	setDefault(&c.StallTimeout, DefaultStallTimeout)
	setDefault(&c.ResumeLife, DefaultResumeLife)
	setDefault(&c.PingInterval, DefaultPingInterval)
	setDefault(&c.PingTimeout, DefaultPingTimeout)
	setDefault(&c.MoveTimeout, DefaultMoveTimeout)
	setDefault(&c.ExpiryWarning, DefaultExpiryWarning)
	setDefault(&c.spanLimit, defaultSpanLimit)
	if c.Propagator == nil {
		c.Propagator = propagation.TraceContext{}
	}
	return nil
}

// setDefault replaces a zero value.
func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
