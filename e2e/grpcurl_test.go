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
