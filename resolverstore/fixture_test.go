package resolverstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/leak"
)

func TestMain(m *testing.M) {
	for env, run := range map[string]func(string) error{childEnv: claimer, podEnv: podProcess} {
		if url := os.Getenv(env); url != "" {
			if err := run(url); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	RedirectRedisLog(slog.New(slog.DiscardHandler))
	os.Exit(leak.Run(m))
}

// hang bounds every wait of a test; it is no figure.
const hang = time.Minute

// makeStore makes a store for one test. Stores that share something between tests give each its own name space.
type makeStore func(t *testing.T, cfg Config) Store

func newTestMemory(t *testing.T, cfg Config) Store {
	t.Helper()
	s := NewMemory(cfg)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// fixture is one session of a store.
type fixture struct {
	t     testing.TB
	ctx   context.Context
	store Store
	key   SessionKey
	fence Fence
}

// atOnce joins by elimination at once, so that a test need not wait to see what is joined and what is not.
var atOnce = Config{Settle: -1}

func newFixture(t *testing.T, s Store) *fixture {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	t.Cleanup(cancel)
	return newFixtureIn(ctx, t, s)
}

func newFixtureIn(ctx context.Context, t testing.TB, s Store) *fixture {
	t.Helper()
	f := &fixture{t: t, ctx: ctx, store: s, key: SessionKey{ID: "call"}, fence: Fence{Owner: "pod", Epoch: 7}}
	_, created, err := s.CreateSession(ctx, Session{Key: f.key, Source: SourceOffers, RequestHash: "h", Fence: f.fence})
	if err != nil || !created {
		t.Fatalf("create: %v, %v", created, err)
	}
	return f
}

func (f *fixture) events(events ...Event) Applied {
	f.t.Helper()
	applied, err := f.store.ApplyEvents(f.ctx, f.key, events)
	if err != nil {
		f.t.Fatalf("events: %v", err)
	}
	return applied
}

// mustApply applies events of which none may be ignored.
func (f *fixture) mustApply(events ...Event) {
	f.t.Helper()
	if a := f.events(events...); len(a.Ignored) != 0 {
		f.t.Fatalf("ignored: %+v", a.Ignored)
	}
}

func (f *fixture) put(media ...Media) {
	f.t.Helper()
	if err := f.store.ApplyMedia(f.ctx, f.key, f.fence, MediaDiff{Put: media}); err != nil {
		f.t.Fatalf("media: %v", err)
	}
}

func (f *fixture) remove(ids ...string) {
	f.t.Helper()
	if err := f.store.ApplyMedia(f.ctx, f.key, f.fence, MediaDiff{Removed: ids}); err != nil {
		f.t.Fatalf("media: %v", err)
	}
}

func (f *fixture) resolve(participant string, source Source) Track {
	f.t.Helper()
	t, err := f.store.Resolve(f.ctx, f.key, Selector{ParticipantID: participant, Source: source})
	if err != nil {
		f.t.Fatalf("resolve %s/%d: %v", participant, source, err)
	}
	return t
}

// tracks returns what is listed, by participant and source; tracks without a publication by media id.
func (f *fixture) tracks() map[string]Track {
	f.t.Helper()
	list, _, err := f.store.ListTracks(f.ctx, f.key, "", 1000)
	if err != nil {
		f.t.Fatalf("list: %v", err)
	}
	out := map[string]Track{}
	for _, t := range list {
		name := "?"
		switch {
		case t.Publication != nil:
			name = fmt.Sprintf("%s/%d", t.Publication.Participant.ID, t.Publication.Source)
		case t.Media != nil:
			name = "media " + t.Media.ID
		}
		if _, twice := out[name]; twice {
			f.t.Fatalf("two tracks are %s", name)
		}
		out[name] = t
	}
	return out
}

// want checks that exactly these are joined, given as "participant/source" to media id, and that all others wait.
func (f *fixture) want(joined map[string]string) {
	f.t.Helper()
	all := f.tracks()
	for name, media := range joined {
		if t := all[name]; t.Media == nil || t.Media.ID != media {
			f.t.Errorf("%s is %+v, not joined with %s", name, t, media)
		}
	}
	for name, t := range all {
		if _, ok := joined[name]; !ok && t.State != TrackPending {
			f.t.Errorf("%s is joined: %+v", name, t)
		}
	}
}

func name(participant string, s Source) string { return fmt.Sprintf("%s/%d", participant, s) }

// user is a participant whose user has the same name without its last letter: "ann1" and "ann2" are ann's devices.
func user(id string) Participant {
	return Participant{ID: id, UserID: id[:len(id)-1]}
}

func published(id string, s Source) Event {
	return Event{Published: &Publication{Participant: user(id), Source: s}}
}

func unpublished(id string, s Source) Event {
	return Event{Unpublished: &PublicationRef{ParticipantID: id, Source: s}}
}

func joined(id string) Event {
	p := user(id)
	return Event{Joined: &p}
}

func left(id string) Event { return Event{Left: id} }

var streamWords = map[Source]string{
	Camera: "VIDEO", Microphone: "AUDIO", ScreenShare: "SCREEN_SHARE", ScreenShareAudio: "SCREEN_SHARE_AUDIO",
}

// anonymous is media whose msid says nothing.
func anonymous(id string, k Kind) Media {
	return Media{ID: id, MID: "mid-" + id, Kind: k, Generation: 1, Active: true, TrackID: "track-" + id}
}

// of is media whose msid names participant and source in Stream's words.
func of(id, participant string, s Source) Media {
	m := anonymous(id, s.Kind())
	m.StreamID = participant + ":TRACK_TYPE_" + streamWords[s]
	return m
}

// waitFor starts a Resolve and returns a function that awaits its outcome.
func (f *fixture) waitFor(sel Selector) func() (Track, error) {
	type result struct {
		t   Track
		err error
	}
	ch := make(chan result, 1)
	go func() {
		t, err := f.store.Resolve(f.ctx, f.key, sel)
		ch <- result{t, err}
	}()
	return func() (Track, error) {
		r := <-ch
		return r.t, r.err
	}
}

func wantErr(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error is %v, not %v", err, target)
	}
}

// cycles returns how many rounds a soak has: those of its row, or those that PENSTOCK_TEST_ROUNDS says.
func cycles(row int) int {
	if n, err := strconv.Atoi(os.Getenv("PENSTOCK_TEST_ROUNDS")); err == nil && n > 0 {
		return min(n, row)
	}
	return row
}

// syncBuffer gathers what is logged.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *syncBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }
