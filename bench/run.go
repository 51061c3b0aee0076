package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// bench is one run of everything.
type bench struct {
	window  window
	self    string   // this program
	gateway string   // the built gateway
	clip    string   // the video clip as a file, for ffmpeg
	cache   string   // for clips that are made
	python  string   // with aiortc
	script  string   // aiortc_receiver.py
	args    []string // of the gateway, beside those that it always gets
	padding bool
	rounds  int
	log     io.Writer
}

// options are run's flags.
type options struct {
	window          window
	gateway, outDir string
	python, script  string
	cache           string
	rows            *regexp.Regexp
	rounds          int
	padding         bool
}

func (o *options) parse(args []string) error {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	rows := flags.String("run", "", "a regular expression of the rows to measure, such as X3; empty is all")
	flags.DurationVar(&o.window.warmUp, "warm-up", 5*time.Second, "time before each measured window")
	flags.DurationVar(&o.window.measured, "window", 20*time.Second, "length of each measured window")
	flags.StringVar(&o.gateway, "gateway", "", "the built gateway; empty builds it")
	flags.StringVar(&o.outDir, "out", filepath.Join("bench", "out"), "directory for the result")
	flags.StringVar(&o.python, "python", "/usr/bin/python3", "a Python with aiortc and aiohttp")
	flags.StringVar(&o.script, "receiver", filepath.Join("bench", "aiortc_receiver.py"), "the aiortc receiver")
	flags.StringVar(&o.cache, "cache", "", "directory for clips that are made; empty is one in the user's cache")
	flags.IntVar(&o.rounds, "rounds", 1, "how often each thing is measured, in turn")
	flags.BoolVar(&o.padding, "row-padding", true, "the worker takes rows of pictures with padding")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.window.measured <= 0 || o.window.warmUp < 0 || o.rounds < 1 || flags.NArg() > 0 {
		return fmt.Errorf("%w: -window and -rounds must be above 0, -warm-up not below, and nothing follows", errUsage)
	}
	var err error
	if o.rows, err = regexp.Compile("^(?:" + *rows + ")"); err != nil {
		return fmt.Errorf("%w: -run: %w", errUsage, err)
	}
	if o.cache == "" {
		if o.cache, err = os.UserCacheDir(); err != nil {
			o.cache = os.TempDir()
		}
		o.cache = filepath.Join(o.cache, "penstock-bench")
	}
	return nil
}

// runMain measures everything and reports it.
func runMain(ctx context.Context, args []string, out io.Writer) (err error) {
	var o options
	if err := o.parse(args); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "penstock-bench-")
	if err != nil {
		return fmt.Errorf("make a working directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	b := &bench{
		window: o.window, gateway: o.gateway, python: o.python, script: o.script, cache: o.cache, padding: o.padding, rounds: o.rounds, log: os.Stderr,
	}
	if err := b.prepare(ctx, work); err != nil {
		return err
	}
	begin := time.Now()
	r := report{Machine: machine(), Windows: fmt.Sprintf("%d windows of %v, each after %v", o.rounds, o.window.measured, o.window.warmUp)}
	for _, g := range b.groups() {
		if slices.ContainsFunc(g.ids, o.rows.MatchString) && ctx.Err() == nil {
			r.Rows = append(r.Rows, g.measure(ctx)...)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r.Notes = append(b.notes(), fmt.Sprintf("all of it took %v", time.Since(begin).Round(time.Second)))
	return errors.Join(r.write(out), save(o.outDir, r))
}

// prepare builds the gateway and writes the clip.
func (b *bench) prepare(ctx context.Context, work string) (err error) {
	if b.self, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if b.gateway == "" {
		b.gateway = filepath.Join(work, "gateway")
		build := exec.CommandContext(ctx, "go", "build", "-o", b.gateway, "./cmd/gateway")
		if output, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build the gateway: %w\n%s", err, output)
		}
	}
	clip := load{kind: "video"}.clip()
	media, err := clip.Bytes()
	if err != nil {
		return err
	}
	b.clip = filepath.Join(work, clip.Name)
	return os.WriteFile(b.clip, media, 0o600)
}

// measurement is one thing to be measured.
type measurement struct {
	what string
	run  func() (sample, error)
}

// inTurn measures things in turn, round after round, so that a machine that gets slower does so for all of them, and adds up
// the rounds. What failed once is not tried again.
func (b *bench) inTurn(all []measurement) []outcome {
	out := make([]outcome, len(all))
	for range b.rounds {
		for i, m := range all {
			if out[i].err != nil {
				continue
			}
			fmt.Fprintf(b.log, "measuring %s for %v\n", m.what, b.window.warmUp+b.window.measured)
			s, err := m.run()
			if err != nil {
				fmt.Fprintf(b.log, "  %v\n", err)
				out[i].err = err
				continue
			}
			fmt.Fprintf(b.log, "  %s a frame, %d frames, %s\n", perFrame(s), s.frames, delivered(s))
			out[i].sample = out[i].sample.plus(s)
		}
	}
	return out
}

func (b *bench) notes() []string {
	video, audio := load{kind: "video"}.clip(), load{kind: "audio"}.clip()
	rows := "rows may be padded (allow_row_padding)"
	if !b.padding {
		rows = "rows are tight"
	}
	return []string{
		fmt.Sprintf("video is %s, %dx%d at %d fps, %s; %s", video.Name, video.Width, video.Height, video.FPS, bitrate(load{kind: "video"}), rows),
		fmt.Sprintf("audio is %s, %d channels at %d Hz, 20 ms, %s; 100 tracks are 10 sessions of 10", audio.Name, audio.Channels, audio.ClockRate, bitrate(load{kind: "audio"})),
		"generator, worker and gateway are processes of their own; only the gateway's user and system time is counted",
		"the paced bare decode is four ffmpeg side by side, alone on the machine; frames are its pace times the window, checked at its end",
	}
}

// bitrate is that of the encoded media, without its container and RTP.
func bitrate(l load) string {
	units, err := l.units()
	if err != nil {
		return err.Error()
	}
	bits := 0
	for _, u := range units {
		bits += 8 * len(u.Data)
	}
	return fmt.Sprintf("%.0f kbit/s", float64(bits)/float64(len(units))*float64(l.clip().UnitsPerSecond())/1000)
}

func machine() string {
	model := "unknown processor"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d cores of %s", runtime.NumCPU(), model)
}

// save leaves the result as files.
func save(dir string, r report) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("save the result: %w", err)
	}
	for name, write := range map[string]func(io.Writer) error{"bench.txt": r.write, "bench.json": r.writeJSON} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("save the result: %w", err)
		}
		if err := errors.Join(write(f), f.Close()); err != nil {
			return fmt.Errorf("save the result: %w", err)
		}
	}
	return nil
}
