package resolverstore

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// maxPods bounds the pods that are looked at. More are there only if somebody writes junk into their index.
const maxPods = 1024

// peers is what this process knows of other pods: what their leases told when they were last looked at, once a heartbeat.
type peers struct {
	mu      sync.Mutex
	all     map[string]*peer
	since   time.Time     // of the contact in which leases were looked at last: see Contact
	looked  time.Time     // when they were
	next    chan struct{} // closed and replaced after each look
	refused map[string]string
	tell    []func() // what is to be logged when mu is free
}

// peer is one other pod.
type peer struct {
	pod      Pod
	claimed  string    // the address in its lease, proved or not
	unproved bool      // its lease is not proved
	alive    bool      // its lease was there
	missing  time.Time // the first look since which every look found no lease; zero while there is one, or none was looked for
	runsOut  time.Time // before this the lease that the last look found cannot have run out; zero where that is not known
	watched  time.Time // since when each look at it was answered promptly, in unbroken contact
	gone     time.Time // when it had run out, or had been missing for LeaseTTL
	listed   bool      // it is in the index of pods
	wanted   time.Time // when somebody asked for it last
	pass     pass      // how far its sessions were looked at
}

func newPeers() *peers {
	return &peers{all: map[string]*peer{}, next: make(chan struct{}), refused: map[string]string{}}
}

// looks looks at the other pods' leases until the store is closed.
func (s *Redis) looks() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-timer.C:
		}
		s.look()
		timer.Reset(s.nextLook())
	}
}

// justAfter is how long after a lease must have run out it is looked at.
const justAfter = 10 * time.Millisecond

// nextLook returns how long to wait for the next look: a heartbeat, or until the first lease runs out that was not renewed in time.
func (s *Redis) nextLook() time.Duration {
	wait := s.cfg.Heartbeat
	s.peers.mu.Lock()
	defer s.peers.mu.Unlock()
	for _, one := range s.peers.all {
		if one.alive && !one.runsOut.IsZero() {
			wait = min(wait, max(time.Until(one.runsOut)+justAfter, justAfter))
		}
	}
	return wait
}

// prompt is how far apart the answers of two looks may be at the most, so that a Redis that stood still in between cannot have had the lease of a pod
// run out that lives: such a pod has always more than this left, as it renews its lease each heartbeat.
func (c *Config) prompt() time.Duration { return (c.LeaseTTL - c.Heartbeat) * 3 / 4 }

// look looks at the leases of all pods once: one round trip, and another one where a pod is new. What it costs depends on how many pods
// there are, not on their sessions.
func (s *Redis) look() {
	began := time.Now()
	since, up := s.Contact()
	known := s.peers.names()
	if up {
		ctx, cancel := s.bounded(s.ctx)
		defer cancel()
		listed, leases, err := s.readPeers(ctx, known)
		if again, still := s.Contact(); err == nil && still && again.Equal(since) {
			s.noteLook(began, since, listed, leases)
			return
		}
	}
	s.peers.blind()
}

// lease is what a look found.
type lease struct {
	value string
	there bool
	left  time.Duration // until it runs out; not above 0 where that is not known
	err   error
}

// readPeers reads the index of pods, and the leases of those in it and of those given.
func (s *Redis) readPeers(ctx context.Context, known []string) (listed []string, leases map[string]lease, err error) {
	pipe := s.client.Pipeline()
	index := pipe.ZRangeByLex(ctx, podsName, &redis.ZRangeBy{Min: "-", Max: "+", Count: maxPods})
	pipe.PExpire(ctx, podsName, s.cfg.SessionTTL)
	read := s.pipeLeases(ctx, pipe, known)
	_, _ = pipe.Exec(ctx) // each command has its own error
	listed, err = index.Result()
	if redis.HasErrorPrefix(err, "WRONGTYPE") { // junk: all pods fill it again
		err = s.client.Del(ctx, podsName).Err()
	}
	if err != nil {
		return nil, nil, err
	}
	leases = read()
	self := false
	var more []string
	for _, name := range listed {
		_, seen := leases[name]
		self = self || name == s.cfg.Owner
		if !seen && name != s.cfg.Owner && name != "" && len(name) <= s.cfg.MaxIDBytes {
			more = append(more, name)
		}
	}
	if len(more) > 0 || !self {
		pipe = s.client.Pipeline()
		read = s.pipeLeases(ctx, pipe, more)
		if !self {
			s.pipeAdd(ctx, pipe, podsName, s.cfg.Owner)
		}
		_, _ = pipe.Exec(ctx)
		for name, l := range read() {
			leases[name] = l
		}
	}
	return listed, leases, nil
}

