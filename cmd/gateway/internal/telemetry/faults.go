package telemetry

import (
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
)

// faultInterval is how often faults of telling are logged at most: a collector that is away fails with every batch.
const faultInterval = time.Minute

// faultHandler logs the faults of OpenTelemetry's machinery, such as a collector that cannot be reached. It is safe for concurrent use.
type faultHandler struct {
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	last    time.Time // when one was logged
	leftOut int       // since then
}

// FaultHandler returns what logs the faults of OpenTelemetry's machinery, at most one a minute, with the number of those left out. It is for
// otel.SetErrorHandler, which is the process's, and so the caller's to call.
func FaultHandler(log *slog.Logger) otel.ErrorHandler {
	return &faultHandler{log: log, now: time.Now}
}

// Handle implements otel.ErrorHandler.
func (h *faultHandler) Handle(err error) {
	h.mu.Lock()
	now := h.now()
	if !h.last.IsZero() && now.Sub(h.last) < faultInterval {
		h.leftOut++
		h.mu.Unlock()
		return
	}
	leftOut := h.leftOut
	h.last, h.leftOut = now, 0
	h.mu.Unlock()
	h.log.Warn("telemetry", "error", err, "left_out", leftOut)
}
