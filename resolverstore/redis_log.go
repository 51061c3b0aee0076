package resolverstore

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"
)

// RedirectRedisLog has the Redis client, which otherwise writes to standard error, log into l at level debug: what matters is logged by
// the store itself. It is for main to call, once, since the client has one logger for the whole process.
func RedirectRedisLog(l *slog.Logger) { redis.SetLogger(redisLog{l}) }

type redisLog struct{ log *slog.Logger }

// Printf implements the client's interface.
func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	if l.log.Enabled(ctx, slog.LevelDebug) {
		l.log.DebugContext(ctx, "redis client", "text", fmt.Sprintf(format, v...))
	}
}
