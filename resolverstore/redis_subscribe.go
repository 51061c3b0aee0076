package resolverstore

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// subscriber hears of every change of the sessions that this process holds: over one connection, in a cluster over one for each
// shard, however many wait. A session is read only after its subscription was confirmed, and again after each further
// confirmation: after a reconnection, a dropped buffer, or a slot that moved.
type subscriber struct {
	store   *Redis
	sharded bool

	mu    sync.Mutex
	names map[string]*replica // by channel
	route map[string]*link    // channel -> where it is subscribed
	links map[string]*link    // by node
	lost  map[string]struct{} // channels that need a link
	wake  chan struct{}
}

func newSubscriber(s *Redis) *subscriber {
	_, cluster := s.client.(*redis.ClusterClient)
	return &subscriber{
		store: s, sharded: cluster, names: map[string]*replica{}, route: map[string]*link{},
		links: map[string]*link{}, lost: map[string]struct{}{}, wake: make(chan struct{}, 1),
	}
}

// publish is the command by which scripts tell.
func (s *subscriber) publish() string {
	if s.sharded {
		return "SPUBLISH"
	}
	return "PUBLISH"
}

// add subscribes to a session's channel. Its confirmation has the session read.
func (s *subscriber) add(r *replica) {
	s.mu.Lock()
	s.names[r.name] = r
	if l := s.route[r.name]; l != nil {
		// Another replica of the name had it: ask again, since this one wants a confirmation of its own.
		l.again(r.name)
	} else {
		s.lost[r.name] = struct{}{}
	}
	s.mu.Unlock()
	poke(s.wake)
}

// remove ends the subscription of a session.
func (s *subscriber) remove(r *replica) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names[r.name] != r {
		return
	}
	delete(s.names, r.name)
	delete(s.lost, r.name)
	if l := s.route[r.name]; l != nil {
		delete(s.route, r.name)
		l.want(r.name, false)
	}
}

func (s *subscriber) replica(channel string) *replica {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[channel]
}

// poke wakes who reads the channel, which holds one token.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run gives each channel a link, until the store is closed.
func (s *subscriber) run() {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case <-s.store.done:
			return
		case <-s.wake:
		}
		for channel := range s.take() {
			node, client, err := s.nodeOf(channel)
			s.mu.Lock()
			switch {
			case s.names[channel] == nil:
			case err != nil:
				s.lost[channel] = struct{}{}
			default:
				l := s.links[node]
				if l == nil {
					l = &link{sub: s, node: node, client: client, wanted: map[string]bool{}, sent: map[string]bool{}, wake: make(chan struct{}, 1)}
					s.links[node] = l
					running.Go(l.run)
				}
				s.route[channel] = l
				l.want(channel, true)
			}
			s.mu.Unlock()
			if err != nil && !s.store.pause(s.store.opts.Timeout/10) {
				return
			}
		}
		s.mu.Lock()
		if len(s.lost) > 0 {
			poke(s.wake)
		}
		s.mu.Unlock()
	}
}

func (s *subscriber) take() map[string]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.lost
	s.lost = map[string]struct{}{}
	return all
}

// nodeOf tells which node a channel's messages come from: in a cluster the master of its slot.
func (s *subscriber) nodeOf(channel string) (string, redis.UniversalClient, error) {
	c, ok := s.store.client.(*redis.ClusterClient)
	if !ok {
		return "", s.store.client, nil
	}
	ctx, cancel := context.WithTimeout(s.store.ctx, s.store.opts.Timeout)
	defer cancel()
	node, err := c.MasterForKey(ctx, channel)
	if err != nil {
		return "", nil, err
	}
	return node.Options().Addr, node, nil
}

// reroute looks for another node for channels of a link that could not be had there.
func (s *subscriber) reroute(l *link, channels []string) {
	if c, ok := s.store.client.(*redis.ClusterClient); ok {
		c.ReloadState(s.store.ctx)
	}
	s.mu.Lock()
	for _, channel := range channels {
		if s.route[channel] == l {
			delete(s.route, channel)
			l.forget(channel)
			s.lost[channel] = struct{}{}
		}
	}
	s.mu.Unlock()
	poke(s.wake)
}

// link is one connection that subscribes.
type link struct {
	sub    *subscriber
	node   string
	client redis.UniversalClient
	wake   chan struct{}

	mu     sync.Mutex
	wanted map[string]bool
	sent   map[string]bool // asked for on the connection that there is
}

// want says whether a channel is wanted. One that is wanted is always asked for, even if it was left so short a while ago that this was
// not sent yet: who wants it now waits for a confirmation of its own, and what came meanwhile reached nobody.
func (l *link) want(channel string, yes bool) {
	l.mu.Lock()
	if yes {
		l.wanted[channel] = true
		delete(l.sent, channel)
	} else {
		delete(l.wanted, channel)
	}
	l.mu.Unlock()
	poke(l.wake)
}

// forget says that a channel is neither wanted here nor subscribed to any more: should it be wanted here again, it is asked for anew.
func (l *link) forget(channel string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.wanted, channel)
	delete(l.sent, channel)
}

