package service

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// TestO10_EachCallSealsCredentials gives credentials of TURN servers by each call that takes some, on two pods, and dumps all of a real Redis, and all that is published there:
// they are in none of it, plain or encoded, nor is a plain hash of the request, by which they could be guessed. No reply holds them either. What is stored
// is different each time it is written.
func TestO10_EachCallSealsCredentials(t *testing.T) {
	pods := startPods(t, 2)
	g := pods[0]
	server := func(n string) *penstockv1.IceServer {
		return &penstockv1.IceServer{Urls: []string{"turn:127.0.0.1:9?transport=udp"}, Username: "turn-user-" + n, Credential: "turn-credential-" + n}
	}
	request := &penstockv1.CreateSessionRequest{SessionId: "call", IceServers: []*penstockv1.IceServer{server("one")}, Labels: map[string]string{"room": "kitchen"}}
	var replies []proto.Message
	for range 2 { // The same request again: it is compared.
		r, err := g.sessions.CreateSession(g.ctx, request)
		must(t, err)
		replies = append(replies, r)
	}
	heard := subscribeAll(t, g)
	t.Cleanup(func() { _ = heard() })
	dumps := ask(t, g, "HGETALL", sessionHash(t, g))
	for i := range 2 {
		_, err := pods[1].sessions.UpdateIceServers(g.ctx, &penstockv1.UpdateIceServersRequest{SessionId: "call", IceServers: []*penstockv1.IceServer{server("two")}})
		must(t, err)
		now := ask(t, g, "HGETALL", sessionHash(t, g))
		if now == dumps {
			t.Errorf("round %d: the new servers are not stored, or look like those before", i)
		}
		dumps = now
	}
	k := g.talk("call")
	must(t, k.ICEServers(g.ctx, server("three")))
	pods[1].publishFrom("call")
	for _, p := range pods {
		got, err := p.sessions.GetSession(p.ctx, &penstockv1.GetSessionRequest{SessionId: "call"})
		must(t, err)
		list, err := p.sessions.ListSessions(p.ctx, &penstockv1.ListSessionsRequest{})
		must(t, err)
		replies = append(replies, got, list)
	}
	all := dumpAll(t, g)
	if !strings.Contains(all, "kitchen") {
		t.Fatalf("the dump lacks what is there:\n%s", all)
	}
	all += heard()
	for _, r := range replies {
		all += protojson.Format(r)
	}
	for _, m := range k.all() {
		all += protojson.Format(m)
	}
	withSource := proto.CloneOf(request)
	withSource.Source = &penstockv1.CreateSessionRequest_Offers{Offers: &penstockv1.OffersSource{}}
	var forbidden []string
	for _, n := range []string{"one", "two", "three"} {
		forbidden = append(forbidden, "turn-user-"+n, "turn-credential-"+n)
	}
	for _, r := range []proto.Message{request, withSource} {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
		must(t, err)
		sum := sha256.Sum256(b)
		forbidden = append(forbidden, string(sum[:]), hex.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(sum[:]), base64.RawURLEncoding.EncodeToString(sum[:]))
	}
	for _, f := range forbidden {
		for name, form := range map[string]string{
			"plain": f, "hex": hex.EncodeToString([]byte(f)), "base64": strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(f)), "=")[:8],
		} {
			if strings.Contains(all, form) {
				t.Errorf("%q is readable (%s)", f, name)
			}
		}
	}
}

// sessionHash returns the key of the only session.
func sessionHash(t *testing.T, p *pod) string {
	t.Helper()
	for name := range strings.SplitSeq(ask(t, p, "KEYS", "*{s:*"), "\n") {
		if name != "" {
			return name
		}
	}
	t.Fatal("no session is stored")
	return ""
}

// dumpAll returns all that Redis holds.
func dumpAll(t *testing.T, p *pod) string {
	t.Helper()
	var b strings.Builder
	for name := range strings.SplitSeq(strings.TrimSpace(ask(t, p, "KEYS", "*")), "\n") {
		read := map[string][]string{"hash": {"HGETALL", name}, "string": {"GET", name}, "zset": {"ZRANGE", name, "0", "-1"}, "set": {"SMEMBERS", name}, "list": {"LRANGE", name, "0", "-1"}}
		kind := strings.TrimSpace(ask(t, p, "TYPE", name))
		if read[kind] == nil {
			if kind == "none" { // It expired meanwhile.
				continue
			}
			t.Fatalf("%s is a %s", name, kind)
		}
		b.WriteString(name + "\n" + ask(t, p, read[kind]...))
	}
	return b.String()
}

// TestSealedIsBound: what is sealed for one session opens for no other, by no other secret, and not when it was changed; secrets of before still open it.
func TestSealedIsBound(t *testing.T) {
	first, second := []byte(strings.Repeat("1", relay.MinSecret)), []byte(strings.Repeat("2", relay.MinSecret))
	keys, err := relay.NewKeys(first)
	must(t, err)
	others, err := relay.NewKeys(second)
	must(t, err)
	both, err := relay.NewKeys(second, first)
	must(t, err)
	servers := []rtcpool.ICEServer{{URLs: []string{"turn:a", "turn:b"}, Username: "u", Credential: "c"}, {URLs: []string{"stun:d"}}}
	of := resolverstore.SessionKey{Tenant: "a", ID: "bc"}
	sealed, err := sealServers(keys, of, servers)
	must(t, err)
	for _, k := range []*relay.Keys{keys, both} {
		if got, err := unsealServers(k, of, sealed); err != nil || !reflect.DeepEqual(got, servers) {
			t.Errorf("%v, %v", got, err)
		}
	}
	for name, f := range map[string]func() ([]rtcpool.ICEServer, error){
		"another session": func() ([]rtcpool.ICEServer, error) {
			return unsealServers(keys, resolverstore.SessionKey{Tenant: "ab", ID: "c"}, sealed)
		},
		"another secret": func() ([]rtcpool.ICEServer, error) { return unsealServers(others, of, sealed) },
		"cut":            func() ([]rtcpool.ICEServer, error) { return unsealServers(keys, of, sealed[:len(sealed)-1]) },
		"junk":           func() ([]rtcpool.ICEServer, error) { return unsealServers(keys, of, []byte("junk")) },
		"changed": func() ([]rtcpool.ICEServer, error) {
			b := append([]byte(nil), sealed...)
			b[len(b)/2] ^= 1
			return unsealServers(keys, of, b)
		},
	} {
		if got, err := f(); !errors.Is(err, errSealed) || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if none, err := sealServers(keys, of, nil); err != nil || none != nil {
		t.Errorf("none is %v, %v", none, err)
	}
}

// subscribeAll listens to all that is published in Redis. What it returns ends that, and returns what was heard.
func subscribeAll(t *testing.T, p *pod) func() string {
	t.Helper()
	ctx, stop := context.WithCancel(p.ctx)
	cmd := exec.CommandContext(ctx, "redis-cli", "-s", p.link.server, "--csv", "PSUBSCRIBE", "*")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n') // It is confirmed.
	must(t, err)
	var work sync.WaitGroup
	var heard strings.Builder
	work.Go(func() { _, _ = io.Copy(&heard, lines) })
	return sync.OnceValue(func() string {
		ask(t, p, "PUBLISH", "any", "the end")
		stop()
		work.Wait()
		_ = cmd.Wait() // It was killed.
		if !strings.Contains(heard.String(), "{s:") {
			t.Errorf("nothing was heard of the session: %s%s", first, heard.String())
		}
		return heard.String()
	})
}
