package resolverstore

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/redis/go-redis/v9"
)

// This file is how pods share out the sessions of one that is gone. Each looks through that pod's index, page by page: at first for those
// that are its own by rendezvous hashing over the pods that live and do not drain, so that no two want the same; a LeaseTTL later, and after
// each further one, for all that are left. An entry is no more than a hint: the session's own record says who owns it.

// pass is how far the index of a gone pod was looked through.
type pass struct {
	late  bool // it is for all that are left
	shard int
	after string    // in the shard
	found bool      // there was anything
	due   time.Time // when it may go on
}

// Orphans implements Ownership.
func (s *Redis) Orphans(ctx context.Context, limit int) ([]Session, error) {
	select {
	case s.orphaning <- struct{}{}:
		defer func() { <-s.orphaning }()
	case <-s.done:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	for {
		next := s.peers.afterLook()
		if s.reachable() == nil && !s.Self().Load.Draining {
			out, err := s.someOrphans(ctx, max(limit, 1))
			if err != nil {
				s.cfg.Logger.Debug("sessions of pods that are gone not read", "error", err)
			}
			if len(out) > 0 {
				return out, nil
			}
		}
		if err := s.awaitLook(ctx, next); err != nil {
			return nil, err
		}
	}
}

// someOrphans returns some sessions that this process may take over now, if there are any.
func (s *Redis) someOrphans(ctx context.Context, limit int) ([]Session, error) {
	out, err := s.readUnclaimed(ctx, limit)
	for err == nil && len(out) < limit {
		incarnation, p, ok := s.nextPass()
		if !ok {
			break
		}
		var found []Session
		if found, err = s.goThrough(ctx, incarnation, &p, limit-len(out)); err != nil {
			break
		}
		out = append(out, found...)
		s.passed(ctx, incarnation, p)
	}
	return out, err
}

// nextPass returns a gone pod whose index may be looked through now.
func (s *Redis) nextPass() (string, pass, bool) {
	now := time.Now()
	s.peers.mu.Lock()
	defer s.peers.mu.Unlock()
	for name, one := range s.peers.all {
		if !one.gone.IsZero() && now.After(one.pass.due) {
			return name, one.pass, true
		}
	}
	return "", pass{}, false
}

// passed notes how far a pass has come. A pod that left nothing is taken out of the index of pods.
func (s *Redis) passed(ctx context.Context, incarnation string, p pass) {
	forget := false
	s.peers.mu.Lock()
	if one := s.peers.all[incarnation]; one != nil && !one.gone.IsZero() {
		if p.shard == indexShards {
			forget = p.late && !p.found
			p = pass{late: true, due: time.Now().Add(s.cfg.LeaseTTL)}
		}
		one.pass = p
	}
	s.peers.mu.Unlock()
	if !forget {
		return
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if err := s.client.ZRem(ctx, podsName, incarnation).Err(); err != nil {
		s.cfg.Logger.Debug("pod that is gone still listed", "incarnation", incarnation, "error", err)
	}
}

// goThrough looks at the next page of a gone pod's index, and returns those sessions that are this process's to take over.
func (s *Redis) goThrough(ctx context.Context, incarnation string, p *pass, limit int) ([]Session, error) {
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	by := &redis.ZRangeBy{Min: "-", Max: "+", Count: int64(limit)}
	if p.after != "" {
		by.Min = "(" + p.after
	}
	index := ownedName(incarnation, p.shard)
	page, err := s.client.ZRangeByLex(bounded, index, by).Result()
	if redis.HasErrorPrefix(err, "WRONGTYPE") { // junk: what it held is found by who asks for it
		page, err = nil, s.client.Del(bounded, index).Err()
	}
	if err != nil {
		return nil, s.fault(bounded, err)
	}
	var mine []SessionKey
	var junk []any
	for _, entry := range page {
		key, err := parseIndexEntry(entry)
		switch {
		case err != nil || !s.validKey(key) || indexShard(key.ID) != p.shard:
			junk = append(junk, entry)
		case p.late || s.share(key):
			mine = append(mine, key)
		}
	}
	if len(junk) > 0 {
		s.client.ZRem(bounded, index, junk...)
	}
	out, err := s.readOrphans(ctx, incarnation, mine)
	if err != nil {
		return nil, err
	}
	p.found = p.found || len(page) > len(junk)
	if len(page) < limit {
		p.shard, p.after = p.shard+1, ""
	} else {
		p.after = page[len(page)-1]
	}
	return out, nil
}

// readOrphans reads sessions that an index says are a gone pod's, and returns those that are. The others are taken out of that index.
func (s *Redis) readOrphans(ctx context.Context, incarnation string, keys []SessionKey) (out []Session, err error) {
	if len(keys) == 0 {
		return nil, nil
	}
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	pipe := s.client.Pipeline()
	cmds := make([]*redis.SliceCmd, len(keys))
	for i, key := range keys {
		cmds[i] = pipe.HMGet(bounded, sessionName(key), fieldVersion, fieldRecord, fieldFence, fieldCounters)
	}
	_, _ = pipe.Exec(bounded) // each command has its own error
	var wrong []SessionKey
	for i, key := range keys {
		got, err := cmds[i].Result()
		if err != nil {
			return nil, s.fault(bounded, err)
		}
		st, _, err := s.readFields(key, got)
		switch {
		case errors.Is(err, ErrSessionNotFound), err == nil && st.record.State == SessionEnded:
			_ = s.unindex(ctx, pastSession{key: key}) // as well
			wrong = append(wrong, key)
		case err == nil && st.record.Fence.Owner != incarnation:
			wrong = append(wrong, key)
		case err == nil:
			out = append(out, st.snapshot())
		case errors.Is(err, ErrCorrupt):
		default:
			return nil, err
		}
	}
	s.dropOwned(ctx, incarnation, wrong)
	return out, nil
}

// readUnclaimed returns sessions that this process took over without having heard of it.
func (s *Redis) readUnclaimed(ctx context.Context, limit int) (out []Session, err error) {
	s.mu.Lock()
	var keys []SessionKey
	for key := range s.unclaimed {
		if len(keys) < limit {
			keys = append(keys, key)
		}
	}
	s.mu.Unlock()
	for _, key := range keys {
		bounded, cancel := s.bounded(ctx)
		st, _, err := s.read(bounded, key)
		cancel()
		if errors.Is(err, ErrUnavailable) {
			return out, err
		}
		s.mu.Lock()
		if err == nil && st.record.State != SessionEnded && st.record.Fence == s.unclaimed[key] {
			out = append(out, st.snapshot())
		} else {
			delete(s.unclaimed, key)
		}
		s.mu.Unlock()
	}
	return out, nil
}

// dropOwned takes sessions out of the index of a pod that does not own them any more.
func (s *Redis) dropOwned(ctx context.Context, incarnation string, keys []SessionKey) {
	if len(keys) == 0 || incarnation == s.cfg.Owner {
		return
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	pipe := s.client.Pipeline()
	for _, key := range keys {
		pipe.ZRem(ctx, ownedName(incarnation, indexShard(key.ID)), indexEntry(key))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		s.cfg.Logger.Debug("index of a pod not mended", "incarnation", incarnation, "error", err)
	}
}

// share reports whether this process is the one, of the pods that live and take sessions, that is to take a session over.
func (s *Redis) share(key SessionKey) bool {
	mine := rendezvous(s.cfg.Owner, key)
	s.peers.mu.Lock()
	defer s.peers.mu.Unlock()
	for name, one := range s.peers.all {
		if one.alive && one.listed && !one.pod.Load.Draining && rendezvous(name, key) > mine {
			return false
		}
	}
	return true
}

// rendezvous returns the weight that a pod has for a session: FNV-1a, mixed as SplitMix64 does, so that similar names are far apart.
func rendezvous(incarnation string, key SessionKey) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%q%q%q", incarnation, key.Tenant, key.ID)
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
