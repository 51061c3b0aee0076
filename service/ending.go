package service

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/penstock-media/penstock/resolverstore"
)

// endings are sessions that have ended here while the store cannot be told. Until it knows it has them as this process's, and whoever asks it would take them for
// sessions that nobody has opened. There are no more than were open, since no session is made without the store. All methods are safe for concurrent use.
type endings struct {
	mu  sync.Mutex
	all map[resolverstore.SessionKey]ending
}

// ending is one of them.
type ending struct {
	fence  resolverstore.Fence
	reason resolverstore.SessionEndReason
}

// add notes one, which is the last of its id.
func (e *endings) add(k resolverstore.SessionKey, one ending) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.all == nil {
		e.all = make(map[resolverstore.SessionKey]ending)
	}
	e.all[k] = one
}

// remove forgets one, unless another one has its id by now.
func (e *endings) remove(k resolverstore.SessionKey, one ending) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.all[k] == one {
		delete(e.all, k)
	}
}

// of returns the one with an id, and whether there is one.
func (e *endings) of(k resolverstore.SessionKey) (ending, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	one, ok := e.all[k]
	return one, ok
}

// has tells whether what an owner had of a session has ended.
func (e *endings) has(k resolverstore.SessionKey, f resolverstore.Fence) bool {
	one, ok := e.of(k)
	return ok && one.fence == f
}

// unheard tells whether an error of telling the store an end leaves it not knowing that, so that it must be told again.
func unheard(err error) bool { return err != nil && !final(err) }

// endLater goes on trying to tell the store an end, which is among endings, until that is done or the process stops: nobody else would, as long as this pod
// lives.
func (s *Service) endLater(k resolverstore.SessionKey, one ending, log *slog.Logger) {
	defer s.endings.remove(k, one)
	over, err := s.drain.over, resolverstore.ErrUnavailable
	for wait := firstRetry; unheard(err) && over.Err() == nil; wait = min(2*wait, lastRetry) {
		rest(over, wait)
		ctx, cancel := context.WithTimeout(over, endTimeout)
		err = s.cfg.Store.EndOwned(ctx, k, one.fence, one.reason)
		cancel()
		if err == nil {
			log.Info("session ended in the store")
		}
	}
}

// abandon ends a session in the store that this process owns and could not open: nobody would ever serve it. Where the store is away it is told later.
func (s *Service) abandon(ctx context.Context, rec resolverstore.Session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	one := ending{rec.Fence, resolverstore.SessionDrained}
	err := s.cfg.Store.EndOwned(ctx, rec.Key, one.fence, one.reason)
	if err == nil || errors.Is(err, resolverstore.ErrFenced) {
		return
	}
	log := s.cfg.Logger.With("session", logName(rec.Key))
	log.Error("session not ended in the store", "error", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if unheard(err) && !s.closed {
		s.endings.add(rec.Key, one)
		s.ended.Go(func() { s.endLater(rec.Key, one, log) })
	}
}
