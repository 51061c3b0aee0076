package service

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	podv1 "github.com/penstock-media/penstock/api/penstock/pod/v1"
	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/service/internal/identity"
)

// signingSecret signs the tests' tokens.
var signingSecret = []byte(strings.Repeat("tests sign by it", 2))

// withJWT lets a gateway know callers by tokens of signingSecret.
func withJWT(c *Config) {
	c.JWT = &JWTConfig{Secrets: [][]byte{signingSecret}, Issuer: "issuer", Audiences: []string{"penstock"}}
}

// claimed returns a token that is good for an hour, of claims that are changed.
func claimed(t testing.TB, tenant string, change ...func(jwt.MapClaims)) string {
	t.Helper()
	c := jwt.MapClaims{"sub": "anna", "tenant": tenant, "actions": "signal stream admin", "iss": "issuer", "aud": "penstock", "exp": time.Now().Add(time.Hour).Unix()}
	for _, f := range change {
		f(c)
	}
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(signingSecret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// claim sets one.
func claim(name string, v any) func(jwt.MapClaims) { return func(c jwt.MapClaims) { c[name] = v } }

// bearerToken is a token of each call.
type bearerToken string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearerToken) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if b == "" {
		return nil, nil
	}
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (bearerToken) RequireTransportSecurity() bool { return false }

// as returns a gateway's clients of a caller with a token, on a connection that ends with the test.
func (g *gateway) as(token string) *gateway {
	g.t.Helper()
	out := *g
	out.conn = g.dial(grpc.WithPerRPCCredentials(bearerToken(token)))
	g.t.Cleanup(func() { must(g.t, out.conn.Close()) })
	out.sessions, out.tracks = penstockv1.NewSessionServiceClient(out.conn), penstockv1.NewTrackServiceClient(out.conn)
	return &out
}

// rpc is a method that a gateway serves.
type rpc struct {
	name  string
	input protoreflect.MessageDescriptor
}

// rpcsOf returns all that a gateway serves, as it says itself.
func rpcsOf(t *testing.T, g *gateway) []rpc {
	t.Helper()
	var all []rpc
	for service, info := range g.server.GetServiceInfo() {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
		must(t, err)
		for _, m := range info.Methods {
			input := d.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(m.Name)).Input()
			all = append(all, rpc{"/" + service + "/" + m.Name, input})
		}
	}
	if len(all) < 20 {
		t.Fatalf("only %d methods are found", len(all))
	}
	return all
}

// request returns one about a session.
func (m rpc) request(session string) proto.Message {
	r := dynamicpb.NewMessage(m.input)
	in := r.ProtoReflect()
	if open := m.input.Fields().ByName("open"); open != nil {
		in = in.Mutable(open).Message()
	}
	if f := in.Descriptor().Fields().ByName("session_id"); f != nil {
		in.Set(f, protoreflect.ValueOfString(session))
	}
	return r
}

// call makes a call, and returns its status: of a stream, by its first answer.
func (m rpc) call(ctx context.Context, conn *grpc.ClientConn, request proto.Message) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, m.name)
	if err != nil {
		return err
	}
	if err := s.SendMsg(request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	_ = s.CloseSend() // what is wrong RecvMsg tells
	err = s.RecvMsg(&healthpb.HealthCheckRequest{})
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// TestO3_EveryMethodIsInTheTable: what a call asks of its caller is written down for each that is served, and for nothing else. One that is not is
// refused to everybody.
func TestO3_EveryMethodIsInTheTable(t *testing.T) {
	g := startGateway(t)
	left := permissions()
	for _, m := range rpcsOf(t, g) {
		if _, ok := left[m.name]; !ok {
			t.Errorf("%s is in no table: say what it asks of its caller", m.name)
		}
		delete(left, m.name)
	}
	for name := range left {
		t.Errorf("%s is not served", name)
	}
	delete(g.svc.permissions, penstockv1.SessionService_GetSession_FullMethodName)
	_, err := g.sessions.GetSession(g.ctx, &penstockv1.GetSessionRequest{SessionId: "x"})
	wantStatus(t, err, codes.Unimplemented, "UNKNOWN_METHOD")
}

// badTokens returns tokens that nobody is known by.
func badTokens(t *testing.T) map[string]string {
	now := time.Now()
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"exp": now.Add(time.Hour).Unix(), "iss": "issuer", "aud": "penstock", "actions": "signal stream admin"}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	must(t, err)
	good := claimed(t, "acme")
	return map[string]string{
		"none": "", "expired": claimed(t, "acme", claim("exp", now.Add(-time.Minute).Unix())), "not yet valid": claimed(t, "acme", claim("nbf", now.Add(30*time.Minute).Unix())),
		"wrong audience": claimed(t, "acme", claim("aud", "else")), "wrong issuer": claimed(t, "acme", claim("iss", "else")), "wrong signature": good[:len(good)-8] + "AAAAAAAA",
		"alg none": none, "no exp": claimed(t, "acme", func(c jwt.MapClaims) { delete(c, "exp") }), "garbage": "x.y.z",
		"algorithm of a key that there is not": strings.Replace(good, strings.SplitN(good, ".", 2)[0], "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ", 1),
		"oversize":                             claimed(t, "acme", claim("fill", strings.Repeat("x", 9000))), "hostile tenant": claimed(t, "a/b"),
	}
}

