package resolverstore

import "github.com/redis/go-redis/v9"

// pastSession is an ended session of this process's that is to be forgotten, unless it has changed since.
type pastSession struct {
	key     SessionKey
	version string
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
			s.forget(some)
		}
	}
}

// forget takes sessions out of Redis and its indexes. Those that Redis does not hear of go when their time is over.
func (s *Redis) forget(some []pastSession) {
	ctx, cancel := s.bounded(s.ctx)
	defer cancel()
	pipe := s.client.Pipeline()
	for _, one := range some {
		s.scripts.drop.Eval(ctx, pipe, []string{sessionName(one.key)}, one.version)
	}
	_, err := pipe.Exec(ctx)
	keys := make([]SessionKey, len(some))
	for i, one := range some {
		keys[i] = one.key
	}
	if err != nil {
		s.cfg.Logger.Debug("ended sessions not forgotten yet", "error", err)
		return
	}
	s.unindex(ctx, keys...)
}

// pipeUnindex has a pipeline take a session out of the indexes, and tell whether there is one of that key.
func (s *Redis) pipeUnindex(pipe redis.Pipeliner, key SessionKey) *redis.IntCmd {
	shard := indexShard(key.ID)
	pipe.ZRem(s.ctx, indexName(key.Tenant, shard), key.ID)
	pipe.ZRem(s.ctx, ownedName(s.cfg.Owner, shard), indexEntry(key))
	return pipe.Exists(s.ctx, sessionName(key))
}
