package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// hang bounds every wait of a test; it is no figure.
const hang = 30 * time.Second

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	t.Cleanup(cancel)
	return ctx
}

func TestParseStat(t *testing.T) {
	const tail = " S 1 42 42 0 -1 4194304 900 0 0 0 %s 7 8 20 0 9 0 1234 99 88 18446744073709551615"
	for name, test := range map[string]struct {
		stat string
		want time.Duration
		err  error
	}{
		"plain":       {"42 (gateway)" + fmt.Sprintf(tail, "1200 345"), 15450 * time.Millisecond, nil},
		"blanks":      {"42 (a b)" + fmt.Sprintf(tail, "1 2"), 30 * time.Millisecond, nil},
		"parentheses": {"42 (a) R 1 (x)" + fmt.Sprintf(tail, "0 3"), 30 * time.Millisecond, nil},
		"not numbers": {"42 (a)" + fmt.Sprintf(tail, "x 3"), 0, errProc},
		"short":       {"42 (a) S 1 2", 0, errProc},
		"no name":     {"42 a S", 0, errProc},
		"empty":       {"", 0, errProc},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseStat(test.stat)
			if got != test.want || !errors.Is(err, test.err) {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestCPUTimeOfThisProcess(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// Work until the process's own clock moves: it must, for this loop is the work.
	deadline, x := time.Now().Add(hang), 0.0
	for {
		for i := range 1_000_000 {
			x += math.Sqrt(float64(i))
		}
		after, err := cpuTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if after > before {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the CPU time stays at %v (%v)", after, x)
		}
	}
	if _, err := cpuTime(1 << 30); !errors.Is(err, errProc) {
		t.Errorf("of no process: %v", err)
	}
}

func TestSample(t *testing.T) {
	s := sample{cpu: 6 * time.Second, frames: 2400, wall: 20 * time.Second, rate: 120}
	if got := s.perFrame(); got != 2500*time.Microsecond {
		t.Errorf("a frame costs %v", got)
	}
	if err := s.reliable(); err != nil || s.share() != 1 {
		t.Errorf("all were delivered: %v, %v", s.share(), err)
	}
	for _, frames := range []int64{0, 2300, 2500} {
		s.frames = frames
		if err := s.reliable(); !errors.Is(err, errUnreliable) {
			t.Errorf("%d of 2400 frames: %v", frames, err)
		}
	}
	if got := (sample{cpu: time.Second}).perFrame(); got != 0 {
		t.Errorf("without a frame it costs %v", got)
	}
}

func TestMeasureCountsTheWindowOnly(t *testing.T) {
	var cpu time.Duration
	var frames int64
	s, err := measure(testContext(t), window{0, time.Millisecond}, probe{
		cpu:    func() (time.Duration, error) { cpu += 30 * time.Millisecond; return cpu, nil },
		frames: func() (int64, error) { frames += 10; return frames, nil },
	}, 1)
	if err != nil || s.cpu != 30*time.Millisecond || s.frames != 10 || s.wall < time.Millisecond {
		t.Errorf("%+v %v", s, err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := measure(canceled, window{hang, hang}, probe{}, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestDueAt(t *testing.T) {
	const interval = time.Second / 30
	for n, want := range map[int]time.Duration{0: 0, 1: interval / 4, 3: 3 * interval / 4, 4: interval, 4 * 30 * 3600: 3600 * 30 * interval} {
		if got := dueAt(n, 4, interval); got != want {
			t.Errorf("frame %d is due at %v, not %v", n, got, want)
		}
	}
}

func TestCompare(t *testing.T) {
	of := func(cpu time.Duration) outcome {
		return outcome{sample: sample{cpu: cpu, frames: 1000, wall: 10 * time.Second, rate: 100}}
	}
	if r := compare("X1", "w", 1.15, of(2300*time.Millisecond), of(2*time.Second)); r.Met == nil || !*r.Met || r.Ratio != 1.15 || r.Value != "2.3000 ms" {
		t.Errorf("on the budget: %+v", r)
	}
	if r := compare("X1", "w", 1.15, of(2301*time.Millisecond), of(2*time.Second)); r.Met == nil || *r.Met {
		t.Errorf("over the budget: %+v", r)
	}
	absent := outcome{err: fmt.Errorf("%w: there is no ffmpeg", errNotRun)}
	if r := compare("X1", "w", 1.15, of(time.Second), absent); r.Met != nil || r.Value != "1.0000 ms" || !strings.Contains(r.Missing, "no ffmpeg") {
		t.Errorf("without the reference: %+v", r)
	}
	lossy := of(time.Second)
	lossy.sample.frames = 500
	if r := compare("X1", "w", 1.15, lossy, of(time.Second)); r.Met != nil || r.Missing == "" {
		t.Errorf("half of the frames: %+v", r)
	}
}

func TestReport(t *testing.T) {
	met, missed := true, false
	r := report{Machine: "m", Windows: "w", Notes: []string{"said plainly"}, Rows: []row{
		{ID: "X1", What: "one", Value: "1 ms", Reference: "2 ms", Ratio: 0.5, Budget: 1.15, Met: &met},
		{ID: "X2", What: "two", Ratio: 2, Budget: 0.65, Met: &missed}, {ID: "X3", What: "three", Missing: "no aiortc"},
	}}
	dir := t.TempDir()
	if err := save(dir, r); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(dir + "/bench.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"X1", "0.500", "yes", "NO", "no figure: X3 three: no aiortc", "note: said plainly"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if data, err := os.ReadFile(dir + "/bench.json"); err != nil || !bytes.Contains(data, []byte(`"ratio": 0.5`)) {
		t.Errorf("as JSON: %s %v", data, err)
	}
}

func TestChild(t *testing.T) {
	ctx := testContext(t)
	echo, err := start("echo", "/bin/sh", "-c", "echo hello; while read x; do echo $x 42; done")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.stop()
	if _, err := echo.await(ctx, "hello"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n, err := echo.count(ctx); err != nil || n != 42 {
			t.Fatalf("count is %d, %v", n, err)
		}
	}
	if _, err := echo.cpu(); err != nil {
		t.Error(err)
	}
	echo.stop()
	echo.stop()
	if _, err := echo.await(ctx, "anything"); !errors.Is(err, errChild) {
		t.Errorf("after its end: %v", err)
	}
	if _, err := start("none", "/no/such/program"); !errors.Is(err, errChild) {
		t.Errorf("no program: %v", err)
	}
}

func TestServeCounts(t *testing.T) {
	in, ask := io.Pipe()
	answers, out := io.Pipe()
	done := make(chan struct{})
	n := int64(0)
	go func() {
		defer close(done)
		defer func() { _ = out.Close() }()
		serveCounts(testContext(t), in, out, func() int64 { n++; return n })
	}()
	got := make(chan string, 1)
	go func() {
		all, _ := io.ReadAll(answers)
		got <- string(all)
	}()
	for range 3 {
		if _, err := io.WriteString(ask, "count\n"); err != nil {
			t.Fatal(err)
		}
	}
	_ = ask.Close()
	<-done
	if s := <-got; s != "count 1\ncount 2\ncount 3\n" {
		t.Errorf("answered %q", s)
	}
}

func TestCommandLine(t *testing.T) {
	for _, line := range []string{
		"nonsense", "run -window 0s", "generate", "generate -gateway a -receiver b", "generate -gateway a -kind smell", "work -tracks 0",
		"work -format gif", "work -file any", "run -run (", "compare -rounds 0 a b",
	} {
		if err := dispatch(testContext(t), strings.Fields(line), strings.NewReader(""), io.Discard); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v", line, err)
		}
	}
	l := load{kind: "audio", sessions: 10, tracks: 10}
	if l.rate() != 5000 || l.interval() != 20*time.Millisecond {
		t.Errorf("100 audio tracks are %v frames a second, one every %v", l.rate(), l.interval())
	}
}
