package relay

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	podv1 "github.com/penstock-media/penstock/api/penstock/pod/v1"
	"github.com/penstock-media/penstock/service/internal/identity"
)

const (
	testMethod  = "/penstock.v1.SessionService/Negotiate"
	otherMethod = "/penstock.v1.SessionService/DeleteSession"
)

// proofNow is a proof that is right for the pod "b", changed.
func proofNow(change func(*proof)) proof {
	p := newProof(WithSince(context.Background(), time.Unix(1, 2), true), "a", "b", testMethod, Caller{Identity: identity.Identity{Subject: "anna@example"}, Address: "192.0.2.1:5"})
	if change != nil {
		change(&p)
	}
	return p
}

// incoming is a call's context with proofs.
func incoming(values ...string) context.Context {
	return metadata.NewIncomingContext(context.Background(), metadata.MD{Metadata: values})
}

// TestP9_ForgedForwardsAreRefused: every call that claims to be forwarded, and was not signed by a pod for this pod, this method and this moment, or was signed for a call that came already, is refused
// and counted by its cause; one that was is taken, with its caller.
func TestP9_ForgedForwardsAreRefused(t *testing.T) {
	keys := keysOf(t, 's', 'o')
	var log bytes.Buffer
	g := NewGate("b", keys, nil, nil, slog.New(slog.NewTextHandler(&log, nil)))
	good := proofNow(nil).encode(keys)
	ctx, err := g.Enter(incoming(good), testMethod)
	if err != nil {
		t.Fatal(err)
	}
	if f, ok := Forwarded(ctx); !ok || !reflect.DeepEqual(f, Forward{From: "a", since: "1000000002 again", Caller: Caller{Identity: identity.Identity{Subject: "anna@example"}, Address: "192.0.2.1:5"}}) {
		t.Errorf("known of the call: %+v, %v", f, ok)
	}
	if _, err := g.Enter(incoming(proofNow(nil).encode(keysOf(t, 'o'))), testMethod); err != nil {
		t.Errorf("with the secret of before: %v", err)
	}

	far := window + 10*time.Second
	unused := proofNow(nil).encode(keys)
	cases := map[string]struct {
		values []string
		method string
		cause  Cause
	}{
		"another secret":  {[]string{proofNow(nil).encode(keysOf(t, 'x'))}, testMethod, CauseStranger},
		"another target":  {[]string{proofNow(func(p *proof) { p.to = "c" }).encode(keys)}, testMethod, CauseTarget},
		"another method":  {[]string{unused}, otherMethod, CauseStranger},
		"used before":     {[]string{good}, testMethod, CauseReplayed},
		"too old":         {[]string{proofNow(func(p *proof) { p.at -= far.Milliseconds() }).encode(keys)}, testMethod, CauseClock},
		"of the future":   {[]string{proofNow(func(p *proof) { p.at += far.Milliseconds() }).encode(keys)}, testMethod, CauseClock},
		"forwarded twice": {[]string{proofNow(func(p *proof) { p.hops = "2" }).encode(keys)}, testMethod, CauseTarget},
		"never forwarded": {[]string{proofNow(func(p *proof) { p.hops = "0" }).encode(keys)}, testMethod, CauseTarget},
		"twice there":     {[]string{unused, proofNow(nil).encode(keys)}, testMethod, CauseStranger},
		"empty":           {[]string{""}, testMethod, CauseStranger},
		"long":            {[]string{unused + strings.Repeat("A", maxProof)}, testMethod, CauseStranger},
		"another version": {[]string{"2" + unused[1:]}, testMethod, CauseStranger},
		"for pods only":   {nil, podv1.PodService_Adopt_FullMethodName, CauseStranger},
	}
	var want [causes]uint64
	refused := func(name, method string, cause Cause, values ...string) {
		t.Helper()
		want[cause]++
		ctx, err := g.Enter(incoming(values...), method)
		if !errors.Is(err, ErrRefused) || ctx != nil || g.Refused() != want {
			t.Errorf("%s: %v, %d refused", name, err, g.Refused())
		}
	}
	for name, c := range cases {
		refused(name, c.method, c.cause, c.values...)
	}
	for i := range unused { // no character of it can be another
		b := []byte(unused)
		if b[i]++; b[i] == '.' || unused[i] == '.' {
			b[i] = '!'
		}
		refused("changed", testMethod, CauseStranger, string(b))
		refused("cut", testMethod, CauseStranger, unused[:i])
	}
	if _, err := g.Enter(incoming(unused), testMethod); err != nil {
		t.Errorf("a proof is spent by one that is refused: %v", err)
	}
	if n := strings.Count(log.String(), "\n"); n < 1 || n > 10 {
		t.Errorf("%d refusals within a moment are logged %d times", want, n)
	}
	if strings.Contains(log.String(), good) || strings.Contains(log.String(), unused) {
		t.Error("the log tells a proof")
	}
	if ctx, err := g.Enter(context.Background(), testMethod); err != nil {
		t.Errorf("a caller's own call: %v", err)
	} else if _, ok := Forwarded(ctx); ok {
		t.Error("a caller's own call counts as forwarded")
	}
}

