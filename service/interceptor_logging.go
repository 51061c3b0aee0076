package service

import (
	"context"
	"log/slog"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
	"google.golang.org/grpc/codes"
)

// callLogger is go-grpc-middleware's logger on log/slog.
func callLogger(log *slog.Logger) logging.Logger {
	return logging.LoggerFunc(func(ctx context.Context, level logging.Level, msg string, fields ...any) {
		log.Log(ctx, slog.Level(level), msg, fields...)
	})
}

// loggingOptions log one line for each call, when it ends. Requests are never logged: they hold credentials.
func loggingOptions() []logging.Option {
	return []logging.Option{
		logging.WithLogOnEvents(logging.FinishCall),
		logging.WithLevels(callLevel),
		logging.WithDisableLoggingFields(logging.ComponentFieldKey, logging.MethodTypeFieldKey, logging.SystemTag[0]),
	}
}

// callLevel is loud only about what an operator should look at. PERMISSION_DENIED is not: only the gate of forwards makes it, which tells of it itself, no oftener than once
// a second.
func callLevel(code codes.Code) logging.Level {
	switch code {
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return logging.LevelError
	case codes.ResourceExhausted, codes.Unauthenticated:
		return logging.LevelWarn
	default:
		return logging.LevelDebug
	}
}
