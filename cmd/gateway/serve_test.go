package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
)

// get returns the status and the health that a path answers.
func get(t *testing.T, addr, path string) (int, health) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: hang}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var h health
	if err := json.NewDecoder(resp.Body).Decode(&h); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("%s is %q", path, ct)
	}
	return resp.StatusCode, h
}

func TestServeDrainsOnSIGTERM(t *testing.T) {
	s := startServe(t, nil, "--drain-grace=10m")
	if code, h := get(t, s.http, "/readyz"); code != http.StatusOK || h.Status != "ready" {
		t.Errorf("before: %d %+v", code, h)
	}
	s.create(t, "call") // With nothing left it would end at once.
	s.signal(t)
	s.waitLog(t, "msg=draining")
	awaitStatus(t, s.http, http.StatusServiceUnavailable)
	if code, h := get(t, s.http, "/readyz"); code != http.StatusServiceUnavailable || h.Status != "draining" {
		t.Errorf("while draining: %d %+v", code, h)
	}
	if code, h := get(t, s.http, "/healthz"); code != http.StatusOK || h.Status != "alive" {
		t.Errorf("while draining: %d %+v", code, h)
	}
	got := runBinary(t, nil, "healthcheck", "--http-addr="+s.http)
	if got.code != exitFailed || !strings.Contains(got.err, "draining") {
		t.Errorf("healthcheck while draining: exit %d, %s", got.code, got.err)
	}
	s.signal(t) // the second one hurries: ten minutes would be beyond the hang limit
	<-s.exited
	if s.err != nil {
		t.Errorf("after two signals: %v\n%s", s.err, s.log)
	}
}

// TestP4_SecondSignalIsNotLost sends two signals at once: the second one hurries, however soon it comes after the first.
func TestP4_SecondSignalIsNotLost(t *testing.T) {
	for range 5 {
		s := startServe(t, nil, "--drain-grace=10m")
		s.create(t, "call")
		for _, one := range []os.Signal{syscall.SIGTERM, os.Interrupt} { // of one kind the kernel keeps only one
			if err := s.cmd.Process.Signal(one); err != nil {
				t.Fatal(err)
			}
		}
		<-s.exited
		if s.err != nil {
			t.Errorf("after two signals: %v\n%s", s.err, s.log)
		}
	}
}

// awaitStatus waits until /readyz answers a status: the log tells of draining a moment before it begins.
func awaitStatus(t *testing.T, addr string, want int) {
	t.Helper()
	for limit := time.Now().Add(hang); ; {
		code, _ := get(t, addr, "/readyz")
		if code == want {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("/readyz answers %d, want %d", code, want)
		}
	}
}

func TestServeEndsByItselfAfterTheGrace(t *testing.T) {
	s := startServe(t, nil, "--drain-grace=50ms")
	s.signal(t)
	<-s.exited
	if s.err != nil {
		t.Errorf("after one signal: %v\n%s", s.err, s.log)
	}
	if !strings.Contains(s.log.String(), "msg=stopped") {
		t.Errorf("log:\n%s", s.log)
	}
}

func TestHealthcheck(t *testing.T) {
	s := startServe(t, nil)
	if got := runBinary(t, nil, "healthcheck", "--http-addr="+s.http); got.code != 0 || !strings.Contains(got.out, `"ready"`) {
		t.Errorf("ready: exit %d, %s%s", got.code, got.out, got.err)
	}
	// A proxy of the environment is for what is far away, whatever way the own address is written.
	_, port, _ := net.SplitHostPort(s.http)
	proxy := []string{"HTTP_PROXY=http://127.0.0.1:1", "http_proxy=http://127.0.0.1:1"}
	if got := runBinary(t, proxy, "healthcheck", "--insecure", "--http-addr=0.0.0.0:"+port); got.code != 0 {
		t.Errorf("healthcheck with a proxy: exit %d, %s", got.code, got.err)
	}
	if got := runBinary(t, nil, "healthcheck", "--live", "--http-addr="+s.http); got.code != 0 || !strings.Contains(got.out, `"alive"`) {
		t.Errorf("alive: exit %d, %s%s", got.code, got.out, got.err)
	}
	if got := runBinary(t, nil, "healthcheck", "--http-addr="+s.http, "--health-addr="+deafAddr(t)); got.code != exitFailed || !strings.Contains(got.err, "with this --health-addr") {
		t.Errorf("the other address: exit %d, %s", got.code, got.err)
	}
	if got := runBinary(t, nil, "healthcheck", "--http-addr="+deafAddr(t)); got.code != exitFailed || !strings.Contains(got.err, "is `gateway serve` running") {
		t.Errorf("stopped: exit %d, %s", got.code, got.err)
	}
}

