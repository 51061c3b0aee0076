package resolverstore

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"
)

// sweeps renews the sessions that this process owns, a few at a time, until the store is closed. It does not hold up the heartbeat.
func (s *Redis) sweeps() {
	timer := time.NewTimer(s.cfg.Heartbeat)
	defer timer.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-timer.C:
		}
		if s.reachable() == nil {
			s.sweep()
		}
		timer.Reset(s.cfg.Heartbeat)
	}
}

// sweep renews some of the sessions that this process owns, so that each is renewed and looked at about four times in SessionTTL: of 10,000
// with the default times some 22 a second, in one round trip, for half of the time. Pods that started together do not sweep together.
func (s *Redis) sweep() {
	s.mu.Lock()
	if quarter := s.cfg.SessionTTL / 4; len(s.sweeping) == 0 && time.Since(s.swept) > quarter {
		s.swept = time.Now().Add(-rand.N(quarter/4 + 1))
		for _, r := range s.replicas { // in the random order of a map
			if r.owned {
				s.sweeping = append(s.sweeping, r)
			}
		}
		s.sweepStep = 1 + len(s.sweeping)*int(s.cfg.Heartbeat)/max(1, int(s.cfg.SessionTTL/8))
	}
	n := min(s.sweepStep, len(s.sweeping), maxSweep)
	some := s.sweeping[:n]
	s.sweeping = s.sweeping[n:]
	s.mu.Unlock()
	s.renew(some)
}

// maxSweep bounds one round trip of a sweep.
const maxSweep = 256

// renew has sessions and their places in the indexes last, and those read again that are not what is held.
func (s *Redis) renew(some []*replica) {
	if len(some) == 0 {
		return
	}
	ctx, cancel := s.bounded(s.ctx)
	defer cancel()
	pipe := s.client.Pipeline()
	held, found := map[*replica]string{}, map[*replica]*redis.StringCmd{}
	for _, r := range some {
		r.mu.Lock()
		skip, raw := r.retired || r.record.State == SessionEnded || !r.owns(), r.version.raw
		r.mu.Unlock()
		if skip {
			continue
		}
		held[r], found[r] = raw, pipe.HGet(ctx, r.name, fieldVersion)
		pipe.PExpire(ctx, r.name, s.cfg.SessionTTL)
		s.pipeIndex(ctx, pipe, r.key)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for r, cmd := range found {
		v, err := cmd.Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			s.cfg.Logger.Debug("session not renewed", "session", r.key.ID, "error", err)
		}
		if err != nil || v != held[r] {
			s.refresh.mark(r)
		}
	}
}

// disown lets a replica go like any other once its session has another owner. The caller may hold room.mu.
func (s *Redis) disown(r *replica) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.owned {
		r.owned = false
		s.count--
		s.stats.deposed.Add(1) // Who serves the session logs it.
	}
	if r.refs == 0 && !r.idle && s.replicas[r.key] == r {
		r.idle, r.idleAt = true, time.Now()
		s.idle = append(s.idle, r)
	}
}
