package resolverstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
)

// addToIndex names a session that this process owns in the index of its tenant's sessions, and in that of this process's.
func (s *Redis) addToIndex(ctx context.Context, key SessionKey) error {
	pipe := s.client.Pipeline()
	s.pipeIndex(ctx, pipe, key)
	_, err := pipe.Exec(ctx)
	return s.fault(ctx, err)
}

// pipeIndex has a pipeline do what addToIndex does.
func (s *Redis) pipeIndex(ctx context.Context, pipe redis.Pipeliner, key SessionKey) {
	shard := indexShard(key.ID)
	s.pipeAdd(ctx, pipe, indexName(key.Tenant, shard), key.ID)
	s.pipeAdd(ctx, pipe, ownedName(s.cfg.Owner, shard), indexEntry(key))
}

func (s *Redis) pipeAdd(ctx context.Context, pipe redis.Pipeliner, index, member string) {
	pipe.ZAdd(ctx, index, redis.Z{Member: member})
	pipe.PExpire(ctx, index, s.cfg.SessionTTL)
}

// unindex takes sessions that are gone out of the indexes, and puts back those that were made again meanwhile.
func (s *Redis) unindex(ctx context.Context, some ...pastSession) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	pipe, there := s.client.Pipeline(), make([]*redis.SliceCmd, len(some))
	for i, one := range some {
		there[i] = s.pipeUnindex(pipe, one.key)
	}
	_, err := pipe.Exec(ctx)
	again := s.client.Pipeline()
	for i, one := range some {
		if v := there[i].Val(); len(v) != 1 || v[0] == nil || v[0] == one.version {
			continue
		}
		if _, mine := s.own(one.key); mine {
			s.pipeIndex(ctx, again, one.key)
		} else {
			s.pipeAdd(ctx, again, indexName(one.key.Tenant, indexShard(one.key.ID)), one.key.ID)
		}
	}
	if again.Len() > 0 && err == nil {
		_, err = again.Exec(ctx)
	}
	if err != nil {
		s.cfg.Logger.Debug("index not mended", "sessions", len(some), "error", err)
	}
	return s.fault(ctx, err)
}

// ListSessions implements Store. It reads a page of each shard of the index, and of the sessions named there what a list shows.
func (s *Redis) ListSessions(ctx context.Context, tenant, after string, labels map[string]string, limit int) ([]Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.reachable(); err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	var out []Session
	for len(out) < limit {
		ids, more, err := s.indexPage(ctx, tenant, after, max(limit-len(out), 16))
		if err != nil {
			return nil, fmt.Errorf("list sessions: %w", err)
		}
		found, err := s.listed(ctx, tenant, ids)
		if err != nil {
			return nil, fmt.Errorf("list sessions: %w", err)
		}
		for _, rec := range found {
			if len(out) < limit && hasLabels(rec.Labels, labels) {
				out = append(out, rec)
			}
		}
		if !more {
			break
		}
		after = ids[len(ids)-1]
	}
	return out, nil
}

// indexPage returns the ids that follow one, in order, at most n; and whether there are more.
func (s *Redis) indexPage(ctx context.Context, tenant, after string, n int) (ids []string, more bool, err error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	from := "-"
	if after != "" {
		from = "(" + after
	}
	pipe := s.client.Pipeline()
	shards := make([]*redis.StringSliceCmd, indexShards)
	for i := range shards {
		shards[i] = pipe.ZRangeByLex(ctx, indexName(tenant, i), &redis.ZRangeBy{Min: from, Max: "+", Count: int64(n)})
	}
	_, err = pipe.Exec(ctx)
	for _, shard := range shards {
		page, shardErr := shard.Result()
		if redis.HasErrorPrefix(shardErr, "WRONGTYPE") { // junk: its owners' sweeps fill it again
			s.client.Del(ctx, shard.Args()[1].(string))
			err = nil
			continue
		}
		if shardErr != nil {
			return nil, false, s.fault(ctx, cmp.Or(shardErr, err))
		}
		ids = append(ids, page...)
	}
	if len(ids) == 0 {
		return nil, false, nil
	}
	slices.Sort(ids)
	if more = len(ids) >= n; len(ids) > n {
		ids = ids[:n]
	}
	return ids, more, nil
}

// listed reads the sessions of some ids. Those that are gone are taken out of the index.
func (s *Redis) listed(ctx context.Context, tenant string, ids []string) ([]Session, error) {
	bound, cancel := s.bounded(ctx)
	defer cancel()
	pipe := s.client.Pipeline()
	cmds := make([]*redis.SliceCmd, len(ids))
	for i, id := range ids {
		cmds[i] = pipe.HMGet(bound, sessionName(SessionKey{tenant, id}), fieldVersion, fieldRecord, fieldFence, fieldCounters)
	}
	_, _ = pipe.Exec(bound) // each command has its own error
	var out []Session
	for i, id := range ids {
		key := SessionKey{tenant, id}
		got, err := cmds[i].Result()
		if err == nil {
			var st *state
			if st, _, err = s.readFields(key, got); err == nil {
				out = append(out, st.snapshot())
				continue
			}
		} else {
			err = s.fault(bound, err)
		}
		switch rec, owned := s.own(key); {
		case owned:
			out = append(out, rec)
		case errors.Is(err, ErrSessionNotFound):
			_ = s.unindex(ctx, pastSession{key: key}) // what lists it next does so again
		case errors.Is(err, ErrCorrupt):
		default:
			return nil, err
		}
	}
	return out, nil
}
