// Package config is the configuration of `gateway serve`: one struct, which flags, environment and a YAML file fill in
// alike. A flag on the command line wins over the environment, that over the file, and that over the default.
package config

import (
	"encoding"
	"time"
)

// Config is everything that an operator can set. [Default] gives the zero configuration, with which the service runs
// in memory and on loopback only. [Config.Check] must pass before it is used.
type Config struct {
	// GRPCAddr is where the gRPC API listens, as host:port. Port 0 takes any free one. An address that is not loopback
	// needs TLS and a token, or Insecure.
	GRPCAddr string `name:"grpc-addr" env:"PENSTOCK_GRPC_ADDR" default:"127.0.0.1:50051" placeholder:"HOST:PORT" group:"Listening" help:"Where the gRPC API listens. Port 0 takes any free one."`
	// HTTPAddr is where WHIP, /healthz and /readyz are served, as host:port, under the same rule as GRPCAddr.
	HTTPAddr string `name:"http-addr" env:"PENSTOCK_HTTP_ADDR" default:"127.0.0.1:8080" placeholder:"HOST:PORT" group:"Listening" help:"Where WHIP, /healthz and /readyz are served."`
	// HealthAddr is where /healthz and /readyz are served too, as host:port, in plain HTTP and without a token: they tell no names and no secrets. It has connections of its own, so that
	// publishers who hold all of HTTPAddr's leave room for probes, without which a pod is killed. Empty serves them on HTTPAddr alone.
	HealthAddr string `name:"health-addr" env:"PENSTOCK_HEALTH_ADDR" placeholder:"HOST:PORT" group:"Listening" help:"Where /healthz and /readyz are served too, in plain HTTP, for probes: room that publishers cannot take. Empty: at --http-addr alone."`
	// MetricsAddr is where /metrics is served, as host:port, in plain HTTP and without a token: it tells no names and no secrets. Empty serves it on HTTPAddr; of its own
	// it stays inside where WHIP is public.
	MetricsAddr string `name:"metrics-addr" env:"PENSTOCK_METRICS_ADDR" placeholder:"HOST:PORT" group:"Listening" help:"Where /metrics is served, in plain HTTP; empty: at --http-addr."`
	// DebugAddr is where Go's profiles (/debug/pprof/) and a live page are served, as host:port, in plain HTTP and without a token: they tell ids and code, and a profile costs
	// time. Empty serves them nowhere. An address that is not loopback needs Insecure.
	DebugAddr string `name:"debug-addr" env:"PENSTOCK_DEBUG_ADDR" placeholder:"HOST:PORT" group:"Listening" help:"Where profiles and a live page are served, on loopback as a rule; empty is nowhere."`
	// TLSCert is a PEM file with the certificate chain that both listeners show. It goes with TLSKey.
	TLSCert string `name:"tls-cert" env:"PENSTOCK_TLS_CERT" placeholder:"FILE" group:"Security" help:"PEM file with the certificate chain of both listeners; goes with --tls-key."`
	// TLSKey is a PEM file with the private key of TLSCert. Only the path is configuration; the key is never shown.
	TLSKey string `name:"tls-key" env:"PENSTOCK_TLS_KEY" placeholder:"FILE" group:"Security" help:"PEM file with the private key of --tls-cert."`
	// TLSMinVersion is the lowest version of TLS that the listeners and calls to other pods speak: 1.3, or 1.2 for old clients.
	TLSMinVersion string `name:"tls-min-version" env:"PENSTOCK_TLS_MIN_VERSION" default:"1.3" placeholder:"1.3|1.2" group:"Security" help:"Lowest version of TLS."`
	// TLSClientCA is a PEM file with the authorities of callers' certificates: by one that they have signed a caller is known, where it shows no token. Its first URI, DNS name or
	// common name is who it is, its organization (O) the tenant, its organizational units (OU) the actions.
	TLSClientCA string `name:"tls-client-ca" env:"PENSTOCK_TLS_CLIENT_CA" placeholder:"FILE" group:"Security" help:"PEM file with the authorities of callers' certificates, which are then good in place of a token (mTLS)."`
	// TLSClientAuth is whether callers may show a certificate of TLSClientCA, or must, beside a token if tokens are asked for. Probes never must.
	TLSClientAuth string `name:"tls-client-auth" env:"PENSTOCK_TLS_CLIENT_AUTH" default:"optional" placeholder:"optional|required" group:"Security" help:"Whether callers may show a certificate of --tls-client-ca, or must."`
	// TLSClientActions is what a certificate allows that names no organizational unit: signal, stream and admin.
	TLSClientActions []string `name:"tls-client-actions" env:"PENSTOCK_TLS_CLIENT_ACTIONS" default:"signal,stream" placeholder:"ACTION" group:"Security" help:"What a caller's certificate without OU allows: signal, stream, admin."`
	// JWTSecret signs JSON Web Tokens by HS256, HS384 or HS512; of several, between blanks, each is good. At least 32 characters. Secret.
	JWTSecret Secret `name:"jwt-secret" env:"PENSTOCK_JWT_SECRET" placeholder:"SECRET" group:"Security" help:"Secret that signs callers' JSON Web Tokens (HS256, HS384, HS512); of several, between blanks, each is good. Others on this machine can see a command line: prefer --jwt-secret-file."`
	// JWTSecretFile is a file that holds JWTSecret instead, one secret a line. It is read again when it changes.
	JWTSecretFile string `name:"jwt-secret-file" env:"PENSTOCK_JWT_SECRET_FILE" placeholder:"FILE" group:"Security" help:"File that holds the secret of JSON Web Tokens, or several, one a line. It is read again within five seconds of a change, and at SIGHUP."`
	// JWTJWKS is where the public keys of JSON Web Tokens are (RFC 7517): an https URL, or a file. They are fetched again as they change.
	JWTJWKS string `name:"jwt-jwks" env:"PENSTOCK_JWT_JWKS" placeholder:"URL|FILE" group:"Security" help:"Key set of callers' JSON Web Tokens (RS, PS, ES, EdDSA): an https URL or a file."`
	// JWTIssuer is the iss that tokens must have. Empty asks for none.
	JWTIssuer string `name:"jwt-issuer" env:"PENSTOCK_JWT_ISSUER" placeholder:"ISSUER" group:"Security" help:"Issuer that tokens must name."`
	// JWTAudience are those of which a token's aud must name one. None asks for none.
	JWTAudience []string `name:"jwt-audience" env:"PENSTOCK_JWT_AUDIENCE" placeholder:"AUDIENCE" group:"Security" help:"Audiences of which tokens must name one."`
	// JWTTenantClaim names the claim that holds the tenant, whose sessions alone the caller can know of.
	JWTTenantClaim string `name:"jwt-tenant-claim" env:"PENSTOCK_JWT_TENANT_CLAIM" default:"tenant" placeholder:"CLAIM" group:"Security" help:"Claim that holds the tenant."`
	// JWTLeeway is how far the clocks of issuer and gateway may differ. 1 s to 5 min.
	JWTLeeway time.Duration `name:"jwt-leeway" env:"PENSTOCK_JWT_LEEWAY" default:"5s" placeholder:"DURATION" group:"Security" help:"How far clocks may differ."`
	// JWTMaxLifetime is how long a token may be good for, from when it is shown. 1 min to 8760 h.
	JWTMaxLifetime time.Duration `name:"jwt-max-lifetime" env:"PENSTOCK_JWT_MAX_LIFETIME" default:"24h" placeholder:"DURATION" group:"Security" help:"How long a token may be good for."`
	// AuthToken is a bearer token that allows everything, as the tenant of those who name none. Where there is neither a token, nor JSON Web Tokens, nor callers'
	// certificates, nobody is asked for any, but for that every call but health is. At least 16 characters. Secret.
	AuthToken Secret `name:"auth-token" env:"PENSTOCK_AUTH_TOKEN" placeholder:"TOKEN" group:"Security" help:"Bearer token that allows everything. Others on this machine can see a command line: prefer --auth-token-file."`
	// AuthTokenFile is a file that holds the token instead; blanks around it are cut off. It is read again when it changes.
	AuthTokenFile string `name:"auth-token-file" env:"PENSTOCK_AUTH_TOKEN_FILE" placeholder:"FILE" group:"Security" help:"File that holds the bearer token. It is read again within five seconds of a change, and at SIGHUP."`
	// ExpiryWarning is how long before a caller's token or certificate expires its streams are told; they end then. 1 s to 10 min.
	ExpiryWarning time.Duration `name:"expiry-warning" env:"PENSTOCK_EXPIRY_WARNING" default:"10s" placeholder:"DURATION" group:"Security" help:"How long before a caller's credentials expire its streams are told."`
	// Insecure allows an address that is not loopback without TLS or without asking callers who they are: for networks that are closed by
	// other means.
	Insecure bool `name:"insecure" env:"PENSTOCK_INSECURE" group:"Security" help:"Allow listening beyond loopback without TLS, or without asking callers for a token or a certificate."`

	// RedisURL is where pods share what they know: redis://host, redis-cluster://host,host, redis-sentinel://host,host/master or
	// unix:///socket; rediss… over TLS. Empty keeps everything in the memory of this process. Secret, as it may hold a password.
	RedisURL Secret `name:"redis-url" env:"PENSTOCK_REDIS_URL" placeholder:"URL" group:"Store" help:"Redis that pods share: redis://host, redis-cluster://host,host, redis-sentinel://host,host/master, unix:///socket; rediss… over TLS. Empty: in memory."`
	// RedisUsername is the ACL user, where RedisURL names none.
	RedisUsername string `name:"redis-username" env:"PENSTOCK_REDIS_USERNAME" placeholder:"NAME" group:"Store" help:"ACL user of Redis."`
	// RedisPassword is the password of RedisUsername, or of Redis. Secret.
	RedisPassword Secret `name:"redis-password" env:"PENSTOCK_REDIS_PASSWORD" placeholder:"PASSWORD" group:"Store" help:"Password for Redis. Others on this machine can see a command line: prefer --redis-password-file."`
	// RedisPasswordFile is a file that holds the password instead; blanks around it are cut off.
	RedisPasswordFile string `name:"redis-password-file" env:"PENSTOCK_REDIS_PASSWORD_FILE" placeholder:"FILE" group:"Store" help:"File that holds the password for Redis."`
	// RedisSentinelUsername is the ACL user of the sentinels themselves.
	RedisSentinelUsername string `name:"redis-sentinel-username" env:"PENSTOCK_REDIS_SENTINEL_USERNAME" placeholder:"NAME" group:"Store" help:"ACL user of the sentinels."`
	// RedisSentinelPassword is the password of the sentinels themselves. Secret.
	RedisSentinelPassword Secret `name:"redis-sentinel-password" env:"PENSTOCK_REDIS_SENTINEL_PASSWORD" placeholder:"PASSWORD" group:"Store" help:"Password of the sentinels."`
	// RedisTLSCA is a PEM file with the authorities that sign Redis's certificates. Empty takes the machine's own.
	RedisTLSCA string `name:"redis-tls-ca" env:"PENSTOCK_REDIS_TLS_CA" placeholder:"FILE" group:"Store" help:"PEM file with the authorities of Redis's certificates; none is the machine's own."`
	// RedisTLSCert is a PEM file with the certificate chain shown to Redis. It goes with RedisTLSKey.
	RedisTLSCert string `name:"redis-tls-cert" env:"PENSTOCK_REDIS_TLS_CERT" placeholder:"FILE" group:"Store" help:"PEM file with the certificate to show to Redis; goes with --redis-tls-key."`
	// RedisTLSKey is a PEM file with the private key of RedisTLSCert.
	RedisTLSKey string `name:"redis-tls-key" env:"PENSTOCK_REDIS_TLS_KEY" placeholder:"FILE" group:"Store" help:"PEM file with the private key of --redis-tls-cert."`
	// RedisTLSServerName is the name in Redis's certificate, where it is not that of the host.
	RedisTLSServerName string `name:"redis-tls-server-name" env:"PENSTOCK_REDIS_TLS_SERVER_NAME" placeholder:"NAME" group:"Store" help:"Name in Redis's certificate, where it is not the host's."`
	// RedisTimeout bounds a connection's set-up and each answer of Redis. 50 ms to 30 s.
	RedisTimeout time.Duration `name:"redis-timeout" env:"PENSTOCK_REDIS_TIMEOUT" range:"50ms..30s" default:"1s" placeholder:"DURATION" group:"Store" help:"How long to wait for an answer of Redis."`
	// RedisWait is for how long a Redis that cannot be reached is asked again at start, before the gateway gives up and exits. 0 to 10 min.
	RedisWait time.Duration `name:"redis-wait" env:"PENSTOCK_REDIS_WAIT" range:"0s..10m" default:"0s" placeholder:"DURATION" group:"Store" help:"How long to wait at start for a Redis that cannot be reached, before giving up."`
	// Heartbeat is how often this process renews its lease in Redis. 50 ms to 10 s.
	Heartbeat time.Duration `name:"heartbeat" env:"PENSTOCK_HEARTBEAT" range:"50ms..10s" default:"1s" placeholder:"DURATION" group:"Store" help:"How often the lease in Redis is renewed."`
	// LeaseTTL is how long the lease lasts without being renewed. When it has run out other pods take this one's sessions over; at once where Redis answered
	// them promptly all the time, else after as long again. At least two Heartbeats, at most 1 min. All pods must have the same.
	LeaseTTL time.Duration `name:"lease-ttl" env:"PENSTOCK_LEASE_TTL" range:"100ms..1m" default:"3s" placeholder:"DURATION" group:"Store" help:"How long the lease lasts; then other pods take over. The same on all pods."`

	// PodSecret is what all pods on one Redis share, at least 32 characters: by it they prove to each other that a call comes from a pod, and keep what is in
	// Redis unreadable. Needed with RedisURL. Several, between blanks or lines, are all accepted, and the first one is used: so it is changed pod by pod. Secret.
	PodSecret Secret `name:"pod-secret" env:"PENSTOCK_POD_SECRET" placeholder:"SECRET" group:"Pods" help:"Secret that all pods on one Redis share; needed with --redis-url. Of several, between blanks, all are accepted and the first is used. Others on this machine can see a command line: prefer --pod-secret-file."`
	// PodSecretFile is a file that holds PodSecret instead, one secret a line. It is read again when it changes; a change that leaves out the secret in use, the first of before, is not taken.
	PodSecretFile string `name:"pod-secret-file" env:"PENSTOCK_POD_SECRET_FILE" placeholder:"FILE" group:"Pods" help:"File that holds the pods' secret, or several, one a line. It is read again within five seconds of a change, and at SIGHUP."`
	// PodAddr is where other pods reach this one's gRPC API, as host:port. Empty is GRPCAddr where that is one address, else the first address of this machine that is
	// not loopback, with GRPCAddr's port.
	PodAddr string `name:"pod-addr" env:"PENSTOCK_POD_ADDR" placeholder:"HOST:PORT" group:"Pods" help:"Where other pods reach this one's gRPC API. Empty: --grpc-addr, or this machine's first address that is not loopback."`
	// PodCA is a PEM file with the authorities of other pods' certificates, where they serve over TLS. Empty takes the machine's own.
	PodCA string `name:"pod-ca" env:"PENSTOCK_POD_CA" placeholder:"FILE" group:"Pods" help:"PEM file with the authorities of other pods' certificates; none is the machine's own."`
	// PodServerName is the name in other pods' certificates. Empty is the host of their address.
	PodServerName string `name:"pod-server-name" env:"PENSTOCK_POD_SERVER_NAME" placeholder:"NAME" group:"Pods" help:"Name in other pods' certificates, where it is not the host of their address."`
	// PodMTLS asks of a pod that forwards a call for a client certificate signed by PodCA, beside the secret. Pods show the one of TLSCert.
	PodMTLS bool `name:"pod-mtls" env:"PENSTOCK_POD_MTLS" group:"Pods" help:"Ask pods for a client certificate of --pod-ca too; they show that of --tls-cert."`

	// SessionGrace is how long a session may be without signalling and media before it ends, where its creator says
	// nothing else. 1 s to 1 h.
	SessionGrace time.Duration `name:"session-grace" env:"PENSTOCK_SESSION_GRACE" range:"1s..1h" default:"30s" placeholder:"DURATION" group:"Sessions" help:"How long a session may be without media before it ends."`
	// WHIPCreate lets a WHIP publisher create the session that it publishes into. Without it the session must have
	// been made by CreateSession.
	WHIPCreate bool `name:"whip-create" env:"PENSTOCK_WHIP_CREATE" default:"true" negatable:"" group:"Sessions" help:"Let a WHIP publisher create the session it publishes into."`
	// WHIPOrigins are the web origins (RFC 6454) whose pages may publish over WHIP. Empty, or "*", is any: nothing
	// relies on cookies, and the token decides. Publishers that are not web pages are not concerned.
	WHIPOrigins []string `name:"whip-origins" env:"PENSTOCK_WHIP_ORIGINS" placeholder:"ORIGIN" group:"Sessions" help:"Web origins whose pages may publish over WHIP, such as https://example.org; none is any."`

	// AnnouncedIPs replace the addresses of host candidates, where this machine is reached by other ones (1:1 NAT).
	AnnouncedIPs []string `name:"ice-announced-ips" env:"PENSTOCK_ICE_ANNOUNCED_IPS" placeholder:"IP" group:"ICE" help:"Addresses to announce in place of this machine's own (1:1 NAT)."`
	// UDPPortMin is the lowest local UDP port of media. 0, with UDPPortMax 0, takes any.
	UDPPortMin uint16 `name:"ice-udp-port-min" env:"PENSTOCK_ICE_UDP_PORT_MIN" default:"0" placeholder:"PORT" group:"ICE" help:"Lowest local UDP port of media; 0 is any."`
	// UDPPortMax is the highest local UDP port of media. One session takes at least one port.
	UDPPortMax uint16 `name:"ice-udp-port-max" env:"PENSTOCK_ICE_UDP_PORT_MAX" default:"0" placeholder:"PORT" group:"ICE" help:"Highest local UDP port of media; 0 is any."`
	// ICELoopback says whether loopback candidates are gathered: on, off, or auto, which is on when the HTTP and gRPC
	// addresses are both loopback.
	ICELoopback string `name:"ice-loopback" env:"PENSTOCK_ICE_LOOPBACK" default:"auto" placeholder:"auto|on|off" group:"ICE" help:"Whether to gather loopback candidates; auto is on when listening on loopback only."`
	// GatherTimeout bounds the gathering of candidates for an answer that must carry them all. 100 ms to 30 s.
	GatherTimeout time.Duration `name:"ice-gather-timeout" env:"PENSTOCK_ICE_GATHER_TIMEOUT" range:"100ms..30s" default:"2s" placeholder:"DURATION" group:"ICE" help:"How long to gather candidates for an answer at most."`

	// UDPMux is the one UDP port of all sessions, opened on each local address; 0 gives each session ports of its own. Where
	// an SFU, too, has one port for all, its sessions take further ports of UDPMuxPorts, or ports of their own.
	UDPMux uint16 `name:"ice-udp-mux" env:"PENSTOCK_ICE_UDP_MUX" default:"0" placeholder:"PORT" group:"ICE" help:"One UDP port for the media of all sessions; 0 gives each its own."`
	// UDPMuxPorts is how many consecutive ports, from UDPMux on, are shared by all sessions. 1 to 64.
	UDPMuxPorts int `name:"ice-udp-mux-ports" env:"PENSTOCK_ICE_UDP_MUX_PORTS" range:"1..64" default:"1" placeholder:"N" group:"ICE" help:"How many consecutive UDP ports are shared in this way; each is read by one goroutine."`
	// TCPMux is the TCP port of all sessions for media over TCP (ICE-TCP, passive); 0 is none.
	TCPMux uint16 `name:"ice-tcp-mux" env:"PENSTOCK_ICE_TCP_MUX" default:"0" placeholder:"PORT" group:"ICE" help:"One TCP port for media of peers that cannot send UDP (ICE-TCP); 0 is none."`
	// TCPMuxConnections is how many connections may be open at TCPMux; more are closed at once. 1 to 1000000.
	TCPMuxConnections int `name:"ice-tcp-mux-connections" env:"PENSTOCK_ICE_TCP_MUX_CONNECTIONS" range:"1..1000000" default:"1024" placeholder:"N" group:"ICE" help:"Connections open at --ice-tcp-mux at one time."`
	// Interfaces are the network interfaces whose addresses are used for media, by name or pattern. Empty is all.
	Interfaces []string `name:"ice-interfaces" env:"PENSTOCK_ICE_INTERFACES" placeholder:"NAME" group:"ICE" help:"Network interfaces to use for media, by name or pattern such as eth*; none is all."`
	// AllowNetworks are the only local addresses that are used for media, as CIDR prefixes. Empty is all.
	AllowNetworks []string `name:"ice-allow-networks" env:"PENSTOCK_ICE_ALLOW_NETWORKS" placeholder:"CIDR" group:"ICE" help:"Local networks to use for media, such as 10.0.0.0/8; none is all."`
	// DenyNetworks are local addresses that are not used for media, as CIDR prefixes. It wins over AllowNetworks.
	DenyNetworks []string `name:"ice-deny-networks" env:"PENSTOCK_ICE_DENY_NETWORKS" placeholder:"CIDR" group:"ICE" help:"Local networks not to use for media; wins over --ice-allow-networks."`
	// IPv6 gathers IPv6 candidates too.
	IPv6 bool `name:"ice-ipv6" env:"PENSTOCK_ICE_IPV6" default:"true" negatable:"" group:"ICE" help:"Use IPv6 for media too."`
	// RefusePrivate refuses remote candidates in networks that are not public (RFC 1918, RFC 6598, link-local, ULA): for
	// gateways whose offerers are not trusted. Metadata services and the gateway's own ports are always refused.
	RefusePrivate bool `name:"ice-refuse-private-candidates" env:"PENSTOCK_ICE_REFUSE_PRIVATE_CANDIDATES" group:"ICE" help:"Refuse remote candidates in networks that are not public; for offerers that are not trusted."`
	// MDNS resolves remote candidates whose address is hidden behind a name under .local, by multicast.
	MDNS bool `name:"ice-mdns" env:"PENSTOCK_ICE_MDNS" group:"ICE" help:"Resolve remote candidates with .local names by multicast DNS."`
	// MuxReceiveBuffer is the receive buffer of each shared UDP port, in bytes; the kernel may grant less
	// (net.core.rmem_max), which is logged. 4 KiB to 1 GiB.
	MuxReceiveBuffer int `name:"ice-udp-mux-receive-buffer" env:"PENSTOCK_ICE_UDP_MUX_RECEIVE_BUFFER" range:"4096..1073741824" default:"4194304" placeholder:"BYTES" group:"ICE" help:"Receive buffer of each shared UDP port; net.core.rmem_max limits it."`
	// ReceiveBuffer is the receive buffer of each UDP port of one session, in bytes. 4 KiB to 1 GiB.
	ReceiveBuffer int `name:"ice-receive-buffer" env:"PENSTOCK_ICE_RECEIVE_BUFFER" range:"4096..1073741824" default:"1048576" placeholder:"BYTES" group:"ICE" help:"Receive buffer of each UDP port of one session."`
	// TURNAuthorities is a PEM file with certificates that TURN servers over TLS are verified by, beside the system's.
	TURNAuthorities string `name:"ice-turn-ca" env:"PENSTOCK_ICE_TURN_CA" placeholder:"FILE" group:"ICE" help:"PEM file with further authorities of TURN servers over TLS."`

	// Limits is embedded, so that its settings stand beside.
	Limits `embed:""`

	// LogLevel is the least severe level that is logged: debug, info, warn or error.
	LogLevel string `name:"log-level" env:"PENSTOCK_LOG_LEVEL" default:"info" placeholder:"debug|info|warn|error" group:"Observing" help:"Least severe level that is logged."`
	// LogFormat is text or json, one record a line, on standard error.
	LogFormat string `name:"log-format" env:"PENSTOCK_LOG_FORMAT" default:"text" placeholder:"text|json" group:"Observing" help:"How log records are written."`
	// OTLPEndpoint is the URL of a collector that takes traces by OTLP over gRPC. Empty leaves tracing off, unless the
	// environment has OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT; the other OTEL_ variables of
	// the OpenTelemetry specification are respected too.
	OTLPEndpoint string `name:"otlp-endpoint" env:"PENSTOCK_OTLP_ENDPOINT" placeholder:"URL" group:"Observing" help:"Collector of traces (OTLP over gRPC), such as http://127.0.0.1:4317. Empty: the OTEL_ environment decides, else off."`
	// TraceSample is the share of traces begun here that is kept, 0 to 1. A trace that a caller began is kept if the caller keeps it, within TraceCallersRate.
	// 1 leaves the share to OTEL_TRACES_SAMPLER, where that is set.
	TraceSample float64 `name:"trace-sample" env:"PENSTOCK_TRACE_SAMPLE" default:"1" placeholder:"SHARE" group:"Observing" help:"Share of traces begun here that is kept, 0 to 1; those of callers are kept if the caller keeps them. 1 leaves it to OTEL_TRACES_SAMPLER, where that is set."`
	// TraceCallersRate is how many traces a second are kept because their callers say so; beyond it TraceSample decides on them too. 0 to 100000.
	TraceCallersRate int `name:"trace-callers-rate" env:"PENSTOCK_TRACE_CALLERS_RATE" range:"0..100000" default:"50" placeholder:"N" group:"Observing" help:"Traces a second that are kept because callers say so; beyond it --trace-sample decides on them too."`

	// EndpointGrace is how long after SIGTERM calls are still taken as before, though nothing new is placed here, while load balancers hear that this process is not
	// ready; so that no preStop hook is needed. Only with RedisURL: a process that is alone has nobody to leave calls to. 0 to 10 min.
	EndpointGrace time.Duration `name:"endpoint-grace" env:"PENSTOCK_ENDPOINT_GRACE" range:"0s..10m" default:"10s" placeholder:"DURATION" group:"Stopping" help:"How long after SIGTERM calls are still taken, while load balancers hear of it; with --redis-url only."`
	// DrainGrace is how long, after EndpointGrace, streams go on that were told of the end, and sessions are handed over to other pods; then what is left is ended. It is
	// shorter when nothing is left. A second signal cuts it short. 0 to 10 min.
	DrainGrace time.Duration `name:"drain-grace" env:"PENSTOCK_DRAIN_GRACE" range:"0s..10m" default:"10s" placeholder:"DURATION" group:"Stopping" help:"How long after that streams go on and sessions are handed over to other pods; a second signal cuts it short."`
	// StopTimeout is how long everything may take to close after DrainGrace, before it is closed by force. 1 s to 10 min.
	StopTimeout time.Duration `name:"stop-timeout" env:"PENSTOCK_STOP_TIMEOUT" range:"1s..10m" default:"10s" placeholder:"DURATION" group:"Stopping" help:"How long closing may take after that."`
}

