package resolverstore

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"
)

// BenchmarkX10_ReleasedOnAnotherPod is the time from when media are registered on one pod to when who waits on another is released, over
// a Redis on loopback TCP. The 50th and 99th percentiles are its figures.
func BenchmarkX10_ReleasedOnAnotherPod(b *testing.B) {
	for _, size := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("tracks=%d", size), func(b *testing.B) { benchRelease(b, size) })
	}
}

func benchRelease(b *testing.B, size int) {
	server := startRedisTCP(b)
	one, two := server.pair(Config{})
	f := newFixtureIn(b.Context(), b, one)
	var events []Event
	var media []Media
	for i := range size - 1 {
		id := fmt.Sprintf("p%d", i)
		events = append(events, published(id, Camera))
		media = append(media, of(id, id, Camera))
	}
	f.mustApply(events...)
	f.put(media...)
	var took []time.Duration
	for n := 0; b.Loop(); n++ {
		id := fmt.Sprintf("ann%d", n)
		f.mustApply(published(id, Camera))
		wait := f.on(two).waitFor(Selector{ParticipantID: id, Source: Camera})
		eventually(b, "it waits", func() bool { return waiting(two, f.key) == 1 })
		begin := time.Now()
		f.put(of(id, id, Camera))
		if _, err := wait(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
		f.mustApply(left(id))
		f.remove(id)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkX10_WaitersAtRest is the CPU time that this process uses in a second while 10,000 resolves wait, besides heartbeats.
func BenchmarkX10_WaitersAtRest(b *testing.B) {
	server := startRedis(b)
	one, two := server.pair(Config{})
	f := newFixtureIn(b.Context(), b, one)
	f.mustApply(joined("ann1"))
	var waits []func() (Track, error)
	for i := range 10_000 {
		waits = append(waits, f.on([]*Redis{one, two}[i%2]).waitFor(Selector{ParticipantID: fmt.Sprint("p", i%500), Source: Camera}))
	}
	eventually(b, "all wait", func() bool { return waiting(one, f.key)+waiting(two, f.key) == len(waits) })
	before := cpu(b)
	seconds := 0
	for b.Loop() {
		time.Sleep(time.Second)
		seconds++
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(seconds)/1000, "cpu-ms/s")
	_ = f.store.EndSession(f.ctx, f.key, SessionDeleted)
	for _, wait := range waits {
		_, _ = wait()
	}
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRedisEvent is the cost of one event, as BenchmarkEventInLargeCall on Redis.
func BenchmarkRedisEvent(b *testing.B) {
	for _, size := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("tracks=%d", size), func(b *testing.B) {
			f := newFixtureIn(b.Context(), b, startRedis(b).open(Config{}))
			var events []Event
			var media []Media
			for i := range size {
				id := fmt.Sprintf("p%d", i)
				events = append(events, published(id, Camera))
				media = append(media, of(id, id, Camera))
			}
			f.put(media...)
			f.mustApply(events...)
			mute := []Event{{Muted: &PublicationRef{"p0", Camera}}, {Unmuted: &PublicationRef{"p0", Camera}}}
			for i := 0; b.Loop(); i++ {
				f.mustApply(mute[i%2])
			}
		})
	}
}

// BenchmarkX12_TenThousandSessions is what a pod that owns 10,000 sessions with the default times does each heartbeat: the heartbeat with
// its look at the other pod, and a turn of the sweep, which runs half of the time; and one take-over.
func BenchmarkX12_TenThousandSessions(b *testing.B) {
	server := startRedisTCP(b)
	cfg := Config{Heartbeat: time.Hour, LeaseTTL: 3 * time.Hour, SessionTTL: 3600 * time.Hour} // as 1 s, 3 s and 1 h
	one, two := server.pair(cfg)
	fences := make([]Fence, 10_000)
	for i := range fences {
		fences[i] = Fence{one.cfg.Owner, uint64(i + 1)}
		if _, _, err := one.CreateSession(b.Context(), Session{Key: SessionKey{ID: fmt.Sprint("call", i)}, Fence: fences[i]}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("heartbeat", func(b *testing.B) {
		for b.Loop() {
			if err := one.beat(b.Context()); err != nil {
				b.Fatal(err)
			}
			one.housekeep()
			one.look()
		}
	})
	b.Run("sweep", func(b *testing.B) {
		for b.Loop() {
			one.mu.Lock()
			one.swept = one.swept.Add(-cfg.SessionTTL)
			one.mu.Unlock()
			one.sweep()
		}
	})
	b.Run("takeover", func(b *testing.B) {
		i := 0
		for b.Loop() && i < len(fences) {
			if _, err := two.TakeOver(b.Context(), SessionKey{ID: fmt.Sprint("call", i)}, fences[i], true); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}
