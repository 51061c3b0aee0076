package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

func TestFileClip(t *testing.T) {
	c, err := fileClip("/any/VP9-1920x1080-30.ivf")
	if err != nil || c.Codec != "VP9" || c.Width != 1920 || c.Height != 1080 || c.FPS != 30 || c.MimeType() != "video/VP9" {
		t.Errorf("%+v %v", c, err)
	}
	for _, name := range []string{"", "VP9.ivf", "VP9-12.ivf", "VP9-1x1-0.ivf"} {
		if _, err := fileClip(name); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestReadUnits: a file gives the units that the same clip of the tests has.
func TestReadUnits(t *testing.T) {
	for _, c := range []clips.Clip{clips.AliceCamera(), clips.BobCamera()} {
		media, err := c.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), fmt.Sprintf("%s-%dx%d-%d%s", c.Codec, c.Width, c.Height, c.FPS, filepath.Ext(c.Name)))
		if err := os.WriteFile(path, media, 0o600); err != nil {
			t.Fatal(err)
		}
		l := load{kind: "video", sessions: 1, tracks: 1, file: path}
		if err := l.validate(); err != nil {
			t.Fatal(err)
		}
		got, err := l.units()
		want, wantErr := c.Units()
		same := slices.EqualFunc(got, want, func(a, b clips.Unit) bool { return string(a.Data) == string(b.Data) })
		if err != nil || wantErr != nil || !same {
			t.Errorf("%s: %d units, want %d: %v %v", c.Name, len(got), len(want), err, wantErr)
		}
		if err := os.WriteFile(path, media[:20], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readUnits(path); err == nil {
			t.Errorf("%s: 20 bytes are taken", c.Name)
		}
	}
	if _, err := readUnits("/no/such.ivf"); err == nil {
		t.Error("no file is taken")
	}
}

func TestRecipeIsMadeOnce(t *testing.T) {
	cache := t.TempDir()
	r := recipe{name: "X-1x1-1.ivf"}
	if err := os.WriteFile(filepath.Join(cache, r.name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if path, err := r.make(t.Context(), "/no/such", cache); err != nil || filepath.Base(path) != r.name {
		t.Errorf("one that is there: %q %v", path, err)
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := r.make(t.Context(), "/no/such", t.TempDir()); !errors.Is(err, errNotRun) {
		t.Errorf("without ffmpeg: %v", err)
	}
}

func TestReceivedOf(t *testing.T) {
	const at = 1_700_000_000_123_456_789
	info := &penstockv1.FrameInfo{Epoch: 7, Sequence: 1 << 40, RtpTimestamp: 9, ReceiveTimeUnixNs: at}
	for _, r := range []*penstockv1.StreamTrackResponse{
		{Message: &penstockv1.StreamTrackResponse_Video{Video: &penstockv1.VideoFrame{Info: info, Width: 3, Payload: make([]byte, 5000)}}},
		{Message: &penstockv1.StreamTrackResponse_Audio{Audio: &penstockv1.AudioFrame{Info: info, Payload: make([]byte, 10)}}},
	} {
		b, err := proto.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var m message
		cut := min(len(b), 200) // the payload comes in further buffers
		if err := (discardCodec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer(b[:cut]), mem.SliceBuffer(b[cut:])}, &m); err != nil || m.received != at {
			t.Errorf("received at %d, %v", m.received, err)
		}
		for n := range cut {
			receivedOf(b[:n]) // whatever is cut off, it ends
		}
	}
}

func TestWorkerAnswers(t *testing.T) {
	w := &worker{}
	for i := range 200 {
		w.arrived(message{received: time.Now().Add(-time.Duration(i) * time.Hour).UnixNano()})
	}
	w.arrived(message{})
	if s := w.answer("count"); s != "count 201" {
		t.Error(s)
	}
	var median, late int64
	if _, err := fmt.Sscanf(w.answer("delay"), "delay %d %d", &median, &late); err != nil ||
		time.Duration(median).Round(time.Hour) != 100*time.Hour || time.Duration(late).Round(time.Hour) != 198*time.Hour {
		t.Errorf("%v %v %v", time.Duration(median), time.Duration(late), err)
	}
	w.answer("reset")
	if s := w.answer("delay"); s != "delay 0 0" {
		t.Error(s)
	}
}

// TestReceive: pion alone receives what the generator sends, and its process ends with its input.
func TestReceive(t *testing.T) {
	ctx := testContext(t)
	in, ask := io.Pipe()
	said, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- dispatch(ctx, []string{"receive"}, in, out)
		_ = out.Close()
	}()
	var url string
	if _, err := fmt.Fscanf(said, "listening %s\n", &url); err != nil {
		t.Fatal(err)
	}
	generating, stop := context.WithCancel(ctx)
	defer stop()
	input, end := io.Pipe()
	generated := make(chan error, 1)
	go func() {
		generated <- generate(generating, load{kind: "audio", sessions: 1, tracks: 2}, func(int) exchange { return postOffer(url) }, input, io.Discard)
	}()
	for n := 0; n < 3; {
		if _, err := io.WriteString(ask, "count\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fscanf(said, "count %d\n", &n); err != nil || ctx.Err() != nil {
			t.Fatal(n, err)
		}
	}
	_ = end.Close()
	_ = ask.Close()
	if err := errors.Join(<-generated, <-done); err != nil {
		t.Error(err)
	}
}

// TestGroups: every row of the table can be asked for alone, and what is not measured is said.
func TestGroups(t *testing.T) {
	b := &bench{log: io.Discard, rounds: 1, window: window{0, time.Second}}
	seen := map[string]bool{}
	for _, g := range b.groups() {
		for _, id := range g.ids {
			if seen[id] {
				t.Errorf("%s is there twice", id)
			}
			seen[id] = true
		}
	}
	for i := 1; i <= 12; i++ {
		if !seen[fmt.Sprint("X", i)] {
			t.Errorf("X%d is missing", i)
		}
	}
	for _, r := range b.elsewhere(t.Context()) {
		if r.Missing == "" || r.Met != nil {
			t.Errorf("%+v says nothing", r)
		}
	}
	var o options
	if err := o.parse([]string{"-run", "X1$|X3"}); err != nil || !o.rows.MatchString("X1") || !o.rows.MatchString("X3") || o.rows.MatchString("X10") {
		t.Errorf("rows %v %v", o.rows, err)
	}
	if err := o.parse(nil); err != nil || !o.rows.MatchString("X10") || !strings.HasSuffix(o.cache, "penstock-bench") {
		t.Errorf("all rows %v %v", o.rows, err)
	}
	if err := o.parse([]string{"-run", "("}); !errors.Is(err, errUsage) {
		t.Errorf("half a pattern: %v", err)
	}
}

// TestRowsWithoutAGateway: a gateway that does not start is said, and ends nothing else.
func TestRowsWithoutAGateway(t *testing.T) {
	b := &bench{gateway: "/no/such/gateway", python: "/no/such/python", self: "/no/such/bench", cache: t.TempDir(), log: io.Discard, rounds: 1}
	t.Setenv("PATH", t.TempDir())
	all := regexp.MustCompile("^(X|telemetry)")
	for _, g := range b.groups() {
		for _, r := range g.measure(testContext(t)) {
			if all.MatchString(r.ID) && (r.Missing == "" || r.Met != nil) {
				t.Errorf("%+v", r)
			}
		}
	}
}

func TestResidentBytes(t *testing.T) {
	if n, err := residentBytes(os.Getpid()); err != nil || n < 1<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if _, err := residentBytes(1 << 30); !errors.Is(err, errProc) {
		t.Errorf("of no process: %v", err)
	}
}

func TestChange(t *testing.T) {
	of := func(cpu time.Duration) sample { return sample{cpu: cpu, frames: 100} }
	if c := change([2]sample{of(4 * time.Second), of(3 * time.Second)}); c != -25 {
		t.Errorf("%v %%", c)
	}
	if c := change([2]sample{}); c != 0 {
		t.Errorf("of nothing %v %%", c)
	}
	if err := dispatch(testContext(t), []string{"compare", "one"}, strings.NewReader(""), io.Discard); !errors.Is(err, errUsage) {
		t.Errorf("one gateway: %v", err)
	}
}

// TestComparedThroughPods: where a comparison is of pods it starts with the Redis that they share, else with a gateway.
func TestComparedThroughPods(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, c := range []struct{ flag, first string }{{"-rounds=1", "the gateway"}, {"-tls", "redis"}, {"-forwarded", "redis"}} {
		err := dispatch(testContext(t), []string{"compare", c.flag, "/no/such/old", "/no/such/new"}, strings.NewReader(""), io.Discard)
		if !errors.Is(err, errChild) || !strings.Contains(err.Error(), c.first) {
			t.Errorf("%s: %v", c.flag, err)
		}
	}
}
