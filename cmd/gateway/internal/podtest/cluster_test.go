package podtest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// Times of the pods' leases. They are short, and yet longer than a busy machine lets a process wait.
const (
	heartbeat = 400 * time.Millisecond
	leaseTTL  = 2 * time.Second
)

// podSecret is what pods prove themselves by.
const podSecret = "0123456789abcdef0123456789abcdef"

// cluster is pods on one Redis.
type cluster struct {
	t     *testing.T
	ctx   context.Context // the hang limit of the test
	redis *redisServer
	pods  []*pod
	any   clients // over all pods in turn, as a Service of Kubernetes is: who does not listen is left out
	conn  *grpc.ClientConn
}

// clients are the services of one pod, or of any.
type clients struct {
	sessions penstockv1.SessionServiceClient
	tracks   penstockv1.TrackServiceClient
	health   healthpb.HealthClient
}

func newClients(conn *grpc.ClientConn) clients {
	return clients{penstockv1.NewSessionServiceClient(conn), penstockv1.NewTrackServiceClient(conn), healthpb.NewHealthClient(conn)}
}

// pod is one `gateway serve`.
type pod struct {
	*process
	clients
	grpc, http string
	redis      *proxy // between it and Redis
	args       []string
	env        []string // beside it
}

// startCluster starts a Redis and so many pods, all with the same further arguments.
func startCluster(t *testing.T, pods int, args ...string) *cluster {
	t.Helper()
	return startClusterOf(t, pods, func(*pod) []string { return args })
}

// startClusterOf starts a Redis and so many pods, each with further arguments of its own.
func startClusterOf(t *testing.T, pods int, args func(*pod) []string) *cluster {
	t.Helper()
	c := newCluster(t)
	c.start(pods, args)
	return c
}

// newCluster starts a Redis that pods are to be on.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	_, err := binary() // the first test that asks builds it, which on a busy machine may take longer than any test
	must(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	t.Cleanup(cancel)
	return &cluster{t: t, ctx: ctx, redis: startRedis(ctx, t)}
}

// start starts so many pods.
func (c *cluster) start(pods int, args func(*pod) []string) {
	c.t.Helper()
	for i := range pods {
		p := c.newPod(i)
		p.args = args(p)
		c.pods = append(c.pods, p)
	}
	for _, p := range c.pods {
		c.serve(p)
	}
	c.dialAny()
}

// newPod readies a pod that is not started.
func (c *cluster) newPod(i int) *pod {
	c.t.Helper()
	p := &pod{grpc: freeAddr(c.t), http: freeAddr(c.t), redis: startProxy(c.t, fmt.Sprint("redis of pod ", i), c.redis.addr)}
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()), impatient())
	must(c.t, err)
	c.t.Cleanup(func() { must(c.t, conn.Close()) })
	p.clients = newClients(conn)
	p.process = &process{name: fmt.Sprint("pod ", i)}
	return p
}

// impatient has a client try again soon after a pod was away.
func impatient() grpc.DialOption {
	return grpc.WithConnectParams(grpc.ConnectParams{Backoff: retryDelays, MinConnectTimeout: 5 * time.Second})
}

// serve starts a pod, or starts it again at the same addresses, and waits until it is ready.
func (c *cluster) serve(p *pod) {
	c.t.Helper()
	path, err := binary()
	must(c.t, err)
	p.process = startProcess(c.t, p.name, path, append([]string{"PENSTOCK_POD_SECRET=" + podSecret}, p.env...), append([]string{
		"serve", "--caller-rate=0", "--grpc-addr=" + p.grpc, "--http-addr=" + p.http, "--redis-url=redis://" + p.redis.addr(),
		"--heartbeat=" + heartbeat.String(), "--lease-ttl=" + leaseTTL.String(),
		"--decode-workers=8", // no picture waits for a worker, however busy the machine
	}, p.args...)...)
	p.waitLog(c.ctx, "gateway serves gRPC on ")
}

