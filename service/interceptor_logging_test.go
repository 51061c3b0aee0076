package service

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
)

// TestStrangersDoNotFillTheLog: of warnings without end few are logged as such, the rest for debugging only; a later one tells how many were left out. Errors are all logged.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	var b lockedBuffer
	log := callLogger(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})))
	const many = 20000
	for range many {
		log.Log(t.Context(), logging.LevelWarn, "finished call", "grpc.code", "Unauthenticated")
		log.Log(t.Context(), logging.LevelError, "finished call", "grpc.code", "Internal")
	}
	warned, left, errs := strings.Count(b.String(), "level=WARN"), strings.Count(b.String(), "level=DEBUG"), strings.Count(b.String(), "level=ERROR")
	if warned < callWarnings || warned > many/10 || warned+left != many || errs != many {
		t.Errorf("%d warnings, %d for debugging, %d errors", warned, left, errs)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(hang); !strings.Contains(b.String(), "left_out="); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("nobody tells that some were left out")
		}
		log.Log(t.Context(), logging.LevelWarn, "finished call")
	}
}
