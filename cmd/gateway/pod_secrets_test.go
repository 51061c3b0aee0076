package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// rewrite replaces a file as mounted Secrets are, in one step.
func rewrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// hangup has a gateway read its files.
func (s *served) hangup(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// TestO3_PodSecretsReload: two gateways change their secret in the three steps that keep them together, by their files and without a restart, and call each other after each, also a gateway that starts with the
// new secret alone. A file that leaves out the secret in use, or holds one that is too short, is told without its text, and changes nothing.
func TestO3_PodSecretsReload(t *testing.T) {
	url, _ := startRedis(t)
	path := file(t, "pod-secret", secretsOf("a"))
	env := []string{"PENSTOCK_REDIS_URL=" + url, "PENSTOCK_REDIS_TIMEOUT=2s", "PENSTOCK_POD_SECRET_FILE=" + path}
	var gateways []*served
	var clients []penstockv1.SessionServiceClient
	add := func() {
		g := startServe(t, env)
		gateways, clients = append(gateways, g), append(clients, penstockv1.NewSessionServiceClient(client(t, g.grpc)))
	}
	add()
	add()
	if _, err := clients[0].CreateSession(t.Context(), &penstockv1.CreateSessionRequest{SessionId: "call", Grace: durationpb.New(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	together := func(when string) {
		t.Helper()
		for i, c := range clients { // the first one owns the session
			if _, err := c.ReportEvents(t.Context(), &penstockv1.ReportEventsRequest{SessionId: "call"}); err != nil {
				t.Errorf("%s, by way of %d: %v", when, i, err)
			}
		}
	}
	together("at first")
	for n, step := range []string{"ab", "ba", "b"} {
		rewrite(t, path, secretsOf(step))
		for _, g := range gateways {
			g.hangup(t)
			awaitSo(t, "the secrets of "+step, func() bool { return strings.Count(g.log.String(), "pod secrets have changed") == n+1 })
			together(step)
		}
	}
	add() // it knows nothing of the one before
	awaitSo(t, "the new gateway is served", func() bool {
		_, err := clients[2].ReportEvents(t.Context(), &penstockv1.ReportEventsRequest{SessionId: "call"})
		return err == nil
	})
	for bad, why := range map[string]string{secretsOf("c"): "is not among them", secretsOf("b") + "\nshort-and-secret": "has only 16 characters"} {
		rewrite(t, path, bad)
		gateways[0].hangup(t)
		gateways[0].waitLog(t, why)
	}
	together("after files that cannot be used")
	if log := gateways[0].log.String(); strings.Contains(log, "short-and-secret") || strings.Contains(log, secretsOf("b")) || strings.Contains(log, secretsOf("c")) {
		t.Errorf("the log tells secrets:\n%s", log)
	}
}

// TestO3_TheTokenReloads: a gateway takes the token that its file holds now; the one before is good no more, and a file that cannot be used leaves it.
func TestO3_TheTokenReloads(t *testing.T) {
	path := file(t, "token", secretsOf("a")+"\n")
	s := startServe(t, nil, "--auth-token-file="+path, "--failed-auth-rate=0") // what is waited for fails until it is there
	sessions := penstockv1.NewSessionServiceClient(client(t, s.grpc))
	is := func(letter string) codes.Code {
		t.Helper()
		_, err := sessions.GetSession(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+secretsOf(letter)), &penstockv1.GetSessionRequest{SessionId: "call"})
		return status.Code(err)
	}
	if a, b := is("a"), is("b"); a != codes.NotFound || b != codes.Unauthenticated {
		t.Errorf("at first: %v, %v", a, b)
	}
	rewrite(t, path, secretsOf("b"))
	s.hangup(t)
	awaitSo(t, "the new token is good", func() bool { return is("b") == codes.NotFound })
	if a := is("a"); a != codes.Unauthenticated {
		t.Errorf("the one before: %v", a)
	}
	for bad, why := range map[string]string{"": "is empty", "short-secret": "has only 12 characters"} {
		rewrite(t, path, bad)
		s.hangup(t)
		s.waitLog(t, why)
	}
	if b := is("b"); b != codes.NotFound {
		t.Errorf("while the file cannot be used: %v", b)
	}
	if told := scrape(t, s.http, false); told.figures[`penstock_secret_reloads_total{result="ok"}`] != 1 || told.figures[`penstock_secret_reloads_total{result="failed"}`] != 2 {
		t.Errorf("the metrics tell of %v and %v", told.figures[`penstock_secret_reloads_total{result="ok"}`], told.figures[`penstock_secret_reloads_total{result="failed"}`])
	}
	if log := s.log.String(); strings.Contains(log, "short-secret") || strings.Contains(log, secretsOf("b")) {
		t.Errorf("the log tells tokens:\n%s", log)
	}
}
