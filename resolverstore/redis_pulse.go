package resolverstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"
)

// pulse is this process's heartbeat: it renews the lease, keeps the server's time, and tells whether the store can be reached.
type pulse struct {
	mu     sync.Mutex
	up     bool
	since  time.Time     // unbroken contact with a server that lost nothing began then, by this machine's clock
	lost   time.Time     // when it was last noticed that the server had lost what it held
	offset time.Duration // server's time less this machine's
	known  bool          // offset was measured
	run    string        // of the server, as it says; "" if it does not
}

// Contact tells whether Redis can be reached, and since when it could be without a break or a loss of its data.
func (s *Redis) Contact() (since time.Time, up bool) {
	s.pulse.mu.Lock()
	defer s.pulse.mu.Unlock()
	return s.pulse.since, s.pulse.up
}

// breakContact has contact count from now.
func (p *pulse) breakContact() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.since = time.Now()
}

// now is the server's time.
func (s *Redis) now() time.Time {
	s.pulse.mu.Lock()
	defer s.pulse.mu.Unlock()
	return time.Now().Add(s.pulse.offset)
}

// lately reports whether the server lost its data a short while ago, so that owners may be about to write it again.
func (s *Redis) lately() bool {
	s.pulse.mu.Lock()
	defer s.pulse.mu.Unlock()
	return !s.pulse.lost.IsZero() && time.Since(s.pulse.lost) < s.absence()
}

// absence is how long a session that was there may be missing before it is taken for gone.
func (s *Redis) absence() time.Duration { return 2 * s.cfg.LeaseTTL }

// reachable fails fast while the heartbeat does.
func (s *Redis) reachable() error {
	select {
	case <-s.done:
		return ErrClosed
	default:
	}
	if _, up := s.Contact(); !up {
		return fmt.Errorf("no heartbeat: %w", ErrUnavailable)
	}
	return nil
}

// beats renews the lease until the store is closed.
func (s *Redis) beats() {
	timer := time.NewTimer(s.cfg.Heartbeat)
	defer timer.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-timer.C:
		}
		next := s.cfg.Heartbeat
		if err := s.beat(s.ctx); err != nil {
			next = next/8 + rand.N(next/4+1) // pods that all lost it do not all come at once
		}
		s.housekeep()
		timer.Reset(next)
	}
}

// beat renews the lease once. After a break in contact, and where the server has lost the lease or is another, everything is looked
// at again.
func (s *Redis) beat(ctx context.Context) error {
	sent := time.Now()
	r, err := s.renewLease(ctx)
	if err != nil && time.Since(sent) > 2*s.opts.Timeout { // The process stood still while the deadline passed, which says nothing of Redis.
		sent = time.Now()
		r, err = s.renewLease(ctx)
	}
	if err != nil {
		s.missed(err)
		return err
	}
	p := &s.pulse
	p.mu.Lock()
	first, back, lost := p.since.IsZero(), !p.up, !r.had
	if !first && p.run != "" && r.run != "" && p.run != r.run {
		back = true
	}
	if first || back || lost {
		p.since = time.Now()
	}
	if lost && !first {
		p.lost = time.Now()
		s.stats.losses.Add(1)
	}
	p.up, p.run = true, r.run
	p.measure(r.now, sent, time.Since(sent))
	p.mu.Unlock()
	if !first && (back || lost) {
		s.cfg.Logger.Info("redis can be reached again, or has lost what it held: looking at every session", "lost", lost)
		s.refresh.all()
	}
	if lost && !first { // Perhaps this process stood still, and its clock with it: a machine that was suspended.
		s.unsure()
	}
	return nil
}

// renewLease asks the server to keep the lease for another LeaseTTL.
func (s *Redis) renewLease(ctx context.Context) (r leaseReply, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	self := s.Self()
	got, err := s.scripts.lease.Run(ctx, s.client, []string{leaseName(s.cfg.Owner)}, encodeLease(&self, s.seal(self.Address)), s.cfg.LeaseTTL.Milliseconds()).Slice()
	if err != nil {
		return r, err
	}
	return readLeaseReply(got)
}

// seal returns the proof of this process's lease.
func (s *Redis) seal(address string) string {
	if s.cfg.Seal == nil {
		return ""
	}
	return s.cfg.Seal.Seal(s.cfg.Owner, address)
}

// missed notes a heartbeat that failed.
func (s *Redis) missed(err error) {
	s.stats.failures.Add(1)
	p := &s.pulse
	p.mu.Lock()
	news := p.up
	p.up = false
	p.mu.Unlock()
	if news {
		s.stats.breaks.Add(1)
		s.cfg.Logger.Warn("redis cannot be reached", "error", err)
	}
}

// leaseReply is what leaseScript returns.
type leaseReply struct {
	had bool
	now time.Time
	run string
}

func readLeaseReply(got []any) (r leaseReply, err error) {
	if len(got) != 4 {
		return r, errWire
	}
	had, ok := got[0].(int64)
	var at [2]int64
	for i := range at {
		text, isText := got[i+1].(string)
		if at[i], err = strconv.ParseInt(text, 10, 64); err != nil || !isText {
			return r, errWire
		}
	}
	run, okRun := got[3].(string)
	if !ok || !okRun {
		return r, errWire
	}
	return leaseReply{had: had != 0, now: time.Unix(at[0], at[1]*1000), run: run}, nil
}

// measure takes the server's time, unless it says nothing new.
func (p *pulse) measure(server, sent time.Time, took time.Duration) {
	offset := server.Sub(sent.Add(took / 2))
	if !p.known || (offset-p.offset).Abs() > max(took, 2*time.Millisecond) {
		p.offset, p.known = offset, true
	}
}
