package service

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// TestO3_PodSecretsChangeUnderCalls: the secrets of two pods are changed one pod after another, in the three steps that the documentation has, without a restart. In between each pod forwards to the other,
// a stream over both goes on, and what is sealed is sealed anew, so that who takes a session over when the old secret is gone has its ICE servers.
func TestO3_PodSecretsChangeUnderCalls(t *testing.T) {
	var log lockedBuffer
	pods := startPods(t, 2, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	create := func(p *pod, id string) {
		t.Helper()
		_, err := p.sessions.CreateSession(p.ctx, &penstockv1.CreateSessionRequest{SessionId: id, IceServers: []*penstockv1.IceServer{
			{Urls: []string{"turn:127.0.0.1:9?transport=udp"}, Username: "user", Credential: "credential"},
		}})
		must(t, err)
	}
	create(pods[0], "call")
	pods[0].create("talk")
	pods[0].publishFrom("talk")
	w := pods[1].watch("talk")
	old, fresh := pods[0].svc.cfg.PodSecrets[0], bytes.Repeat([]byte("n"), 32)
	for _, step := range []struct {
		name    string
		secrets [][]byte
	}{{"added", [][]byte{old, fresh}}, {"in front", [][]byte{fresh, old}}, {"alone", [][]byte{fresh}}} {
		for i, p := range pods {
			must(t, p.svc.ChangePodSecrets(step.secrets))
			for j, via := range pods {
				_, err := via.sessions.ReportEvents(via.ctx, &penstockv1.ReportEventsRequest{SessionId: "call", Events: []*penstockv1.CallEvent{published("anna", microphone)}})
				if err != nil {
					t.Errorf("%s on %d, by way of %d: %v", step.name, i, j, err)
				}
				if step.name != "alone" { // who repeats a request is not told of another session, whichever secret the pod has in front
					create(via, "call")
				}
			}
		}
		if headers, gaps, _ := w.frame(); len(headers)+len(gaps) != 0 {
			t.Errorf("%s: the stream is interrupted: %v %v", step.name, headers, gaps)
		}
		if step.name == "in front" {
			for strings.Count(log.String(), "is sealed by the secret that is first now") < len(pods) {
				mustTick(t, pods[0].gateway)
			}
		}
	}
	if err := pods[0].svc.ChangePodSecrets([][]byte{[]byte("short")}); !errors.Is(err, ErrConfig) {
		t.Errorf("a short one: %v", err)
	}
	if err := pods[0].svc.ChangePodSecrets(nil); !errors.Is(err, ErrConfig) {
		t.Errorf("none: %v", err)
	}
	pods[0].kill()
	var live *session
	for live == nil {
		mustTick(t, pods[1].gateway)
		live = pods[1].svc.session(key("call"))
	}
	if len(live.servers) != 1 || live.servers[0].Credential != "credential" {
		t.Errorf("taken over with %d ICE servers", len(live.servers))
	}
}
