package service

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
)

// monitored is what a Redis is told by its clients, as its MONITOR says.
type monitored struct {
	t      *testing.T
	lines  *bufio.Scanner
	beside net.Conn
	marks  int
}

// countCommands watches a Redis until the test ends.
func countCommands(t *testing.T, socket string) *monitored {
	t.Helper()
	var conns [2]net.Conn
	for i := range conns {
		c, err := new(net.Dialer).DialContext(t.Context(), "unix", socket)
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
		must(t, c.SetDeadline(time.Now().Add(hang)))
		conns[i] = c
	}
	_, err := conns[0].Write([]byte("MONITOR\r\n"))
	must(t, err)
	m := &monitored{t: t, lines: bufio.NewScanner(conns[0]), beside: conns[1]}
	m.lines.Buffer(nil, 1<<20)
	if !m.lines.Scan() || m.lines.Text() != "+OK" {
		t.Fatal(m.lines.Text(), m.lines.Err())
	}
	return m
}

// about returns the names of the commands since it was asked last whose arguments name something.
func (m *monitored) about(name string) (commands []string) {
	m.t.Helper()
	m.marks++
	mark := fmt.Sprintf("mark-%d-", m.marks)
	_, err := fmt.Fprintf(m.beside, "ECHO %s\r\n", mark)
	must(m.t, err)
	for m.lines.Scan() {
		line := m.lines.Text()
		if strings.Contains(line, mark) {
			return commands
		}
		if _, command, ok := strings.Cut(line, "] "); ok && strings.Contains(line, name) {
			commands = append(commands, strings.ToLower(strings.Trim(strings.Fields(command)[0], `"`)))
		}
	}
	m.t.Fatal(m.lines.Err())
	return nil
}

// TestO4_RefusedSessionsAreNotStored counts what Redis is told by calls of CreateSession that are refused, for their caller has as many sessions as it may have or the pod has: each costs one look, and writes nothing. The
// request of a session that is there is no further one, and is not counted as refused; nor is that of an id whose session has just ended.
func TestO4_RefusedSessionsAreNotStored(t *testing.T) {
	for name, c := range map[string]struct {
		limits Limits
		kind   limitKind
	}{"of the caller": {Limits{CallerSessions: 1}, limitCallerSessions}, "of the pod": {Limits{Sessions: 1}, limitSessions}} {
		t.Run(name, func(t *testing.T) {
			p := startSteadyPods(t, 1, func(cfg *Config) { cfg.Limits = c.limits })[0]
			told := countCommands(t, p.link.server)
			p.create("first")
			if wrote := told.about("first"); len(wrote) < 2 {
				t.Fatalf("a session that is made costs %v", wrote)
			}
			const calls = 5
			for n := range calls {
				_, err := p.sessions.CreateSession(p.ctx, &penstockv1.CreateSessionRequest{SessionId: fmt.Sprint("more-", n)})
				wantLimit(t, err, c.kind, 1)
			}
			looks := told.about("more-")
			if len(looks) != calls {
				t.Errorf("%d calls that are refused cost %v", calls, looks)
			}
			for _, command := range looks {
				if command != "hgetall" && command != "hmget" && command != "hget" {
					t.Errorf("a session that is refused costs %q", command)
				}
			}
			refused := p.refused(c.kind)
			if again := p.create("first"); again.GetSessionId() != "first" || p.refused(c.kind) != refused {
				t.Errorf("the same request again: %v, %d more refused", again, p.refused(c.kind)-refused)
			}
			live := p.svc.session(key("first"))
			live.rtc.Close()
			p.await(func() bool { _, ended := live.mirror.hasEnded(); return ended })
			if again := p.create("first"); again.GetEpoch() <= live.fence.Epoch {
				t.Errorf("a session that has ended is given as %v", again)
			}
		})
	}
}

// lookingStore is a store that looks, whenever it is asked for a session, at how many refusals have been counted.
type lookingStore struct {
	resolverstore.Store
	count  atomic.Pointer[func() uint64]
	looks  atomic.Int64
	counts atomic.Uint64 // all that were seen
}

// GetSession implements resolverstore.Store.
func (s *lookingStore) GetSession(ctx context.Context, k resolverstore.SessionKey) (resolverstore.Session, error) {
	if count := s.count.Load(); count != nil {
		s.looks.Add(1)
		s.counts.Add((*count)())
	}
	return s.Store.GetSession(ctx, k)
}

// TestO4_WhatIsServedIsNeverCountedAsRefused repeats the request of a session that there is room for no longer: at no time is it counted as refused, since a count that is taken back looks to Prometheus like a
// process that was started again, with all refusals before as new ones.
func TestO4_WhatIsServedIsNeverCountedAsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		limits Limits
		kind   limitKind
	}{"of the caller": {Limits{CallerSessions: 1}, limitCallerSessions}, "of the pod": {Limits{Sessions: 1}, limitSessions}} {
		t.Run(name, func(t *testing.T) {
			store := &lookingStore{}
			g := startGateway(t, func(cfg *Config) {
				store.Store, cfg.Store, cfg.Limits = cfg.Store, store, c.limits
			})
			g.create("first")
			count := func() uint64 { return g.refused(c.kind) }
			store.count.Store(&count)
			g.create("first")
			if store.looks.Load() == 0 || store.counts.Load() != 0 {
				t.Errorf("of %d looks some saw %d counted as refused", store.looks.Load(), store.counts.Load())
			}
			_, err := g.sessions.CreateSession(g.ctx, &penstockv1.CreateSessionRequest{SessionId: "second"})
			wantLimit(t, err, c.kind, 1)
			if got := g.refused(c.kind); got != 1 {
				t.Errorf("%d are counted as refused, of one", got)
			}
		})
	}
}
