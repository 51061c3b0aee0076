package resolverstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// inspect looks whether the server can be used.
func (s *Redis) inspect(ctx context.Context) error {
	if c, ok := s.client.(*redis.ClusterClient); ok {
		err := c.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return s.inspectNode(ctx, node) })
		if err != nil && !errors.Is(err, ErrUnsuitable) {
			err = s.fault(ctx, err)
		}
		return err
	}
	return s.inspectNode(ctx, s.client)
}

func (s *Redis) inspectNode(ctx context.Context, node redis.UniversalClient) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if err := node.Ping(ctx).Err(); err != nil {
		return s.fault(ctx, err)
	}
	info, err := node.Info(ctx, "server").Result()
	if err != nil {
		s.cfg.Logger.Warn("redis does not say what it is; version and eviction policy are not known", "error", err)
		return nil
	}
	if v := infoField(info, "redis_version"); v != "" && tooOld(v) {
		return fmt.Errorf("redis %s is older than 7.0: %w", v, ErrUnsuitable)
	}
	memory, err := node.Info(ctx, "memory").Result()
	if policy := infoField(memory, "maxmemory_policy"); err == nil && policy != "" && policy != "noeviction" {
		s.cfg.Logger.Warn("redis may evict sessions that are in use: set maxmemory-policy to noeviction", "maxmemory_policy", policy)
	}
	return nil
}

// infoField returns a field of an INFO reply.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return v
		}
	}
	return ""
}

func tooOld(v string) bool {
	major, _, _ := strings.Cut(v, ".")
	return len(major) == 1 && major < "7"
}