func TestVersion(t *testing.T) {
	if got := runBinary(t, nil, "version"); got.code != 0 || !strings.HasPrefix(got.out, "gateway ") {
		t.Errorf("exit %d, %q", got.code, got.out)
	}
}

// certificate makes a certificate for 127.0.0.1 and returns the paths of it and of its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "penstock test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert = file(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return cert, file(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
}

func TestServeWithTLSAndToken(t *testing.T) {
	cert, key := certificate(t)
	token := file(t, "token", "0123456789abcdef\n")
	security := []string{"--tls-cert=" + cert, "--tls-key=" + key, "--auth-token-file=" + token}
	s := startServe(t, nil, security...)

	got := runBinary(t, nil, "tracks", "--session=x", "--addr="+s.grpc, "--ca="+cert, "--auth-token-file="+token)
	if got.code != exitFailed || !strings.Contains(got.err, "SESSION_NOT_FOUND") {
		t.Errorf("with certificate and token: exit %d, %s", got.code, got.err)
	}
	if got := runBinary(t, nil, "tracks", "--session=x", "--addr="+s.grpc, "--tls"); got.code != exitFailed || !strings.Contains(got.err, "certificate") {
		t.Errorf("with the system's certificates: exit %d, %s", got.code, got.err)
	}
	if got := runBinary(t, nil, append([]string{"healthcheck", "--http-addr=" + s.http}, security...)...); got.code != 0 {
		t.Errorf("healthcheck: exit %d, %s", got.code, got.err)
	}
	otherCert, otherKey := certificate(t)
	if got := runBinary(t, nil, "healthcheck", "--http-addr="+s.http, "--tls-cert="+otherCert, "--tls-key="+otherKey); got.code != exitFailed || !strings.Contains(got.err, "another certificate") {
		t.Errorf("healthcheck with another certificate: exit %d, %s", got.code, got.err)
	}
	if got := runBinary(t, nil, append([]string{"config", "--grpc-addr=0.0.0.0:1"}, security...)...); got.code != 0 {
		t.Errorf("beyond loopback with TLS and token: exit %d, %s", got.code, got.err)
	}
}

func TestNothingAnswers(t *testing.T) {
	got := runBinary(t, nil, "tracks", "--session=x", "--addr="+deafAddr(t))
	if got.code != exitFailed || !strings.Contains(got.err, "start `gateway serve`, or name its address with --addr") {
		t.Errorf("exit %d, %s", got.code, got.err)
	}
}

// deafAddr returns an address at which nothing listens, nor will until the test ends: it is bound.
func deafAddr(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint("127.0.0.1:", at.(*syscall.SockaddrInet4).Port)
}

// output is what a test has logged until it ends: handlers may end later than their server, and then tell nobody.
type output struct {
	mu   sync.Mutex
	to   io.Writer
	over bool
}

// outputOf returns it. It must be asked for before what writes to it is to be closed.
func outputOf(t *testing.T) *output {
	o := &output{to: t.Output()}
	t.Cleanup(func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.over = true
	})
	return o
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return len(b), nil
	}
	return o.to.Write(b)
}

