package service

import (
	"context"
	"runtime/debug"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// recoveryOption turns a panic of a handler into INTERNAL, and logs it with its stack. It is the outermost
// interceptor: a fault of one call must never end the process.
func (s *Service) recoveryOption() recovery.Option {
	return recovery.WithRecoveryHandlerContext(func(ctx context.Context, p any) error {
		return s.panicked(ctx, "handler", p).status().Err()
	})
}

// panicked logs and counts a panic that was caught, and returns what the caller is told of it. It is called by the function that was deferred, so that the
// stack is that of the panic.
func (s *Service) panicked(ctx context.Context, what string, p any) *failure {
	s.counts.panics.Add(1)
	s.cfg.Logger.ErrorContext(ctx, what+" panicked", "panic", p, "stack", string(debug.Stack()))
	return fail(penstockv1.ErrorReason_ERROR_REASON_INTERNAL, nil)
}
