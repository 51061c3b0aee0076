package service

import (
	"context"
	"log/slog"
	"runtime/debug"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// recoveryOption turns a panic of a handler into INTERNAL, and logs it with its stack. It is the outermost
// interceptor: a fault of one call must never end the process.
func recoveryOption(log *slog.Logger) recovery.Option {
	return recovery.WithRecoveryHandlerContext(func(ctx context.Context, p any) error {
		log.ErrorContext(ctx, "handler panicked", "panic", p, "stack", string(debug.Stack()))
		return fail(penstockv1.ErrorReason_ERROR_REASON_INTERNAL, nil).status().Err()
	})
}
