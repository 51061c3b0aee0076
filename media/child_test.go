package media

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/media/internal/cmem"
)

// childVar is set in a process that is measured.
const childVar = "PENSTOCK_TEST_MEDIA_CHILD"

// footprint is what a process holds.
type footprint struct {
	Goroutines int
	C          []cmem.Usage
	Anonymous  int64 // bytes that are resident and of no file: pages of programs and libraries come and go as the machine needs its memory
}

// tellFootprint measures, after memory that is free was given back, and tells the test in the other process.
func tellFootprint(t *testing.T) {
	t.Helper()
	runtime.GC()
	runtime.GC() // clean-ups and pools need two
	debug.FreeOSMemory()
	TrimCMemory()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "\nRssAnon:")
	var anonymous int64
	if _, err := fmt.Sscan(rest, &anonymous); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(footprint{runtime.NumGoroutine(), cmem.Live(), anonymous << 10})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("\nfootprint %s\n", out)
}

// childFootprints runs a test again in a process of its own, in which nothing else has been, and without the race detector, whose shadow of the
// memory is never given back. It returns what that told.
func childFootprints(t *testing.T) (all []footprint) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "plain.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("building without the race detector: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), binary, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), childVar+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "footprint "); ok {
			var f footprint
			if err := json.Unmarshal([]byte(text), &f); err != nil {
				t.Fatal(err)
			}
			all = append(all, f)
		}
	}
	return all
}

// wantFlat checks that nothing has been added from the first footprint to the last but so many bytes. What is left behind by what is done
// again and again grows from each to the next; the threads that a busy machine makes the runtime start, and the tables of its
// heap, are there once.
func wantFlat(t *testing.T, all []footprint, want int, grown int64) {
	t.Helper()
	if len(all) != want {
		t.Fatalf("%d footprints, want %d", len(all), want)
	}
	first, last := all[0], all[len(all)-1]
	t.Logf("%+v", all)
	if last.Goroutines > first.Goroutines || fmt.Sprint(last.C) != fmt.Sprint(first.C) {
		t.Errorf("goroutines and C memory: %+v at first, %+v in the end", first, last)
	}
	steps := make([]int64, 0, want)
	for i, f := range all[1:] {
		steps = append(steps, f.Anonymous-all[i].Anonymous)
	}
	if each := grown / int64(len(steps)); slices.Min(steps) > each || last.Anonymous-first.Anonymous > 8*grown {
		t.Errorf("resident memory grew by %v bytes, want at most %d again and again", steps, each)
	}
}
