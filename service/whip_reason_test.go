package service

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/connector/whip"
)

// TestO11_WHIPProblemsHaveReasons makes wrong requests over real HTTP: each gets a problem document whose reason is in the one table.
func TestO11_WHIPProblemsHaveReasons(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Limits = Limits{Sessions: 1, Media: 2} })
	h, err := whip.New(whip.Config{Sessions: g.svc.WHIP(), Logger: g.svc.cfg.Logger, Reason: WHIPReason, MaxBodyBytes: 4096, Authorize: func(r *http.Request, _ string) (context.Context, error) {
		switch r.Header.Get("Authorization") {
		case "none":
			return nil, whip.ErrUnauthorized
		case "other":
			return nil, whip.ErrForbidden
		}
		return r.Context(), nil
	}})
	must(t, err)
	server := httptest.NewServer(h)
	defer server.Close()
	g.call("offered")
	media := "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
	for i, c := range []struct {
		method, path, body, auth string
		status                   int
		reason                   string
	}{
		{"POST", "/whip/none", "v=0", "", 404, "SESSION_NOT_FOUND"},
		{"POST", "/whip/offered", "v=0", "", 409, "SESSION_EXISTS"},
		{"POST", "/whip/offered", "v=0", "none", 401, "UNAUTHENTICATED"},
		{"POST", "/whip/offered", "v=0", "other", 403, "PERMISSION_DENIED"},
		{"POST", "/whip/a%20b", "v=0", "", 400, "INVALID_FIELD"},
		{"POST", "/whip/offered?user=a%20b", "v=0", "", 400, "INVALID_FIELD"},
		{"POST", "/whip/offered", strings.Repeat("x", 5000), "", 413, "LIMIT_REACHED"},
		{"POST", "/whip/offered", media + strings.Repeat("m=audio 9 X 0\r\n", 3), "", 422, "LIMIT_REACHED"},
		{"POST", "/whip/offered", "\xff", "", 400, "INVALID_SDP"},
		{"GET", "/whip/offered", "", "", 405, "UNKNOWN_METHOD"},
		{"POST", "/whip/offered/x/y", "v=0", "", 404, "UNKNOWN_METHOD"},
		{"DELETE", "/whip/offered/x", "", "", 404, "SESSION_NOT_FOUND"},
	} {
		t.Run(fmt.Sprint(i, c.method, c.status), func(t *testing.T) {
			req, err := http.NewRequestWithContext(g.ctx, c.method, server.URL+c.path, strings.NewReader(c.body))
			must(t, err)
			req.Header.Set("Content-Type", "application/sdp")
			req.Header.Set("Authorization", c.auth)
			resp, err := server.Client().Do(req)
			must(t, err)
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			must(t, err)
			var problem struct{ Reason, Detail, Type string }
			must(t, json.Unmarshal(b, &problem))
			if resp.StatusCode != c.status || problem.Reason != c.reason || problem.Detail == "" || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%d %s, want %d %s", resp.StatusCode, b, c.status, c.reason)
			}
			if _, known := penstockv1.ErrorReason_value[reasonPrefix+problem.Reason]; !known {
				t.Errorf("%q is in no table", problem.Reason)
			}
		})
	}
	if reason, wait := WHIPReason(fmt.Errorf("%w: %w", whip.ErrUnavailable, g.svc.limits.refusals.refuse(limitSessions, 1))); reason != "LIMIT_REACHED" || wait != limitTable[limitSessions].retry {
		t.Errorf("a full pod is %s, to be tried again after %v", reason, wait)
	}
}
