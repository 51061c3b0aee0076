package service

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// podSecretOfTests is part of what startPods gives all pods.
const podSecretOfTests = "pods share this."

// TestO10_NothingReadableInRedis lives a session's whole life on three pods whose callers have tokens: created with TURN servers, negotiated, streamed by way of another pod, told by
// Signal, taken over from a pod that is gone, handed over by one that drains, listed by pages, ended. All that Redis holds meanwhile is read, by names, by types and as it would be saved,
// and so is each of the commands that it gets, and what is published: no secret is in it, in any encoding. No call returns one of those that only the gateway needs, errors included.
func TestO10_NothingReadableInRedis(t *testing.T) {
	const shared = "a-shared-token-of-this-test"
	pods := startPods(t, 3, withJWT, func(c *Config) { c.Token = shared })
	ask(t, pods[0], "CONFIG", "SET", "rdbcompression", "no") // DUMP would hide what repeats
	commands := monitor(t, pods[0])
	published := subscribeAll(t, pods[0])
	t.Cleanup(func() { _ = published() })
	token := claimed(t, "", func(c jwt.MapClaims) { delete(c, "tenant") })
	said := &recorder{}
	for i, p := range pods {
		pods[i] = &pod{gateway: said.as(p.gateway, token), link: p.link}
	}
	life := &secretLife{t: t, pods: pods}
	life.begin()
	life.takenOver()
	life.handedOver()
	life.end()
	if life.resume == "" || life.page == "" || len(said.passwords()) < 2 {
		t.Fatalf("a resume token %q, a page token %q, passwords %q: something is not there to be found", life.resume, life.page, said.passwords())
	}
	redis := life.dumps.String() + commands() + published()
	for _, there := range []string{"kitchen", "{s:", "alice", "PUBLISH"} {
		if !bytes.Contains([]byte(redis), []byte(there)) {
			t.Errorf("what was read of Redis lacks %q", there)
		}
	}
	given := []string{podSecretOfTests, string(signingSecret), "turn-user-", "turn-credential-", "livekit-token-of-a-room", shared}
	parts := strings.Split(token, ".")
	given = append(given, token, parts[1], parts[2])
	mustLack(t, "Redis", redis, append(given, append(said.passwords(), life.resume, life.page)...))
	mustLack(t, "what callers are told", said.replies(), given)
}

// secretLife is that of one session.
type secretLife struct {
	t     *testing.T
	pods  []*pod // the owner is the first
	dumps strings.Builder

	resume, page string
}

// turn returns a server with credentials of its own.
func turn(n string) *penstockv1.IceServer {
	return &penstockv1.IceServer{Urls: []string{"turn:127.0.0.1:9?transport=udp"}, Username: "turn-user-" + n, Credential: "turn-credential-" + n}
}

// begin creates the session, publishes into it and streams it, all by way of pods that do not own it, and asks what is refused.
func (l *secretLife) begin() {
	l.t.Helper()
	request := &penstockv1.CreateSessionRequest{SessionId: "call", IceServers: []*penstockv1.IceServer{turn("created")}, Labels: map[string]string{"room": "kitchen"}}
	created, err := l.pods[0].sessions.CreateSession(l.pods[0].ctx, request)
	must(l.t, err)
	l.pods = ownerFirst(l.pods, created.GetSession())
	p := l.pods[1]
	for range 3 { // for pages
		p.create("")
	}
	other := proto.CloneOf(request)
	other.IceServers = []*penstockv1.IceServer{turn("other")}
	odd := proto.CloneOf(request)
	odd.SessionId, odd.IceServers = "odd", []*penstockv1.IceServer{{Urls: []string{"turn:%zz?turn-user-url"}, Username: "turn-user-odd", Credential: "turn-credential-odd"}}
	room := &penstockv1.CreateSessionRequest{SessionId: "room", Source: &penstockv1.CreateSessionRequest_Livekit{
		Livekit: &penstockv1.LiveKitSource{Url: "wss://127.0.0.1:9", Token: "livekit-token-of-a-room"},
	}}
	for name, r := range map[string]*penstockv1.CreateSessionRequest{"another request": other, "an odd server": odd, "a connector that there is not": room} {
		if _, err := p.sessions.CreateSession(p.ctx, r); err == nil {
			l.t.Errorf("%s: no error", name)
		}
	}
	if _, err := p.sessions.UpdateIceServers(p.ctx, &penstockv1.UpdateIceServersRequest{SessionId: "call", IceServers: odd.GetIceServers()}); err == nil {
		l.t.Error("an odd server is taken")
	}
	p.publishFrom("call")
	k := p.talk("call")
	must(l.t, k.ICEServers(p.ctx, turn("signalled")))
	w := l.pods[2].open(smallCamera("call"))
	l.resume = w.header().GetResumeToken()
	w.video()
	l.dump()
	w.cancel()
	k.Lose()
}