// TestP9_MutualTLSAsksForACertificateToo: with it a proof alone, as somebody who has the secret could make, is refused.
func TestP9_MutualTLSAsksForACertificateToo(t *testing.T) {
	keys := keysOf(t, 's')
	g := NewGate("b", keys, func(s *tls.ConnectionState) bool { return len(s.VerifiedChains) > 0 }, nil, slog.New(slog.DiscardHandler))
	for name, info := range map[string]credentials.AuthInfo{"plaintext": nil, "no certificate": credentials.TLSInfo{}} {
		ctx := peer.NewContext(incoming(proofNow(nil).encode(keys)), &peer.Peer{Addr: &net.TCPAddr{}, AuthInfo: info})
		if _, err := g.Enter(ctx, testMethod); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestStrangersAreToldApartFromPods: a forward that is not signed by the pods' secret counts as that of a pod only where it names one that lives, and comes from where that is. A flood of strangers
// keeps the fault of a pod out of neither log nor figures, and the log tells nothing that a stranger wrote.
func TestStrangersAreToldApartFromPods(t *testing.T) {
	var log bytes.Buffer
	known := func(incarnation, host string) bool { return incarnation == "a" && host == "192.0.2.7" }
	g := NewGate("b", keysOf(t, 's'), nil, known, slog.New(slog.NewJSONHandler(&log, nil))) // which knows no Stringer
	from := func(addr, incarnation string) {
		t.Helper()
		value := proofNow(func(p *proof) { p.from = incarnation }).encode(keysOf(t, 'x'))
		ctx := peer.NewContext(incoming(value), &peer.Peer{Addr: &net.TCPAddr{IP: net.ParseIP(addr), Port: 4}})
		if _, err := g.Enter(ctx, testMethod); !errors.Is(err, ErrRefused) {
			t.Errorf("%s from %s: %v", incarnation, addr, err)
		}
	}
	for range 100 {
		from("198.51.100.1", "written by a stranger")
	}
	from("198.51.100.1", "a")
	from("192.0.2.7", "c")
	from("192.0.2.7", "a")
	if got, want := g.Refused(), [causes]uint64{CauseStranger: 102, CauseSecret: 1}; got != want {
		t.Errorf("refused %v, want %v", got, want)
	}
	if out := log.String(); strings.Count(out, `"cause":"secret"`) != 1 || !strings.Contains(out, `"from":"a"`) || strings.Contains(out, "written") {
		t.Errorf("the log: %s", out)
	}
}

// FuzzProof: whatever metadata holds, reading it ends, and nothing but what the key signed is believed.
func FuzzProof(f *testing.F) {
	keys := keysOf(f, 's')
	f.Add(proofNow(nil).encode(keys))
	f.Add("3.0.1.YQ.Yg.e30.ZA.ZQ.MQ.AAAA")
	f.Add("3.........")
	f.Add("")
	stranger := keysOf(f, 'x')
	f.Fuzz(func(t *testing.T, value string) {
		if _, wrong := check(stranger, value, testMethod, "b", time.Now()); wrong.what == "" {
			t.Errorf("%q is believed", value)
		}
		p, _, ok := decode(value, testMethod)
		if !ok {
			return
		}
		back, _, ok := decode(p.encode(stranger), testMethod)
		if !ok || back != p {
			t.Errorf("%+v is read back as %+v", p, back)
		}
	})
}
