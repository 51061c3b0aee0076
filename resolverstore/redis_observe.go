package resolverstore

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// timing tells how long commands and pipelines take.
type timing struct{ observe func(time.Duration) }

// DialHook implements redis.Hook. Connecting is not told.
func (timing) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (t timing) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		defer t.since(time.Now())
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (t timing) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		defer t.since(time.Now())
		return next(ctx, cmds)
	}
}

func (t timing) since(begun time.Time) { t.observe(time.Since(begun)) }
