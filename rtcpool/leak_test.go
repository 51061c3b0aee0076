package rtcpool_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool"
)

const (
	leakChild    = "PENSTOCK_TEST_LEAK_CHILD" // set in the process that is measured
	leakSessions = 200
	leakRounds   = 3
	leakBatch    = 20       // sessions that are set up at a time
	rssGrowth    = 8 << 20  // bytes by which the last round may end above the one before
	rssKept      = 48 << 20 // bytes by which it may end above what two sessions leave: fragments
)

// footprint is what a process holds.
type footprint struct {
	Goroutines, Sockets int
	C                   media.CMemory
	RSS                 int64 // bytes
	Peak                *footprint
}

// footprintNow measures, after memory that is free was given back.
func footprintNow(t *testing.T) footprint {
	t.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	return footprint{Goroutines: runtime.NumGoroutine(), Sockets: sockets(t), C: media.CMemoryInUse(), RSS: rss(t)}
}

// sockets counts the open sockets of this process.
func sockets(t *testing.T) (n int) {
	t.Helper()
	entries, err := filepath.Glob("/proc/self/fd/*")
	must(t, err)
	for _, e := range entries {
		if to, err := os.Readlink(e); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// rss returns the resident memory of this process in bytes.
func rss(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	must(t, err)
	var size, resident int64
	_, err = fmt.Sscan(string(b), &size, &resident)
	must(t, err)
	return resident * int64(os.Getpagesize())
}

// The process that is measured is one of its own, in which nothing else has been, and built without the race detector,
// whose shadow of the memory is never given back.
func TestS14_TwoHundredSessionsLeaveNothing(t *testing.T) {
	if os.Getenv(leakChild) != "" {
		leakRoundsOf(t)
		return
	}
	t.Parallel()
	out := plainChild(t, "-test.run=^"+t.Name()+"$", "-test.v")
	var rounds []footprint
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "footprint "); ok {
			var f footprint
			must(t, json.Unmarshal([]byte(text), &f))
			rounds = append(rounds, f)
		}
	}
	if len(rounds) != leakRounds+1 {
		t.Fatalf("%d rounds in\n%s", len(rounds), out)
	}
	before, last := rounds[0], rounds[leakRounds]
	for i, f := range rounds[1:] {
		t.Logf("round %d: %+v, at its peak %+v", i+1, f, *f.Peak)
		if f.Goroutines > before.Goroutines || f.Sockets > before.Sockets || f.C.Objects > before.C.Objects || f.C.Bytes > before.C.Bytes {
			t.Errorf("round %d leaves %+v, before was %+v", i+1, f, before)
		}
		if f.Peak.Goroutines < leakSessions || f.Peak.Sockets < leakSessions || f.Peak.C.Objects == 0 {
			t.Errorf("round %d had not all that it should measure: %+v", i+1, *f.Peak)
		}
	}
	if last.RSS > rounds[leakRounds-1].RSS+rssGrowth || last.RSS > before.RSS+rssKept {
		t.Errorf("resident memory: %d bytes after the last round, %d after the one before, %d at first", last.RSS, rounds[leakRounds-1].RSS, before.RSS)
	}
}

// plainChild runs this package's tests again, in a process of their own and without the race detector.
func plainChild(t *testing.T, args ...string) []byte {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "plain.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("building without the race detector: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append(os.Environ(), leakChild+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

func leakRoundsOf(t *testing.T) {
	tell := func(f footprint) {
		b, err := json.Marshal(f)
		must(t, err)
		fmt.Printf("\nfootprint %s\n", b)
	}
	warmUp := make(chan struct{})
	t.Run("first", func(t *testing.T) { manyCalls(t, 2); close(warmUp) }) // libraries and pools that stay
	<-warmUp
	tell(settled(t))
	for round := range leakRounds {
		var peak footprint
		t.Run(fmt.Sprint(round), func(t *testing.T) { peak = manyCalls(t, leakSessions) })
		f := settled(t)
		f.Peak = &peak
		tell(f)
	}
}

// settled measures when the last goroutines are gone, and what is left to the collector is freed.
func settled(t *testing.T) footprint {
	t.Helper()
	held := media.CMemoryInUse()
	poll(t, "C memory to be freed", func() string {
		before := held
		runtime.GC()
		if held = media.CMemoryInUse(); held == before {
			return ""
		}
		return fmt.Sprintf("%+v, was %+v", held, before)
	})
	least := runtime.NumGoroutine()
	poll(t, "goroutines to end", func() string {
		now := runtime.NumGoroutine()
		quiet := now <= least && now < leakSessions/10
		least = min(least, now)
		if quiet {
			return ""
		}
		return fmt.Sprint(now, " goroutines")
	})
	return footprintNow(t)
}

// manyCalls opens sessions that all receive and decode, and closes them.
func manyCalls(t *testing.T, n int) (peak footprint) {
	l := newLab(t, func(cfg *rtcpool.Config) { cfg.Logger = slog.New(slog.DiscardHandler) })
	var running []*call
	var consumers []*media.Consumer
	for len(running) < n { // in batches: each waits for the network, and that all flow at once is not what is shown
		var tracks []*sfutest.Track
		first := len(running)
		for i := first; i < min(n, first+leakBatch); i++ {
			c := l.call(fmt.Sprint("call", i))
			track := c.track("alice", microphone, clips.AliceMicrophone())
			if i%10 == 0 {
				track = c.track("alice", camera, clips.AliceCamera())
			}
			must(t, c.sfu.Add(l.ctx, track))
			running, tracks = append(running, c), append(tracks, track)
		}
		for i, track := range tracks {
			request := media.Request{Audio: &media.AudioFormat{Rate: 44100}}
			if (first+i)%10 == 0 {
				request = media.Request{Video: &media.VideoFormat{Width: 64}}
			}
			consumer, err := running[first+i].flowing(track).Track.Subscribe(request)
			must(t, err)
			consumers = append(consumers, consumer)
		}
		for i, track := range tracks {
			decoded(t, consumers[first+i])
			track.Hold(true)
		}
	}
	peak = footprintNow(t)
	for i, c := range running {
		if i%2 == 0 {
			consumers[i].Close()
		}
		c.session.Close()
		if i%2 == 1 {
			consumers[i].Close()
		}
		must(t, c.sfu.Close())
	}
	return peak
}

// decoded waits for a frame, and gives it back.
func decoded(t *testing.T, c *media.Consumer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		item, err := c.Next(ctx)
		must(t, err)
		if item.Frame != nil {
			item.Frame.Payload.Release()
			return
		}
	}
}
