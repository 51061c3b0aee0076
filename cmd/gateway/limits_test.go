package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
)

// TestO4_WHIPRequestsHaveARate: requests that are too many get 429 with Retry-After and a problem document; /healthz is answered all the time, and the metric counts.
func TestO4_WHIPRequestsHaveARate(t *testing.T) {
	g := inProcess(t, func(c *config.Config) { c.WHIPRate, c.WHIPBurst = 1, 5 })
	refused := 0
	for range 30 {
		code, header, body := fetch(t, "http://"+g.HTTPAddr()+"/whip/x")
		switch code {
		case http.StatusMethodNotAllowed: // it is no publication
		case http.StatusTooManyRequests:
			refused++
			var problem struct {
				Status                        int
				Type, Detail, Reason, Setting string
			}
			err := json.Unmarshal([]byte(body), &problem)
			if err != nil || header.Get("Retry-After") == "" || header.Get("Content-Type") != "application/problem+json" ||
				problem.Status != code || problem.Reason != "LIMIT_REACHED" || problem.Setting != "whip-rate" || problem.Detail == "" {
				t.Fatalf("%v %s %v", header, body, err)
			}
		default:
			t.Fatalf("%d %s", code, body)
		}
		if code, _ := get(t, g.HTTPAddr(), "/healthz"); code != http.StatusOK {
			t.Fatalf("/healthz answers %d", code)
		}
	}
	if n := g.service.Stats().Refused["whip_rate"]; refused == 0 || n != uint64(refused) {
		t.Errorf("%d were refused, %d counted", refused, n)
	}
}

// TestO4_ManyConnections: one address that opens connections without end is kept to its share, on both listeners; another address is served, and what is closed makes
// room.
func TestO4_ManyConnections(t *testing.T) {
	g := inProcess(t, func(c *config.Config) { c.MaxConnections, c.MaxConnectionsPerAddress = 20, 5 })
	for name, addr := range map[string]string{"gRPC": g.GRPCAddr(), "HTTP": g.HTTPAddr()} {
		var open []net.Conn
		closed := 0
		for range 50 {
			c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			open = append(open, c)
		}
		for _, c := range open[5:] { // the refused are closed at once, the others are waited for
			if err := c.SetReadDeadline(time.Now().Add(hang)); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(make([]byte, 1)); err != nil && n == 0 {
				closed++
			}
		}
		if closed != 45 {
			t.Errorf("%s: %d of 45 were closed", name, closed)
		}
		serveOther(t, g)
	}
	if grpc, web := g.grpcListener.Stats(), g.httpListener.Stats(); grpc.RefusedByAddr < 45 || web.RefusedByAddr < 45 || grpc.RefusedTotal+web.RefusedTotal != 0 {
		t.Errorf("%+v %+v", grpc, web)
	}
	_, _, metrics := fetchFrom(t, "127.0.0.2", "http://"+g.HTTPAddr()+"/metrics")
	if !strings.Contains(metrics, `limit="grpc_address_connections"`) || !strings.Contains(metrics, `penstock_connections{`) {
		t.Errorf("no metric tells:\n%s", metrics)
	}
}

// TestO4_ProbesHaveRoomOfTheirOwn: who holds all connections where publishers come keeps no probe from its answer at --health-addr, nor do strangers who reach that, from however many addresses; and
// nothing else is served there.
func TestO4_ProbesHaveRoomOfTheirOwn(t *testing.T) {
	g := inProcess(t, func(c *config.Config) {
		c.MaxConnections, c.MaxConnectionsPerAddress, c.HealthAddr = 10, 0, "127.0.0.1:0"
	})
	for _, held := range []struct {
		addr, from string
		n          int
	}{{g.HTTPAddr(), "127.0.0.2", 10}, {g.HealthAddr(), "127.0.0.2", 50}, {g.HealthAddr(), "127.0.0.3", 16}, {g.HealthAddr(), "127.0.0.4", 16}, {g.HealthAddr(), "127.0.0.5", 16}} {
		for range held.n {
			c, err := from(held.from)(t.Context(), held.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
	}
	client := &http.Client{Timeout: hang, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.HTTPAddr()+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := client.Do(r); err == nil {
		_ = a.Body.Close()
		t.Errorf("there is room for an 11th connection: %s", a.Status)
	}
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusOK, "/whip/x": http.StatusNotFound, "/metrics": http.StatusNotFound} {
		if code, _, body := fetch(t, "http://"+g.HealthAddr()+path); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	r, err = http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.HealthAddr()+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	keep := &http.Client{Timeout: hang, Transport: &http.Transport{}}
	if a, err := keep.Do(r); err != nil || !a.Close {
		t.Errorf("a connection is kept: %v", err)
	} else {
		_ = a.Body.Close()
	}
	for end := time.Now().Add(hang); g.aside["health"].Stats().RefusedByAddr == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("one address has %+v", g.aside["health"].Stats())
		}
	}
	if code, _, body := fetchFrom(t, "127.0.0.6", "http://"+g.HealthAddr()+"/readyz"); code != http.StatusOK || !strings.Contains(body, `"ready"`) {
		t.Errorf("from another address: %d %s", code, body)
	}
}

// from dials from an address of loopback.
func from(address string) func(ctx context.Context, to string) (net.Conn, error) {
	return func(ctx context.Context, to string) (net.Conn, error) {
		return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).DialContext(ctx, "tcp", to)
	}
}

// fetchFrom asks from another address.
func fetchFrom(t *testing.T, address, url string) (int, http.Header, string) {
	t.Helper()
	client := &http.Client{Timeout: hang, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, to string) (net.Conn, error) {
		return from(address)(ctx, to)
	}}}
	return fetchBy(t, client, url)
}

// serveOther makes a call and a request from another address.
func serveOther(t *testing.T, g *gateway) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+g.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(from("127.0.0.2")))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := penstockv1.NewSessionServiceClient(conn).ListSessions(t.Context(), &penstockv1.ListSessionsRequest{}); err != nil {
		t.Errorf("another address: %v", err)
	}
	if code, _, body := fetchFrom(t, "127.0.0.2", "http://"+g.HTTPAddr()+"/healthz"); code != http.StatusOK {
		t.Errorf("another address: %d %s", code, body)
	}
}