// inProcess starts a gateway in this process, which is closed when the test ends.
func inProcess(t *testing.T, change func(*config.Config)) *gateway {
	t.Helper()
	cfg := config.Default()
	cfg.GRPCAddr, cfg.HTTPAddr, cfg.DrainGrace = "127.0.0.1:0", "127.0.0.1:0", 0
	if change != nil {
		change(&cfg)
	}
	if err := complete(&cfg); err != nil {
		t.Fatal(err)
	}
	g, err := newGateway(t.Context(), cfg, slog.New(slog.NewTextHandler(outputOf(t), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		if err := g.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestSlowHeadersAreCutOff(t *testing.T) {
	g := inProcess(t, nil)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", g.HTTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(10 * httpHeaderTimeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
		t.Fatal(err)
	}
	// The server gives up on the rest, answering or not, rather than waiting for ever.
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Errorf("the connection was not closed: %v", err)
	}
}

func TestSlowBodiesAreBounded(t *testing.T) {
	g := inProcess(t, nil)
	if h := g.http; h.ReadTimeout <= 0 || h.WriteTimeout <= h.ReadTimeout || h.IdleTimeout <= 0 || h.MaxHeaderBytes <= 0 {
		t.Errorf("%+v has a bound missing", h)
	}
}

func TestUnknownPathsAndLargeHeaders(t *testing.T) {
	g := inProcess(t, nil)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", g.HTTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusNotFound {
		t.Fatalf("%v, %v", resp, err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Large: %s\r\n\r\n", strings.Repeat("x", 4*config.Default().MaxHeaderBytes))
	resp, err = http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("large headers: %v, %v", resp, err)
	}
}

func TestGatewayFailsWhenAListenerDies(t *testing.T) {
	g := inProcess(t, nil)
	if err := g.httpListener.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-g.Failed():
		if !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), "HTTP server") {
			t.Errorf("failed with %v", err)
		}
	case <-t.Context().Done():
		t.Fatal("nothing was told")
	}
}

func TestCloseGoesInReverseAndJoinsErrors(t *testing.T) {
	g := &gateway{}
	var order []string
	for _, name := range []string{"first", "second", "third"} {
		g.onClose(name, func(context.Context) error {
			order = append(order, name)
			return fmt.Errorf("%s: %w", name, io.ErrUnexpectedEOF)
		})
	}
	err := g.close(t.Context())
	if strings.Join(order, " ") != "third second first" {
		t.Errorf("closed %v", order)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) || strings.Count(err.Error(), "close ") != 3 {
		t.Errorf("got %v", err)
	}
}

func TestCloseLeavesWhatDoesNotClose(t *testing.T) {
	g := &gateway{}
	stuck, reached := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	g.onClose("behind", func(context.Context) error { close(reached); return nil })
	g.onClose("stuck", func(context.Context) error { cancel(); <-stuck; return nil })
	err := g.close(ctx)
	if !errors.Is(err, errNotClosed) || !strings.Contains(err.Error(), "close stuck") {
		t.Errorf("got %v", err)
	}
	<-reached // all the same
	close(stuck)
}

func TestCloseEndsCallsThatNeverEnd(t *testing.T) {
	cfg := config.Default()
	cfg.GRPCAddr, cfg.HTTPAddr, cfg.DrainGrace, cfg.StopTimeout = "127.0.0.1:0", "127.0.0.1:0", 0, 4*time.Second
	g, err := newGateway(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(g.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	silent, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", g.HTTPAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := io.WriteString(silent, "GET / HTTP/1.1\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	for {
		if _, err := watch.Recv(); err != nil {
			break // it has ended
		}
	}
}

// spanCollector takes traces as an OpenTelemetry collector does.
type spanCollector struct {
	collector.UnimplementedTraceServiceServer
	names chan string
}

// Export implements the collector's service.
func (c *spanCollector) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	for _, r := range req.GetResourceSpans() {
		service := ""
		for _, a := range r.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, s := range r.GetScopeSpans() {
			for _, span := range s.GetSpans() {
				c.names <- service + " " + span.GetName()
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func TestTracesGoToTheCollector(t *testing.T) {
	c := &spanCollector{names: make(chan string, 100)}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, c)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serving(t, server, l)
	t.Setenv("OTEL_SERVICE_NAME", "my-gateway")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
	g := inProcess(t, func(cfg *config.Config) { cfg.OTLPEndpoint = "http://" + l.Addr().String() })
	conn, err := grpc.NewClient(g.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := penstockv1.NewSessionServiceClient(conn).CreateSession(t.Context(), &penstockv1.CreateSessionRequest{SessionId: "s"}); err != nil {
		t.Fatal(err)
	}
	const want = "my-gateway penstock.v1.SessionService/CreateSession"
	for {
		select {
		case name := <-c.names:
			if name == want {
				return
			}
		case <-time.After(hang):
			t.Fatalf("%q did not come", want)
		}
	}
}

// serving has a server serve a listener until the test ends.
func serving(t *testing.T, server *grpc.Server, l net.Listener) {
	t.Helper()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) { // it says so if it had not begun to serve when it was stopped
			t.Error(err)
		}
	})
}