// again has a channel asked for once more.
func (l *link) again(channel string) {
	l.mu.Lock()
	delete(l.sent, channel)
	l.mu.Unlock()
	poke(l.wake)
}

// run keeps a connection while any channel is wanted, until the store is closed.
func (l *link) run() {
	for {
		if !l.awaitWanted() {
			return
		}
		ps := l.open()
		ctx, cancel := context.WithCancel(l.sub.store.ctx)
		hangUp := context.AfterFunc(ctx, func() { _ = ps.Close() }) // what reads takes no notice of ctx
		var asking sync.WaitGroup
		asking.Go(func() { l.ask(ctx, ps) })
		err := l.listen(ctx, ps)
		hangUp()
		cancel()
		_ = ps.Close()
		asking.Wait()
		l.sub.store.cfg.Logger.Debug("subscription lost", "node", l.node, "error", err)
		l.mu.Lock()
		all := make([]string, 0, len(l.wanted))
		for channel := range l.wanted {
			all = append(all, channel)
		}
		clear(l.sent)
		l.mu.Unlock()
		if l.sub.sharded {
			l.sub.reroute(l, all)
		}
		if !l.sub.store.pause(l.sub.store.opts.Timeout / 20) {
			return
		}
	}
}

// awaitWanted waits until a channel is wanted. It reports false when the store was closed meanwhile.
func (l *link) awaitWanted() bool {
	for {
		l.mu.Lock()
		some := len(l.wanted) > 0
		l.mu.Unlock()
		if some {
			return true
		}
		select {
		case <-l.sub.store.done:
			return false
		case <-l.wake:
		}
	}
}

func (l *link) open() *redis.PubSub {
	if l.sub.sharded {
		return l.client.SSubscribe(l.sub.store.ctx)
	}
	return l.client.Subscribe(l.sub.store.ctx)
}

// askAtOnce is how many channels one command names.
const askAtOnce = 256

// ask subscribes and unsubscribes, so that the connection has what is wanted.
func (l *link) ask(ctx context.Context, ps *redis.PubSub) {
	poke(l.wake)
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		}
		for {
			on, off := l.changes()
			if len(on)+len(off) == 0 {
				break
			}
			if err := l.send(ctx, ps, on, off); err != nil {
				_ = ps.Close() // listen notices
				return
			}
		}
	}
}

// changes returns some channels to subscribe to and some to leave, and notes them as asked for.
func (l *link) changes() (on, off []string) {
	most := askAtOnce
	if l.sub.sharded {
		most = 1 // one command may not name two slots
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for channel := range l.wanted {
		if len(on) < most && !l.sent[channel] {
			on = append(on, channel)
			l.sent[channel] = true
		}
	}
	for channel := range l.sent {
		if len(off) < most && !l.wanted[channel] {
			off = append(off, channel)
			delete(l.sent, channel)
		}
	}
	return on, off
}

func (l *link) send(ctx context.Context, ps *redis.PubSub, on, off []string) error {
	subscribe, unsubscribe := ps.Subscribe, ps.Unsubscribe
	if l.sub.sharded {
		subscribe, unsubscribe = ps.SSubscribe, ps.SUnsubscribe
	}
	if len(off) > 0 {
		if err := unsubscribe(ctx, off...); err != nil {
			return err
		}
	}
	if len(on) > 0 {
		return subscribe(ctx, on...)
	}
	return nil
}

// listen hands on what comes, until the connection fails. A connection that says nothing is asked whether it is still there.
func (l *link) listen(ctx context.Context, ps *redis.PubSub) error {
	quiet := false
	for {
		got, err := ps.ReceiveTimeout(ctx, 3*l.sub.store.cfg.Heartbeat)
		var timeout net.Error
		switch {
		case err != nil && errors.As(err, &timeout) && timeout.Timeout() && !quiet && ctx.Err() == nil:
			quiet = true
			if err := ps.Ping(ctx); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		quiet = false
		l.take(got)
	}
}

func (l *link) take(got any) {
	switch m := got.(type) {
	case *redis.Subscription:
		r := l.sub.replica(m.Channel)
		switch {
		case r == nil:
		case strings.HasSuffix(m.Kind, "unsubscribe"):
			l.left(m.Channel)
		default:
			l.sub.store.refresh.confirmed(r)
		}
	case *redis.Message:
		if r := l.sub.replica(m.Channel); r != nil {
			l.sub.store.deliver(r, m.Payload)
		}
	}
}

// left says that a channel is no longer subscribed: the node has lost the slot, or the channel was left and is wanted again.
func (l *link) left(channel string) {
	l.mu.Lock()
	moved := l.wanted[channel] && l.sent[channel]
	l.mu.Unlock()
	if moved && l.sub.sharded {
		l.sub.reroute(l, []string{channel})
	}
}

// pause waits. It reports false when the store was closed meanwhile.
func (s *Redis) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.done:
		return false
	}
}
