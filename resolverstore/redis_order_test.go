package resolverstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestR1_NineSecondsApartInRedis: publication and media 9 s apart, in either order, with words and without, told to two pods, resolve.
func TestR1_NineSecondsApartInRedis(t *testing.T) {
	t.Parallel()
	a, b := startRedis(t).pair(Config{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var waits []func() (Track, error)
	var later []func()
	for i := range 4 {
		f := &fixture{t: t, ctx: ctx, store: a, key: SessionKey{ID: fmt.Sprint("call", i)}, fence: Fence{"pod", 7}}
		if _, _, err := a.CreateSession(ctx, Session{Key: f.key, Fence: f.fence}); err != nil {
			t.Fatal(err)
		}
		media := of("m1", "ann1", Camera)
		if i%2 == 0 {
			media = anonymous("m1", KindVideo)
		}
		first, second := func() { f.put(media) }, func() { f.on(b).mustApply(published("ann1", Camera)) }
		if i < 2 {
			first, second = second, first
		}
		waits = append(waits, f.on(b).waitFor(Selector{ParticipantID: "ann1", Source: Camera}))
		first()
		later = append(later, second)
	}
	time.Sleep(9 * time.Second) // as the row says
	for _, second := range later {
		second()
	}
	for i, wait := range waits {
		if got, err := wait(); err != nil || got.Media.ID != "m1" {
			t.Errorf("%d: %+v %v", i, got, err)
		}
	}
}

// TestR1_DeadlineWithAllCoresBusy: a deadline is the clock's, not a count of looks: with all cores busy it ends the wait.
func TestR1_DeadlineWithAllCoresBusy(t *testing.T) {
	for name, newStore := range map[string]makeStore{"memory": newTestMemory, "redis": newTestRedis} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, newStore(t, Config{}))
			f.mustApply(joined("ann1"))
			var busy sync.WaitGroup
			stop := make(chan struct{})
			for range 2 * runtime.GOMAXPROCS(0) {
				busy.Go(func() {
					for n := 0; ; n++ {
						select {
						case <-stop:
							return
						default:
						}
					}
				})
			}
			for range 5 {
				ctx, cancel := context.WithTimeout(f.ctx, 100*time.Millisecond)
				begin := time.Now()
				_, err := f.store.Resolve(ctx, f.key, Selector{ParticipantID: "ann1", Source: Camera})
				cancel()
				wantErr(t, err, context.DeadlineExceeded)
				if time.Since(begin) < 100*time.Millisecond {
					t.Error("it gave up before its deadline")
				}
			}
			close(stop)
			busy.Wait()
		})
	}
}

// TestR8_NeverSwappedInRedis is TestR8_NeverSwapped on two pods: 1,000 sessions, the four events in random orders, told to either pod.
func TestR8_NeverSwappedInRedis(t *testing.T) {
	t.Parallel()
	const settle = 3 * time.Second
	a, b := startRedis(t).pair(Config{Settle: settle})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	rng := rand.New(rand.NewPCG(8, 9))
	kinds := []string{"words", "mid", "track", "participant", "none"}
	pairs := [][2]Source{{Camera, ScreenShare}, {Microphone, ScreenShareAudio}}
	fixtures := make([]*fixture, cycles(1000))
	for round := range fixtures {
		f := &fixture{t: t, ctx: ctx, store: a, key: SessionKey{ID: fmt.Sprint("call", round)}, fence: Fence{"pod", 7}}
		if _, _, err := a.CreateSession(ctx, Session{Key: f.key, Fence: f.fence}); err != nil {
			t.Fatal(err)
		}
		fixtures[round] = f
		var steps []func()
		for i, s := range pairs[round%2] {
			media, pub := eventsOf(kinds[round%5], fmt.Sprint("m", i), s)
			pod := f.on([]*Redis{a, b}[rng.IntN(20)/19])
			steps = append(steps, func() { f.put(media) }, func() { pod.mustApply(Event{Published: &pub}) })
		}
		rng.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
		for _, step := range steps {
			step()
		}
	}
	time.Sleep(settle + settle/2) // what stood alone would be joined by now
	for round, f := range fixtures {
		all, hints := f.tracks(), kinds[round%5]
		for i, s := range pairs[round%2] {
			got := all[name("ann1", s)]
			ambiguous := hints == "participant" || hints == "none"
			if ambiguous && got.Media != nil || !ambiguous && (got.Media == nil || got.Media.ID != fmt.Sprint("m", i)) {
				t.Fatalf("round %d, hints %s: source %d is %+v", round, hints, s, got)
			}
		}
	}
}