// Flags is a Config together with the file that it may come from: what commands embed.
type Flags struct {
	// File is a YAML file whose keys are the names of flags, without the dashes in front.
	File string `name:"config" env:"PENSTOCK_CONFIG" placeholder:"FILE" help:"YAML file with the same settings: one 'flag-name: value' a line. Flags and environment win over it."`
	// Config is embedded, so that its flags stand beside.
	Config `embed:""`
}

// Default returns the configuration that no flag, no environment and no file give.
func Default() Config {
	return Config{
		GRPCAddr: "127.0.0.1:50051",
		HTTPAddr: "127.0.0.1:8080",

		TLSMinVersion:    "1.3",
		TLSClientAuth:    "optional",
		TLSClientActions: []string{"signal", "stream"},
		JWTTenantClaim:   "tenant",
		JWTLeeway:        5 * time.Second,
		JWTMaxLifetime:   24 * time.Hour,
		ExpiryWarning:    10 * time.Second,

		RedisTimeout:  time.Second,
		Heartbeat:     time.Second,
		LeaseTTL:      3 * time.Second,
		SessionGrace:  30 * time.Second,
		WHIPCreate:    true,
		ICELoopback:   "auto",
		GatherTimeout: 2 * time.Second,

		UDPMuxPorts:       1,
		TCPMuxConnections: 1024,
		IPv6:              true,
		MuxReceiveBuffer:  4 << 20,
		ReceiveBuffer:     1 << 20,

		Limits:           defaultLimits(),
		LogLevel:         "info",
		LogFormat:        "text",
		TraceSample:      1,
		TraceCallersRate: 50,
		EndpointGrace:    10 * time.Second,
		DrainGrace:       10 * time.Second,
		StopTimeout:      10 * time.Second,
	}
}

// Secret is a value that is never shown: every way of printing it gives "(hidden)". Convert it to a string to use it.
type Secret string

// hidden stands for a secret that is set.
const hidden = "(hidden)"

var _ encoding.TextMarshaler = Secret("")

// String returns "(hidden)", or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the secret from YAML, JSON and slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
