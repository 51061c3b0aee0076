package service

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
)

// callWarnings is how many warnings of calls are logged in a second. Anybody can cause them, without credentials too, and none of them is needed to know that there are more.
const callWarnings = 10

// callLogger logs by slog. Warnings that are too many are for debugging only; the next one tells how many there were.
func callLogger(log *slog.Logger) logging.Logger {
	few := rate.NewLimiter(callWarnings, callWarnings)
	var leftOut atomic.Uint64
	return logging.LoggerFunc(func(ctx context.Context, level logging.Level, msg string, fields ...any) {
		switch {
		case level != logging.LevelWarn:
		case !few.Allow():
			level = logging.LevelDebug
			leftOut.Add(1)
		default:
			if n := leftOut.Swap(0); n > 0 {
				fields = append(fields, "left_out", n)
			}
		}
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

// callLevel is loud only about what an operator should look at. PERMISSION_DENIED is not: it is counted, and the gate of forwards tells of its own, no oftener than
// once a second.
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
