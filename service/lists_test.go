package service

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// churning does something again and again until what it returns is called, which waits for its end.
func churning(t *testing.T, f func(i int) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	working.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if err := f(i); err != nil {
				t.Errorf("round %d: %v", i, err)
				return
			}
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		working.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// wantWalk checks a walk through a list: nothing twice, and all that stayed.
func wantWalk(t *testing.T, seen, stays []string) {
	t.Helper()
	count := make(map[string]int)
	for _, id := range seen {
		if count[id]++; count[id] > 1 {
			t.Fatalf("%s is listed twice", id)
		}
	}
	for _, id := range stays {
		if count[id] == 0 {
			t.Fatalf("%s was there all the time, and is not listed among %d", id, len(seen))
		}
	}
}

// scans returns how often the server was asked to look through keys, fields or members.
func scans(t *testing.T, client *redis.Client) string {
	t.Helper()
	info, err := client.Info(t.Context(), "commandstats").Result()
	must(t, err)
	var found []string
	for line := range strings.Lines(info) {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":")
		if slices.Contains([]string{"keys", "scan", "hscan", "sscan", "zscan", "randomkey"}, name) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return strings.Join(found, " ")
}

// TestO12_ListsUnderChange walks through the sessions and the tracks of two pods, page by page, while others come and go at both: what was there all the time is listed
// once, nothing is listed twice, and no key is scanned.
func TestO12_ListsUnderChange(t *testing.T) {
	pods := startSteadyPods(t, 2)
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: pods[0].link.path})
	t.Cleanup(func() { must(t, client.Close()) })
	var stays []string
	var events []*penstockv1.CallEvent
	for i := range 25 {
		id := fmt.Sprintf("m-stays-%02d", i)
		pods[i%2].create(id)
		stays = append(stays, id)
		events = append(events, published(fmt.Sprintf("stays-%02d", i), camera))
	}
	in := pods[0]
	_, err := in.sessions.ReportEvents(in.ctx, &penstockv1.ReportEventsRequest{SessionId: "m-stays-00", Events: events})
	must(t, err)
	before, err := in.tracks.ListTracks(in.ctx, &penstockv1.ListTracksRequest{SessionId: "m-stays-00", PageSize: maxPage})
	must(t, err)
	var tracks []string
	for _, one := range before.GetTracks() {
		tracks = append(tracks, one.GetTrackId())
	}
	if len(tracks) != len(stays) {
		t.Fatalf("%d tracks", len(tracks))
	}

	stopSessions := churning(t, func(i int) error {
		p, id := pods[i%2], fmt.Sprintf("%c-comes-%d", 'a'+i%26, i%40)
		if _, err := p.sessions.CreateSession(p.ctx, &penstockv1.CreateSessionRequest{SessionId: id}); err != nil {
			return err
		}
		_, err := p.sessions.DeleteSession(p.ctx, &penstockv1.DeleteSessionRequest{SessionId: id})
		return err
	})
	stopTracks := churning(t, func(i int) error {
		p, who := pods[i%2], fmt.Sprint("comes-", i%40)
		_, err := p.sessions.ReportEvents(p.ctx, &penstockv1.ReportEventsRequest{SessionId: "m-stays-00", Events: []*penstockv1.CallEvent{published(who, camera)}})
		if err == nil {
			_, err = p.sessions.ReportEvents(p.ctx, &penstockv1.ReportEventsRequest{SessionId: "m-stays-00", Events: []*penstockv1.CallEvent{{
				Event: &penstockv1.CallEvent_TrackUnpublished{TrackUnpublished: &penstockv1.TrackUnpublished{ParticipantId: who, Source: camera}},
			}}})
		}
		return err
	})
	for round := range 6 {
		p := pods[round%2]
		wantWalk(t, p.walkSessions(3+round), stays)
		wantWalk(t, p.walkTracks("m-stays-00", 3+round), tracks)
	}
	stopSessions()
	stopTracks()
	if found := scans(t, client); found != "" {
		t.Errorf("keys were scanned: %s", found)
	}
}

// walkSessions lists all sessions in pages.
func (g *gateway) walkSessions(size int) (seen []string) {
	g.t.Helper()
	token := ""
	for {
		r, err := g.sessions.ListSessions(g.ctx, &penstockv1.ListSessionsRequest{PageSize: uint32(size), PageToken: token}) //nolint:gosec // small
		must(g.t, err)
		if len(r.GetSessions()) > size {
			g.t.Fatalf("a page of %d", len(r.GetSessions()))
		}
		for _, one := range r.GetSessions() {
			seen = append(seen, one.GetSessionId())
		}
		if token = r.GetNextPageToken(); token == "" {
			return seen
		}
	}
}

// walkTracks lists all tracks of a session in pages.
func (g *gateway) walkTracks(session string, size int) (seen []string) {
	g.t.Helper()
	token := ""
	for {
		r, err := g.tracks.ListTracks(g.ctx, &penstockv1.ListTracksRequest{SessionId: session, PageSize: uint32(size), PageToken: token}) //nolint:gosec // small
		must(g.t, err)
		if len(r.GetTracks()) > size {
			g.t.Fatalf("a page of %d", len(r.GetTracks()))
		}
		for _, one := range r.GetTracks() {
			seen = append(seen, one.GetTrackId())
		}
		if token = r.GetNextPageToken(); token == "" {
			return seen
		}
	}
}