// dialAny dials all pods as one service.
func (c *cluster) dialAny() {
	c.t.Helper()
	r := manual.NewBuilderWithScheme("pods")
	var all []resolver.Endpoint
	for _, p := range c.pods {
		all = append(all, resolver.Endpoint{Addresses: []resolver.Address{{Addr: p.grpc}}})
	}
	r.InitialState(resolver.State{Endpoints: all})
	var err error
	c.conn, err = grpc.NewClient("pods:///", grpc.WithResolvers(r), grpc.WithTransportCredentials(insecure.NewCredentials()), impatient(),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))
	must(c.t, err)
	c.t.Cleanup(func() { must(c.t, c.conn.Close()) })
	c.any = newClients(c.conn)
}

// session reads a session at a pod.
func (c *cluster) session(at clients, id string) *penstockv1.Session {
	c.t.Helper()
	r, err := at.sessions.GetSession(c.ctx, &penstockv1.GetSessionRequest{SessionId: id})
	must(c.t, err)
	return r.GetSession()
}

// create makes a session by way of a pod.
func (c *cluster) create(at clients, id string) *penstockv1.Session {
	c.t.Helper()
	r, err := at.sessions.CreateSession(c.ctx, &penstockv1.CreateSessionRequest{SessionId: id})
	must(c.t, err)
	return r.GetSession()
}

// incarnation is how a pod names itself in the sessions that it owns. It is in its log.
func (p *pod) incarnation(ctx context.Context) string {
	p.t.Helper()
	return attribute(p.waitLog(ctx, "msg=serving"), "msg=serving", "incarnation")
}

// createAt makes sessions until the pod owns one, whose id it returns: placement is the pods' own affair.
func (c *cluster) createAt(p *pod, prefix string) string {
	c.t.Helper()
	for i := 0; ; i++ {
		id := fmt.Sprint(prefix, "-", i)
		if c.create(p.clients, id).GetOwner() == p.incarnation(c.ctx) {
			return id
		}
		_, err := p.sessions.DeleteSession(c.ctx, &penstockv1.DeleteSessionRequest{SessionId: id})
		must(c.t, err)
		must(c.t, c.ctx.Err())
	}
}

// health is the body of /readyz and /healthz.
type health struct {
	Status string `json:"status"`
	Store  string `json:"store"`
}

// get asks a pod for its health; code 0 is no answer.
func (p *pod) get(ctx context.Context, path string) (code int, h health) {
	p.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.http+path, nil)
	must(p.t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) {
		return 0, health{}
	}
	must(p.t, err)
	defer func() { _ = response.Body.Close() }()
	must(p.t, json.NewDecoder(response.Body).Decode(&h))
	return response.StatusCode, h
}

// storeHealth is what gRPC health tells of the store.
func (p *pod) storeHealth(ctx context.Context) healthpb.HealthCheckResponse_ServingStatus {
	p.t.Helper()
	r, err := p.health.Check(ctx, &healthpb.HealthCheckRequest{Service: "penstock.store"})
	must(p.t, err)
	return r.GetStatus()
}

// metric is one figure of /metrics, or, of one with labels, the sum.
func (p *pod) metric(ctx context.Context, name string) (value int) {
	p.t.Helper()
	found := false
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.http+"/metrics", nil)
	must(p.t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	must(p.t, err)
	defer func() { _ = response.Body.Close() }()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		after, ok := strings.CutPrefix(lines.Text(), name)
		if labels := strings.LastIndexByte(after, '}'); ok && strings.HasPrefix(after, "{") && labels > 0 {
			after = after[labels+1:]
		}
		if ok && strings.HasPrefix(after, " ") {
			found = true
			value += atoi(p.t, after[1:])
		}
	}
	if !found {
		p.t.Fatalf("%s has no figure %s", p.name, name)
	}
	return value
}

// wantStatus checks a status and its ErrorInfo.
func wantStatus(t *testing.T, what string, err error, code codes.Code, reason string) {
	t.Helper()
	if got := reasonOf(err); status.Code(err) != code || got != reason {
		t.Errorf("%s: %v (%s), want %v %s", what, err, got, code, reason)
	}
}

// reasonOf returns the reason of an error of a pod.
func reasonOf(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// hasRetryInfo tells whether an error says when to try again.
func hasRetryInfo(err error) bool {
	for _, d := range status.Convert(err).Details() {
		if _, ok := d.(*errdetails.RetryInfo); ok {
			return true
		}
	}
	return false
}
