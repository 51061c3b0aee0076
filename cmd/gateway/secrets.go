package main

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// secrets are those of tokens, which are read again when their file changes. What cannot be used leaves those of before. Its methods are safe for concurrent use.
type secrets struct {
	read    func() ([][]byte, error)
	log     *slog.Logger
	current atomic.Pointer[[][]byte]

	reading sync.Mutex // held by reload
	bad     string     // what was told of what could not be used, so that it is told once

	stop    context.CancelFunc
	working sync.WaitGroup
}

// keepSecrets looks for others as often as every, until close.
func keepSecrets(read func() ([][]byte, error), first [][]byte, every time.Duration, log *slog.Logger) *secrets {
	s := &secrets{read: read, log: log}
	s.current.Store(&first)
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.working.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				s.reload()
			case <-ctx.Done():
				return
			}
		}
	})
	return s
}

// close ends the looking.
func (s *secrets) close() {
	s.stop()
	s.working.Wait()
}

// now returns those that are good.
func (s *secrets) now() [][]byte { return *s.current.Load() }

// reload looks at once.
func (s *secrets) reload() {
	s.reading.Lock()
	defer s.reading.Unlock()
	found, err := s.read()
	if err != nil {
		if s.bad != err.Error() {
			s.bad = err.Error()
			s.log.Error("changed secrets of tokens cannot be used; those of before stay", "error", err)
		}
		return
	}
	s.bad = ""
	if slices.EqualFunc(found, s.now(), bytes.Equal) {
		return
	}
	s.current.Store(&found)
	s.log.Info("secrets of tokens have changed", "secrets", len(found))
}