// takenOver kills the owner, and has the session go on at another pod.
func (l *secretLife) takenOver() {
	l.t.Helper()
	before := l.pods[0].record("call").Fence
	l.pods[0].kill()
	rest := l.pods[1:]
	owner, _ := adopted(rest, "call", before)
	if owner != rest[0] {
		rest[0], rest[1] = rest[1], rest[0]
	}
	l.pods = rest
	_, err := rest[1].sessions.UpdateIceServers(rest[1].ctx, &penstockv1.UpdateIceServersRequest{SessionId: "call", IceServers: []*penstockv1.IceServer{turn("updated")}})
	must(l.t, err)
	l.dump()
}

// handedOver drains the owner.
func (l *secretLife) handedOver() {
	l.t.Helper()
	_, outcome := l.pods[0].drainOf()
	if got := <-outcome; got.HandedOver == 0 {
		l.t.Errorf("the drain tells %+v", got)
	}
	l.pods = l.pods[1:]
	l.dump()
}

// end lists and asks, and ends the session.
func (l *secretLife) end() {
	l.t.Helper()
	p := l.pods[0]
	list, err := p.sessions.ListSessions(p.ctx, &penstockv1.ListSessionsRequest{PageSize: 1})
	must(l.t, err)
	l.page = list.GetNextPageToken()
	for token := l.page; token != ""; token = list.GetNextPageToken() {
		list, err = p.sessions.ListSessions(p.ctx, &penstockv1.ListSessionsRequest{PageSize: 1, PageToken: token})
		must(l.t, err)
	}
	got, err := p.sessions.GetSession(p.ctx, &penstockv1.GetSessionRequest{SessionId: "call"})
	must(l.t, err)
	if got.GetSession().GetLabels()["room"] != "kitchen" {
		l.t.Errorf("got %v", got)
	}
	_, err = p.sessions.DeleteSession(p.ctx, &penstockv1.DeleteSessionRequest{SessionId: "call"})
	must(l.t, err)
	l.dump()
}

// dump adds all that Redis holds now, by type and raw.
func (l *secretLife) dump() {
	l.t.Helper()
	p := l.pods[0]
	l.dumps.WriteString(dumpAll(l.t, p))
	for name := range strings.SplitSeq(strings.TrimSpace(ask(l.t, p, "KEYS", "*")), "\n") {
		l.dumps.WriteString(ask(l.t, p, "DUMP", name)) // raw, since redis-cli writes to no terminal
	}
	if all := ask(l.t, p, "INFO", "keyspace"); strings.Count(all, "keys=") != 1 || !strings.Contains(all, "db0:") {
		l.t.Errorf("there are other databases: %s", all)
	}
}

// mustLack looks for texts in all encodings that a dump or a message may hold them in.
func mustLack(t *testing.T, where, all string, secrets []string) {
	t.Helper()
	folded := strings.ToLower(all)
	for _, secret := range secrets {
		if len(secret) < 8 {
			t.Errorf("%q is too short to be looked for", secret)
		}
		if strings.Contains(all, secret) {
			t.Errorf("%s tells %q", where, secret)
		}
		if strings.Contains(folded, hex.EncodeToString([]byte(secret))) {
			t.Errorf("%s tells %q in hexadecimal", where, secret)
		}
		for shift := range 3 { // at any place of what is encoded
			whole := len(secret) - (len(secret)+shift)%3 // The last character may hold bits of what follows.
			padded := append(make([]byte, shift), secret[:whole]...)
			skip := []int{0, 2, 3}[shift] // and the first ones those of what comes before
			for name, e := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
				if strings.Contains(all, e.EncodeToString(padded)[skip:]) {
					t.Errorf("%s tells %q in %s", where, secret, name)
				}
			}
		}
	}
}

