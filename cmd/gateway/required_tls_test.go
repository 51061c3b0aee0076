package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// asks makes a request of HTTP, and returns its status and its body; an error, where there is no connection.
func asks(ctx context.Context, t *testing.T, by *tls.Config, method, url string) (int, string, error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: by.Clone()}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader("v=0\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", map[string]string{http.MethodPost: "application/sdp", http.MethodPatch: "application/trickle-ice-sdpfrag"}[method])
	r.Header.Set("If-Match", `"x"`)
	got, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return 0, "", err
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got.StatusCode, string(body), nil
}

// TestO3_CertificatesAreRequired: where each caller must show a certificate, who shows none is refused on every call and on WHIP, and who shows one that is over, or that another authority has signed, gets no
// connection. Probes, which show none, are answered over HTTP, as the chart has them ask, over gRPC, and by `gateway healthcheck`. Who shows the right one may do what its units say, or what is set where it
// has none, in its organization's tenant; another's session answers as one that is not there.
func TestO3_CertificatesAreRequired(t *testing.T) {
	cert, key := certificate(t)
	pem, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	ours, theirs := newCallersAuthority(t), newCallersAuthority(t)
	late := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: []tls.Certificate{ours.sign(t, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "anna", Organization: []string{"acme"}, OrganizationalUnit: []string{"signal", "stream", "admin"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotAfter: time.Now().Add(-time.Minute),
	})}}
	security := []string{"--tls-cert=" + cert, "--tls-key=" + key, "--tls-client-ca=" + ours.file, "--tls-client-auth=required", "--tls-client-actions=stream"}
	s := startServe(t, nil, security...)
	r := &required{t: t, s: s}
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithTimeout(t.Context(), hang)
	defer cancel()

	acme, nobody := ours.caller(t, roots, "acme", "signal", "admin"), ours.caller(t, roots, "")
	if _, err := r.sessions(acme).CreateSession(r.ctx, &penstockv1.CreateSessionRequest{SessionId: "call"}); err != nil {
		t.Fatal(err)
	}
	r.refused(nobody, map[string]*tls.Config{"over": late, "of another authority": theirs.caller(t, roots, "acme", "signal", "stream", "admin")})
	r.may("signal and admin", acme, "OK", "OK", "PermissionDenied")
	r.may("stream", ours.caller(t, roots, "acme", "stream"), "OK", "PermissionDenied", "OK")
	r.may("what is set", ours.caller(t, roots, "acme"), "OK", "PermissionDenied", "OK")
	r.may("no action that there is", ours.caller(t, roots, "acme", "fly"), "PermissionDenied", "PermissionDenied", "PermissionDenied")
	r.foreign(ours.caller(t, roots, "zeta", "signal", "stream", "admin"))
	r.may("its own, which is still there", acme, "OK", "OK", "PermissionDenied")

	r.probed(&tls.Config{InsecureSkipVerify: true}) //nolint:gosec // as a kubelet does, which has no certificate either
	for _, live := range []string{"", "--live"} {
		args := append([]string{"healthcheck", "--http-addr=" + s.http}, security...)
		if got := runBinary(t, nil, append(args, strings.Fields(live)...)...); got.code != 0 {
			t.Errorf("healthcheck %s: exit %d, %s", live, got.code, got.err)
		}
	}
}

// required asks a gateway that requires certificates.
type required struct {
	t   *testing.T
	s   *served
	ctx context.Context //nolint:containedctx // of one test
}

