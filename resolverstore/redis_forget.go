package resolverstore

import (
	"errors"

	"github.com/redis/go-redis/v9"
)

// pastSession is a session of this process's that has ended, and is to be forgotten unless it has changed since.
type pastSession struct {
	key     SessionKey
	version string
	keep    bool // only its places in the indexes are forgotten: an owner before may not know of the end
}

// forgets has ended sessions forgotten, until the store is closed: in batches, since many may end at one moment.
func (s *Redis) forgets() {
	for {
		select {
		case <-s.done:
			return
		case <-s.pastWake:
		}
		for {
			s.mu.Lock()
			n := min(len(s.past), refreshAtOnce)
			some := s.past[:n]
			if s.past = s.past[n:]; len(s.past) == 0 {
				s.past = nil
			}
			s.mu.Unlock()
			if n == 0 {
				break
			}
			for errors.Is(s.forget(some), ErrUnavailable) { // else they would stay in the indexes
				if !s.pause(s.cfg.Heartbeat) {
					return
				}
			}
		}
	}
}

// forget takes sessions out of Redis and its indexes.
func (s *Redis) forget(some []pastSession) error {
	ctx, cancel := s.bounded(s.ctx)
	defer cancel()
	pipe := s.client.Pipeline()
	for _, one := range some {
		if !one.keep {
			s.scripts.drop.Eval(ctx, pipe, []string{sessionName(one.key)}, one.version)
		}
	}
	if pipe.Len() > 0 {
		if _, err := pipe.Exec(ctx); err != nil {
			s.cfg.Logger.Debug("ended sessions not forgotten yet", "error", err)
			return s.fault(ctx, err)
		}
	}
	return s.unindex(ctx, some...)
}

// pipeUnindex has a pipeline take a session out of the indexes, and tell what version is stored of one of that key.
func (s *Redis) pipeUnindex(pipe redis.Pipeliner, key SessionKey) *redis.SliceCmd {
	shard := indexShard(key.ID)
	pipe.ZRem(s.ctx, indexName(key.Tenant, shard), key.ID)
	pipe.ZRem(s.ctx, ownedName(s.cfg.Owner, shard), indexEntry(key))
	return pipe.HMGet(s.ctx, sessionName(key), fieldVersion)
}