// pipeLeases has a pipeline read leases; the function tells what they were after it has run.
func (s *Redis) pipeLeases(ctx context.Context, pipe redis.Pipeliner, names []string) func() map[string]lease {
	cmds, left := make([]*redis.StringCmd, len(names)), make([]*redis.DurationCmd, len(names))
	for i, name := range names {
		cmds[i], left[i] = pipe.Get(ctx, leaseName(name)), pipe.PTTL(ctx, leaseName(name))
	}
	return func() map[string]lease {
		out := make(map[string]lease, len(names))
		for i, name := range names {
			v, err := cmds[i].Result()
			switch {
			case err == nil:
				out[name] = lease{value: v, there: true, left: left[i].Val()}
			case errors.Is(err, redis.Nil):
				out[name] = lease{}
			case redis.HasErrorPrefix(err, "WRONGTYPE"):
				out[name] = lease{there: true}
			default:
				out[name] = lease{err: err}
			}
		}
		return out
	}
}

// noteLook takes what a look found, that began in the contact given and is over now.
func (s *Redis) noteLook(began, since time.Time, listed []string, leases map[string]lease) {
	s.noteLookAt(began, time.Now(), since, listed, leases)
}

// noteLookAt is noteLook at a time.
func (s *Redis) noteLookAt(began, now, since time.Time, listed []string, leases map[string]lease) {
	for _, tell := range s.looked(began, now, since, listed, leases) {
		tell()
	}
}

// looked is noteLookAt, and returns what is to be logged without a lock.
func (s *Redis) looked(began, now, since time.Time, listed []string, leases map[string]lease) (tell []func()) {
	p := s.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { tell, p.tell = p.tell, nil }()
	unbroken := p.since.Equal(since) && began.Sub(p.looked) <= s.cfg.LeaseTTL
	prompt := unbroken && now.Sub(p.looked) <= s.cfg.prompt()
	for name, l := range leases {
		one := p.all[name]
		if one == nil {
			if len(p.all) >= 2*maxPods {
				continue
			}
			one = &peer{pod: Pod{Incarnation: name}, wanted: now}
			p.all[name] = one
		}
		if !unbroken {
			one.missing, one.gone = time.Time{}, time.Time{}
		}
		if !prompt || one.watched.IsZero() {
			one.watched = now
		}
		switch {
		case l.err != nil:
			one.missing, one.gone, one.runsOut, one.watched = time.Time{}, time.Time{}, time.Time{}, now
		case l.there:
			s.noteLease(one, l.value)
			if one.runsOut = (time.Time{}); l.left > 0 {
				one.runsOut = began.Add(l.left)
			}
		default:
			s.noteNoLease(one, began, now)
		}
	}
	for name, one := range p.all {
		one.listed = slices.Contains(listed, name)
		if !one.listed && !one.alive && now.Sub(one.wanted) > 4*s.cfg.LeaseTTL {
			delete(p.all, name)
			delete(p.refused, name)
		}
	}
	p.since, p.looked = since, now
	close(p.next)
	p.next = make(chan struct{})
	return nil
}

// noteNoLease takes it that a lease is missing. A pod is gone at once where its lease has run out while Redis answered promptly all the time: it has failed to renew it
// for a whole LeaseTTL, in which this process could have. A lease that went otherwise (Redis was flushed, or failed over; somebody deleted it), or that ran out within
// a LeaseTTL of a doubt about Redis, must be missing for as long: its owner is about to renew it. The caller holds peers.mu.
func (s *Redis) noteNoLease(one *peer, began, now time.Time) {
	ranOut := false
	if one.missing.IsZero() {
		ranOut = one.alive && !one.runsOut.IsZero() && !now.Before(one.runsOut) && began.Sub(one.watched) >= s.cfg.LeaseTTL
		one.alive, one.missing = false, now
	}
	if one.gone.IsZero() && (ranOut || began.Sub(one.missing) >= s.cfg.LeaseTTL) {
		one.gone, one.pass = now, pass{}
		pod := one.pod
		s.peers.tell = append(s.peers.tell, func() {
			s.cfg.Logger.Info("pod is gone", "incarnation", pod.Incarnation, "address", pod.Address)
		})
	}
}