func (r *required) dial(by *tls.Config) *grpc.ClientConn {
	r.t.Helper()
	conn, err := grpc.NewClient(r.s.grpc, grpc.WithTransportCredentials(credentials.NewTLS(by.Clone())))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (r *required) sessions(by *tls.Config) penstockv1.SessionServiceClient {
	r.t.Helper()
	return penstockv1.NewSessionServiceClient(r.dial(by))
}

// refused asks as who shows no certificate, and as those who get no connection.
func (r *required) refused(nobody *tls.Config, strangers map[string]*tls.Config) {
	r.t.Helper()
	get := &penstockv1.GetSessionRequest{SessionId: "call"}
	if _, err := r.sessions(nobody).GetSession(r.ctx, get); status.Code(err) != codes.Unauthenticated {
		r.t.Errorf("a call without a certificate: %v", err)
	}
	stream, err := penstockv1.NewTrackServiceClient(r.dial(nobody)).WatchTracks(r.ctx, &penstockv1.WatchTracksRequest{SessionId: "call"})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.Unauthenticated {
		r.t.Errorf("a stream without a certificate: %v", err)
	}
	for _, method := range []string{http.MethodPost, http.MethodPatch, http.MethodDelete} {
		if code, body, err := asks(r.ctx, r.t, nobody, method, "https://"+r.s.http+"/whip/call"+map[bool]string{true: "", false: "/x"}[method == http.MethodPost]); err != nil || code != http.StatusUnauthorized {
			r.t.Errorf("%s of WHIP without a certificate: %d, %v, %s", method, code, err, body)
		}
	}
	for name, by := range strangers {
		if _, err := r.sessions(by).GetSession(r.ctx, get); status.Code(err) != codes.Unavailable {
			r.t.Errorf("a certificate that is %s: %v", name, err)
		}
		if code, _, err := asks(r.ctx, r.t, by, http.MethodGet, "https://"+r.s.http+"/healthz"); err == nil {
			r.t.Errorf("a certificate that is %s: %d over HTTP", name, code)
		}
	}
}

// may compares what somebody gets who asks for a session, which any action allows, for a list of them, and for tracks.
func (r *required) may(name string, by *tls.Config, get, list, tracks string) {
	r.t.Helper()
	conn := r.dial(by)
	_, one := penstockv1.NewSessionServiceClient(conn).GetSession(r.ctx, &penstockv1.GetSessionRequest{SessionId: "call"})
	_, all := penstockv1.NewSessionServiceClient(conn).ListSessions(r.ctx, &penstockv1.ListSessionsRequest{})
	_, resolved := penstockv1.NewTrackServiceClient(conn).ResolveTrack(r.ctx, &penstockv1.ResolveTrackRequest{SessionId: "call", Selector: &penstockv1.TrackSelector{
		Selector: &penstockv1.TrackSelector_TrackId{TrackId: "t-none"},
	}})
	if status.Code(resolved) == codes.NotFound { // It may ask; there is no such track.
		resolved = nil
	}
	for _, x := range []struct {
		call, want string
		err        error
	}{{"GetSession", get, one}, {"ListSessions", list, all}, {"ResolveTrack", tracks, resolved}} {
		if got := status.Code(x.err).String(); got != x.want {
			r.t.Errorf("%s, %s: %v, want %s", name, x.call, x.err, x.want)
		}
	}
}

// foreign compares what somebody of another tenant is told of a session that there is, and of one that there is not.
func (r *required) foreign(by *tls.Config) {
	r.t.Helper()
	told := func(id string) (all []string) {
		conn := r.dial(by)
		sessions, tracks := penstockv1.NewSessionServiceClient(conn), penstockv1.NewTrackServiceClient(conn)
		_, got := sessions.GetSession(r.ctx, &penstockv1.GetSessionRequest{SessionId: id})
		_, deleted := sessions.DeleteSession(r.ctx, &penstockv1.DeleteSessionRequest{SessionId: id})
		_, listed := tracks.ListTracks(r.ctx, &penstockv1.ListTracksRequest{SessionId: id})
		for _, err := range []error{got, deleted, listed} {
			all = append(all, status.Convert(err).Proto().String())
		}
		for _, method := range []string{http.MethodPatch, http.MethodDelete} {
			code, body, err := asks(r.ctx, r.t, by, method, "https://"+r.s.http+"/whip/"+id+"/x")
			all = append(all, fmt.Sprint(code, body, err))
		}
		if status.Code(got) != codes.NotFound {
			r.t.Errorf("%s: %v", id, got)
		}
		return all
	}
	if foreign, absent := told("call"), told("nope"); !slices.Equal(foreign, absent) {
		r.t.Errorf("%q of another tenant's, %q of nobody's", foreign, absent)
	}
}

// probed asks as probes do.
func (r *required) probed(by *tls.Config) {
	r.t.Helper()
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, body, err := asks(r.ctx, r.t, by, http.MethodGet, "https://"+r.s.http+path); err != nil || code != http.StatusOK {
			r.t.Errorf("%s: %d, %v, %s", path, code, err, body)
		}
	}
	got, err := healthpb.NewHealthClient(r.dial(by)).Check(r.ctx, &healthpb.HealthCheckRequest{})
	if err != nil || got.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		r.t.Errorf("health over gRPC: %v, %v", got, err)
	}
}
