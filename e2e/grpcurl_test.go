//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

func TestGrpcurlListsServicesAndHealth(t *testing.T) {
	g := serve(t)
	grpcurl := program(t, "GRPCURL", "grpcurl")
	list, err := run(t.Context(), grpcurl, "-plaintext", g.grpc, "list")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"penstock.v1.SessionService", "penstock.v1.TrackService", "grpc.health.v1.Health"} {
		if !strings.Contains(list, want+"\n") {
			t.Errorf("%s is not listed:\n%s", want, list)
		}
		health, err := run(t.Context(), grpcurl, "-plaintext", "-d", `{"service":"`+want+`"}`, g.grpc, "grpc.health.v1.Health/Check")
		if err != nil || !strings.Contains(health, "SERVING") {
			t.Errorf("health of %s: %s, %v", want, health, err)
		}
	}
	describe, err := run(t.Context(), grpcurl, "-plaintext", g.grpc, "describe", "penstock.v1.TrackService.StreamTrack")
	if err != nil || !strings.Contains(describe, "returns ( stream .penstock.v1.StreamTrackResponse )") {
		t.Errorf("describe: %s, %v", describe, err)
	}
	_, err = run(t.Context(), grpcurl, "-plaintext", "-d", `{"session_id":"none"}`, g.grpc, "penstock.v1.SessionService/GetSession")
	if err == nil || !strings.Contains(err.Error(), "SESSION_NOT_FOUND") || !strings.Contains(err.Error(), "NotFound") {
		t.Errorf("GetSession of an unknown one: %v", err)
	}
}

// TestGrpcurlTalksOverSignal opens a conversation, publishes, and ends it, from the command line as docs/signalling.md shows it.
func TestGrpcurlTalksOverSignal(t *testing.T) {
	g := serve(t)
	grpcurl := program(t, "GRPCURL", "grpcurl")
	if _, err := run(t.Context(), grpcurl, "-plaintext", "-d", `{"session_id":"call"}`, g.grpc, "penstock.v1.SessionService/CreateSession"); err != nil {
		t.Fatal(err)
	}
	requests := `{"requestId":1,"open":{"sessionId":"call"}}
		{"requestId":2,"events":{"events":[{"trackPublished":{"publication":{"participant":{"participantId":"alice"},"source":"SOURCE_CAMERA"}}}]}}`
	out, err := run(t.Context(), grpcurl, "-plaintext", "-d", requests, g.grpc, "penstock.v1.SessionService/Signal")
	if err != nil || !strings.Contains(out, "SESSION_STATE_AWAITING_OFFER") || !strings.Contains(out, `"eventsResult"`) {
		t.Errorf("Signal: %s, %v", out, err)
	}
}