// noteLease takes a lease that is there. The caller holds peers.mu.
func (s *Redis) noteLease(one *peer, value string) {
	name := one.pod.Incarnation
	pod, err := decodeLease(name, value, s.cfg.Seal)
	mark := value + "!"
	if errors.Is(err, errSeal) { // Its load may change all the time.
		mark = "seal!"
	}
	switch {
	case err == nil:
		delete(s.peers.refused, name) // The next time is told again.
	case s.peers.refused[name] != mark:
		s.peers.refused[name] = mark
		s.stats.corrupt.Add(1)
		s.peers.tell = append(s.peers.tell, func() {
			s.cfg.Logger.Warn("the lease of a pod cannot be read; it is left alone", "incarnation", name, "error", err)
		})
	}
	if one.pass.shard > 0 || !one.gone.IsZero() {
		s.peers.tell = append(s.peers.tell, func() { s.cfg.Logger.Info("pod is back", "incarnation", name) })
	}
	one.pod, one.alive, one.missing, one.gone, one.pass = pod, true, time.Time{}, time.Time{}, pass{}
	one.claimed, one.unproved = leaseAddress(value), errors.Is(err, errSeal)
}

// blind notes that leases could not be looked at: nobody is gone until that has been seen anew for as long as it takes.
func (p *peers) blind() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.all {
		one.missing, one.gone, one.runsOut = time.Time{}, time.Time{}, time.Time{}
	}
	p.since = time.Time{}
}

// names returns whom to look at.
func (p *peers) names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]string, 0, len(p.all))
	for name := range p.all {
		out = append(out, name)
	}
	return out
}

// isGone reports whether a pod's sessions may be taken over, as the last look says. Else it has the next looks look at that pod.
func (s *Redis) isGone(incarnation string) bool {
	if incarnation == s.cfg.Owner || incarnation == "" || len(incarnation) > s.cfg.MaxIDBytes {
		return false
	}
	since, up := s.Contact()
	p := s.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.want(incarnation)
	return one != nil && up && since.Equal(p.since) && !one.gone.IsZero() && time.Since(p.looked) <= s.cfg.LeaseTTL
}

// want notes that somebody asks for a pod. The caller holds peers.mu.
func (p *peers) want(incarnation string) *peer {
	one := p.all[incarnation]
	if one == nil {
		if len(p.all) >= 2*maxPods {
			return nil
		}
		one = &peer{pod: Pod{Incarnation: incarnation}}
		p.all[incarnation] = one
	}
	one.wanted = time.Now()
	return one
}

// podOf tells of the pod with an incarnation what is known; of one that was never looked at, what its lease says now.
func (s *Redis) podOf(ctx context.Context, incarnation string) (pod Pod, alive bool) {
	if incarnation == s.cfg.Owner {
		return s.Self(), true
	}
	p := s.peers
	p.mu.Lock()
	one := p.all[incarnation]
	if one != nil && (one.alive || !one.missing.IsZero()) {
		one.wanted = time.Now()
		pod, alive = one.pod, one.alive
	}
	p.mu.Unlock()
	if pod.Incarnation == "" && incarnation != "" && s.reachable() == nil {
		bounded, cancel := s.bounded(ctx)
		defer cancel()
		v, err := s.client.Get(bounded, leaseName(incarnation)).Result()
		p.mu.Lock()
		p.want(incarnation)
		p.mu.Unlock()
		if alive = err == nil; alive {
			pod, _ = decodeLease(incarnation, v, s.cfg.Seal)
		}
	}
	if !alive {
		return Pod{Incarnation: incarnation}, false
	}
	return pod, true
}

// Claimed implements Ownership.
func (s *Redis) Claimed(incarnation string) (address string, alive bool) {
	s.peers.mu.Lock()
	defer s.peers.mu.Unlock()
	one := s.peers.all[incarnation]
	if one == nil || !one.alive {
		return "", false
	}
	return one.claimed, true
}

// Pods implements Ownership. It costs no commands: it tells what the last look saw.
func (s *Redis) Pods(ctx context.Context) ([]Pod, error) {
	if err := cmp.Or(ctx.Err(), s.reachable()); err != nil {
		return nil, err
	}
	out := []Pod{s.Self()}
	s.peers.mu.Lock()
	for _, one := range s.peers.all {
		if one.alive && one.listed {
			out = append(out, one.pod)
		}
	}
	s.peers.mu.Unlock()
	slices.SortFunc(out, func(a, b Pod) int { return cmp.Compare(a.Incarnation, b.Incarnation) })
	return out, nil
}

// awaitLook waits for the next look.
func (s *Redis) awaitLook(ctx context.Context, next <-chan struct{}) error {
	select {
	case <-next:
		return nil
	case <-s.done:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// afterLook returns what is closed after the next look.
func (p *peers) afterLook() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}

// Gone implements Ownership.
func (s *Redis) Gone(ctx context.Context, incarnation string) error {
	for {
		next := s.peers.afterLook()
		if s.isGone(incarnation) {
			return nil
		}
		if err := s.awaitLook(ctx, next); err != nil {
			return err
		}
	}
}