// TestO3_DeniedIsDeniedOnEveryCall: without credentials that are good, or with good ones that do not allow it, each call of each service is refused the same, with a reason, before
// anything else of it is looked at. Health asks for none.
func TestO3_DeniedIsDeniedOnEveryCall(t *testing.T) {
	g := startGateway(t, withJWT)
	owner := g.as(claimed(t, "acme"))
	owner.create("call")
	table, all := permissions(), rpcsOf(t, g)
	for name, token := range badTokens(t) {
		conn := g.as(token).conn
		for _, m := range all {
			err := m.call(g.ctx, conn, m.request("call"))
			switch p := table[m.name]; {
			case p.open:
				if code := status.Code(err); code == codes.Unauthenticated || code == codes.PermissionDenied {
					t.Errorf("%s by %s: %v", m.name, name, err)
				}
			case p.pods:
				wantStatus(t, err, codes.PermissionDenied, "FORWARD_REFUSED")
			case name == "expired":
				wantStatus(t, err, codes.Unauthenticated, "CREDENTIALS_EXPIRED")
			default:
				wantStatus(t, err, codes.Unauthenticated, "UNAUTHENTICATED")
			}
		}
	}
	denied := 0
	for name, token := range map[string]string{
		"no action": claimed(t, "acme", claim("actions", "")), "signal": claimed(t, "acme", claim("actions", "signal")), "stream": claimed(t, "acme", claim("actions", "stream")),
		"admin": claimed(t, "acme", claim("actions", "admin")), "other sessions": claimed(t, "acme", claim("sessions", []string{"room-*", "cal"})),
	} {
		conn := g.as(token).conn
		for _, m := range all {
			p, request := table[m.name], m.request("call")
			_, about := sessionField(request)
			allowed := p.open || p.actions == 0 || name == "other sessions" || strings.Contains(p.actions.String(), name)
			if name == "other sessions" && about {
				allowed = false
			}
			if p.pods || allowed {
				if err := m.call(g.ctx, conn, request); !p.pods && status.Code(err) == codes.PermissionDenied {
					t.Errorf("%s by %s: %v", m.name, name, err)
				}
				continue
			}
			denied++
			wantStatus(t, m.call(g.ctx, conn, request), codes.PermissionDenied, "PERMISSION_DENIED")
		}
	}
	if denied < 30 || g.svc.AuthStats().Forbidden != uint64(denied) {
		t.Errorf("%d calls were to be denied, %d are counted", denied, g.svc.AuthStats().Forbidden)
	}
	if _, err := owner.sessions.GetSession(g.ctx, &penstockv1.GetSessionRequest{SessionId: "call"}); err != nil {
		t.Errorf("the session is not as it was: %v", err)
	}
	wantRefused(t, g)
}

// wantRefused checks that refusals are counted by their reasons.
func wantRefused(t *testing.T, g *gateway) {
	t.Helper()
	refused := g.svc.AuthStats().Refused
	for _, reason := range []string{"none", "expired", "not_yet", "audience", "issuer", "signature", "algorithm", "claims", "malformed", "too_large"} {
		if refused[reason] == 0 {
			t.Errorf("nothing is counted under %s: %v", reason, refused)
		}
	}
}

// sessionField returns the session that a dynamic request names, and whether it can name one.
func sessionField(m proto.Message) (string, bool) {
	in := m.ProtoReflect()
	if open := in.Descriptor().Fields().ByName("open"); open != nil {
		in = in.Get(open).Message()
	}
	f := in.Descriptor().Fields().ByName("session_id")
	if f == nil {
		return "", false
	}
	return in.Get(f).String(), true
}

// TestO3_DeniedIsDeniedOnWHIP: a publisher without good credentials gets 401 and is told how to show some, one whose do not allow it 403, on each method; OPTIONS tells
// no more than what is served.
func TestO3_DeniedIsDeniedOnWHIP(t *testing.T) {
	pods := startSteadyPods(t, 2, withJWT)
	owner := pods[0].as(claimed(t, "acme"))
	owner.create("call")
	for _, p := range pods { // the owner, and one that would hand it on
		url := p.whipOfPod()
		for _, method := range []string{http.MethodPost, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
			path := url + "call"
			if method == http.MethodPatch || method == http.MethodDelete {
				path += "/resource"
			}
			for name, token := range badTokens(t) {
				wantWHIP(t, p, method, path, token, name, http.StatusUnauthorized)
			}
			wantWHIP(t, p, method, path, claimed(t, "acme", claim("actions", "stream admin")), "no signal", http.StatusForbidden)
			wantWHIP(t, p, method, path, claimed(t, "acme", claim("sessions", "room-*")), "other sessions", http.StatusForbidden)
		}
	}
}

