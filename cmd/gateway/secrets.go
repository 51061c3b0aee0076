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

// secretFile is a file of secrets, of which one is read again when it changes.
type secretFile struct {
	what string // it holds, for the log
	read func() ([][]byte, error)
	// take has what follows from others in use, or refuses them; nil takes all.
	take func(before, after [][]byte) error
}

// secrets are those of a file, which are read again when it changes. What cannot be used leaves those of before. Its methods are safe for concurrent use.
type secrets struct {
	file    secretFile
	log     *slog.Logger
	current atomic.Pointer[[][]byte]

	reading sync.Mutex // held by reload
	bad     string     // what was told of what could not be used, so that it is told once

	taken, failed atomic.Uint64 // changes

	stop    context.CancelFunc
	working sync.WaitGroup
}

// keepSecrets looks for others as often as every, until close.
func keepSecrets(file secretFile, first [][]byte, every time.Duration, log *slog.Logger) *secrets {
	s := &secrets{file: file, log: log}
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
	found, err := s.file.read()
	same := err == nil && slices.EqualFunc(found, s.now(), bytes.Equal)
	if err == nil && !same && s.file.take != nil {
		err = s.file.take(s.now(), found)
	}
	if err != nil {
		if s.bad != err.Error() {
			s.bad = err.Error()
			s.failed.Add(1)
			s.log.Error("changed "+s.file.what+" cannot be used; those of before stay", "error", err)
		}
		return
	}
	s.bad = ""
	if same {
		return
	}
	s.current.Store(&found)
	s.taken.Add(1)
	s.log.Info(s.file.what+" have changed", "secrets", len(found))
}