// monitor reads all commands that Redis gets, those of scripts too. What it returns ends that, and returns what was read.
func monitor(t *testing.T, p *pod) func() string {
	t.Helper()
	c, err := new(net.Dialer).DialContext(p.ctx, "unix", p.link.server)
	must(t, err)
	_, err = c.Write([]byte("MONITOR\r\n"))
	must(t, err)
	lines := bufio.NewReader(c)
	_, err = lines.ReadString('\n') // It is confirmed.
	must(t, err)
	var work sync.WaitGroup
	var heard strings.Builder
	quoted := regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	work.Go(func() {
		for {
			line, err := lines.ReadString('\n')
			if err != nil || strings.Contains(line, "the end of monitoring") {
				return
			}
			for _, word := range quoted.FindAllString(line, -1) {
				plain, err := strconv.Unquote(word)
				if err != nil {
					t.Errorf("%s: %v", word, err)
				}
				heard.WriteString(plain + "\n")
			}
		}
	})
	end := sync.OnceValue(func() string {
		ask(t, p, "ECHO", "the end of monitoring")
		work.Wait()
		_ = c.Close()
		return heard.String()
	})
	t.Cleanup(func() { _ = end() })
	return end
}

// recorder keeps what callers are told, and what they say. It is safe for concurrent use.
type recorder struct {
	mu         sync.Mutex
	told, sent strings.Builder
}

// as returns a gateway's clients of a caller with a token, all of whose calls are recorded.
func (r *recorder) as(g *gateway, token string) *gateway {
	out := *g
	out.conn = g.dial(grpc.WithPerRPCCredentials(bearerToken(token)), grpc.WithUnaryInterceptor(r.unary), grpc.WithStreamInterceptor(r.stream))
	g.t.Cleanup(func() { must(g.t, out.conn.Close()) })
	out.sessions, out.tracks = penstockv1.NewSessionServiceClient(out.conn), penstockv1.NewTrackServiceClient(out.conn)
	return &out
}

// keep keeps a message as it is on the wire, but none with a picture.
func (r *recorder) keep(to *strings.Builder, m any) {
	if b, err := proto.Marshal(m.(proto.Message)); err == nil && len(b) < 64<<10 {
		r.mu.Lock()
		defer r.mu.Unlock()
		to.Write(b)
		to.WriteByte('\n')
	}
}

func (r *recorder) unary(ctx context.Context, method string, req, reply any, c *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, c, opts...)
	r.keep(&r.sent, req)
	r.keep(&r.told, reply)
	r.keep(&r.told, status.Convert(err).Proto())
	return err
}

func (r *recorder) stream(ctx context.Context, d *grpc.StreamDesc, c *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, d, c, method, opts...)
	return &recordedStream{s, r}, err
}

// recordedStream keeps what is sent and received.
type recordedStream struct {
	grpc.ClientStream
	r *recorder
}

// SendMsg implements grpc.ClientStream.
func (s *recordedStream) SendMsg(m any) error {
	s.r.keep(&s.r.sent, m)
	return s.ClientStream.SendMsg(m)
}

// RecvMsg implements grpc.ClientStream.
func (s *recordedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	s.r.keep(&s.r.told, m)
	s.r.keep(&s.r.told, status.Convert(err).Proto())
	return err
}

// replies returns all that callers were told.
func (r *recorder) replies() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.told.String()
}

// passwords returns those of ICE in what was offered and answered.
func (r *recorder) passwords() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range regexp.MustCompile(`a=ice-pwd:([^\r\n]+)`).FindAllStringSubmatch(r.sent.String()+r.told.String(), -1) {
		all = append(all, m[1])
	}
	return all
}