// wantWHIP makes a request that is to be refused, unless it is OPTIONS.
func wantWHIP(t *testing.T, p *pod, method, url, token, name string, want int) {
	t.Helper()
	r, err := http.NewRequestWithContext(p.ctx, method, url, strings.NewReader("v=0\r\n"))
	must(t, err)
	r.Header.Set("Content-Type", "application/sdp")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	a, err := http.DefaultClient.Do(r)
	must(t, err)
	defer a.Body.Close()
	body, err := io.ReadAll(a.Body)
	must(t, err)
	if method == http.MethodOptions {
		if a.StatusCode != http.StatusNoContent || len(body) != 0 {
			t.Errorf("OPTIONS by %s: %s %q", name, a.Status, body)
		}
		return
	}
	if a.StatusCode != want || a.Header.Get("Content-Type") != "application/problem+json" || (want == http.StatusUnauthorized) != strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Bearer") {
		t.Errorf("%s by %s: %s, %v, %s", method, name, a.Status, a.Header, body)
	}
	if token != "" && strings.Contains(string(body), token) {
		t.Errorf("%s by %s: the answer tells the token", method, name)
	}
}

// TestO3_AllowedIsAllowed: a token for some sessions does all with those, sees only those in lists, and no id can be made up for it.
func TestO3_AllowedIsAllowed(t *testing.T) {
	g := startGateway(t, withJWT)
	all, some := g.as(claimed(t, "acme")), g.as(claimed(t, "acme", claim("sessions", "room-*")))
	all.create("other")
	some.create("room-1")
	list, err := some.sessions.ListSessions(g.ctx, &penstockv1.ListSessionsRequest{})
	must(t, err)
	if s := list.GetSessions(); len(s) != 1 || s[0].GetSessionId() != "room-1" {
		t.Errorf("listed are %v", s)
	}
	all.create("zzz")
	pages, err := some.sessions.ListSessions(g.ctx, &penstockv1.ListSessionsRequest{PageSize: 1})
	must(t, err)
	told, err := base64.RawURLEncoding.DecodeString(pages.GetNextPageToken())
	must(t, err)
	if len(pages.GetSessions()) != 0 || len(told) == 0 || strings.Contains(string(told), "other") {
		t.Errorf("a page of a session that is not for it tells %q", told)
	}
	next, err := some.sessions.ListSessions(g.ctx, &penstockv1.ListSessionsRequest{PageSize: 1, PageToken: pages.GetNextPageToken()})
	must(t, err)
	if s := next.GetSessions(); len(s) != 1 || s[0].GetSessionId() != "room-1" {
		t.Errorf("on the next page are %v", s)
	}
	_, err = some.sessions.CreateSession(g.ctx, &penstockv1.CreateSessionRequest{})
	wantStatus(t, err, codes.PermissionDenied, "PERMISSION_DENIED")
	_, err = some.sessions.DeleteSession(g.ctx, &penstockv1.DeleteSessionRequest{SessionId: "room-1"})
	must(t, err)
	if _, err := reflectionv1.NewServerReflectionClient(some.conn).ServerReflectionInfo(g.ctx); err != nil {
		t.Error(err)
	}
}

// TestO3_AForwardedCallIsWhoseItIs: the pod that serves a call knows the caller's tenant, actions, sessions and end from the pod that proves it, and from nothing that the caller sends;
// it denies what the first pod would have.
func TestO3_AForwardedCallIsWhoseItIs(t *testing.T) {
	pods := startSteadyPods(t, 2, withJWT)
	pods[0].as(claimed(t, "acme")).create("call")
	via := pods[1].as(claimed(t, "acme"))
	got, err := via.sessions.GetSession(via.ctx, &penstockv1.GetSessionRequest{SessionId: "call"})
	must(t, err)
	if got.GetSession().GetSessionId() != "call" {
		t.Errorf("got %v", got)
	}
	who, err := via.svc.auth.Authenticate(via.ctx, credentialsOf(claimed(t, "acme", claim("actions", "stream"), claim("sessions", "room-*"))))
	must(t, err)
	p := permissions()[penstockv1.SessionService_DeleteSession_FullMethodName]
	if err := p.allows(true, who, "x", &penstockv1.DeleteSessionRequest{SessionId: "room-1"}); !errors.Is(err, errForbidden) {
		t.Errorf("not its action: %v", err)
	}
	if p := permissions()[podv1.PodService_ServeWhip_FullMethodName]; !errors.Is(p.allows(true, who, "x", &podv1.ServeWhipRequest{SessionId: "room-1"}), errForbidden) {
		t.Error("a publisher that may not signal is served")
	}
}

// TestBadConfigurationOfCallersIsRefused names what is wrong.
func TestBadConfigurationOfCallersIsRefused(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"short secret": func(c *Config) { c.JWT = &JWTConfig{Secrets: [][]byte{[]byte("short")}} },
		"no action":    func(c *Config) { c.ClientCertificateActions = []string{"fly"} },
	} {
		c := Config{Logger: slog.New(slog.DiscardHandler)}
		change(&c)
		if _, err := newAuthenticator(&c); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// credentialsOf shows a token.
func credentialsOf(token string) identity.Credentials {
	return identity.Credentials{Authorization: []string{"Bearer " + token}}
}
