package main

import (
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
)

// secretsOf returns what a file holds whose lines are of these letters.
func secretsOf(letters string) string {
	var lines []string
	for _, l := range strings.Split(letters, "") {
		lines = append(lines, strings.Repeat(l, 32))
	}
	return strings.Join(lines, "\n")
}

// TestO3_SecretsOfTokensReload: a gateway takes the secrets of tokens that its file holds now, without a restart; those that were taken out are good no more, and a file that cannot be used, which is told, without
// its text, leaves those of before.
func TestO3_SecretsOfTokensReload(t *testing.T) {
	path := file(t, "secrets", secretsOf("a"))
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	s := startServe(t, nil, "--jwt-secret-file="+path)
	sessions := penstockv1.NewSessionServiceClient(client(t, s.grpc))
	is := func(letter string) codes.Code {
		t.Helper()
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "anna", "actions": "signal", "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(secretsOf(letter)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = sessions.GetSession(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token), &penstockv1.GetSessionRequest{SessionId: "call"})
		return status.Code(err)
	}
	hangup := func() {
		t.Helper()
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := is("a"), is("b"); a != codes.NotFound || b != codes.Unauthenticated {
		t.Errorf("at first: %v, %v", a, b)
	}
	write(secretsOf("ba"))
	hangup()
	awaitSo(t, "the new secret is good", func() bool { return is("b") == codes.NotFound })
	if a := is("a"); a != codes.NotFound {
		t.Errorf("the one before, which is still there: %v", a)
	}
	write(secretsOf("b") + "\nshort-and-secret")
	hangup()
	s.waitLog(t, "changed secrets of tokens cannot be used")
	if a, b := is("a"), is("b"); a != codes.NotFound || b != codes.NotFound {
		t.Errorf("while the file cannot be used: %v, %v", a, b)
	}
	write(secretsOf("b"))
	hangup()
	awaitSo(t, "the secret that was taken out is good no more", func() bool { return is("a") == codes.Unauthenticated })
	if b := is("b"); b != codes.NotFound {
		t.Errorf("the one that stays: %v", b)
	}
	if log := s.log.String(); strings.Contains(log, "short-and-secret") || strings.Contains(log, secretsOf("b")) {
		t.Errorf("the log tells secrets:\n%s", log)
	}
}

// TestSecretsAreLookedAt: without a word to the process the file is read again in time, or where that time is far off, when it is asked to.
func TestSecretsAreLookedAt(t *testing.T) {
	for name, every := range map[string]time.Duration{"in time": time.Millisecond, "when asked": time.Hour} {
		cfg := config.Config{JWTSecretFile: file(t, "secrets", secretsOf("a")), JWTTenantClaim: "tenant", JWTLeeway: time.Second, JWTMaxLifetime: time.Hour, ExpiryWarning: time.Second}
		s := keepSecrets(secretFile{what: "secrets", read: cfg.ReadJWTSecrets}, [][]byte{[]byte(secretsOf("z"))}, every, slog.New(slog.DiscardHandler))
		if every == time.Hour {
			if got := string(s.now()[0]); got != secretsOf("z") {
				t.Errorf("%s: at first %q", name, got)
			}
			s.reload()
		}
		awaitSo(t, name, func() bool { return string(s.now()[0]) == secretsOf("a") })
		s.close()
	}
}
