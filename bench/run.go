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
	"runtime"
	"strings"
	"time"
)

// bench is one run of everything.
type bench struct {
	window  window
	self    string // this program
	gateway string // the built gateway
	clip    string // the video clip as a file, for ffmpeg
	python  string // with aiortc
	script  string // aiortc_receiver.py
	padding bool
	rounds  int
	log     io.Writer
}

// options are run's flags.
type options struct {
	window          window
	gateway, outDir string
	python, script  string
	only            string
	rounds          int
	padding         bool
}

func (o *options) parse(args []string) error {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	flags.DurationVar(&o.window.warmUp, "warm-up", 5*time.Second, "time before each measured window")
	flags.DurationVar(&o.window.measured, "window", 20*time.Second, "length of each measured window")
	flags.StringVar(&o.gateway, "gateway", "", "the built gateway; empty builds it")
	flags.StringVar(&o.outDir, "out", filepath.Join("bench", "out"), "directory for the result")
	flags.StringVar(&o.python, "python", "/usr/bin/python3", "a Python with aiortc and aiohttp")
	flags.StringVar(&o.script, "receiver", filepath.Join("bench", "aiortc_receiver.py"), "the aiortc receiver")
	flags.StringVar(&o.only, "only", "", "video or audio; empty is both")
	flags.IntVar(&o.rounds, "rounds", 1, "how often each thing is measured, in turn")
	flags.BoolVar(&o.padding, "row-padding", true, "the worker takes rows of pictures with padding")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.window.measured <= 0 || o.window.warmUp < 0 || o.rounds < 1 {
		return fmt.Errorf("%w: -window and -rounds must be above 0 and -warm-up not below", errUsage)
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
	b := &bench{window: o.window, gateway: o.gateway, python: o.python, script: o.script, padding: o.padding, rounds: o.rounds, log: os.Stderr}
	if err := b.prepare(ctx, work); err != nil {
		return err
	}
	r := report{Machine: machine(), Windows: fmt.Sprintf("%d windows of %v, each after %v", o.rounds, o.window.measured, o.window.warmUp)}
	if o.only != "audio" {
		r.Rows = append(r.Rows, b.video(ctx)...)
	}
	if o.only != "video" {
		r.Rows = append(r.Rows, b.audio(ctx)...)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r.Notes = b.notes()
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

// video measures X1 and X2.
func (b *bench) video(ctx context.Context) []row {
	four := load{kind: "video", sessions: 1, tracks: 4}
	o := b.inTurn([]measurement{
		{"paced bare decode", func() (sample, error) { return b.pacedDecode(ctx, four) }},
		{"the gateway, video", func() (sample, error) { return b.throughGateway(ctx, four) }},
		{"aiortc, video", func() (sample, error) { return b.throughAiortc(ctx, four) }},
	})
	decode, gateway, aiortc := o[0], o[1], o[2]
	return []row{
		compare("X1", "4 x 720p30 VP8 to I420 / paced bare decode", 1.15, gateway, decode),
		compare("X2", "4 x 720p30 VP8 to I420 / aiortc, nothing delivered", 0.65, gateway, aiortc),
		plain("aiortc, 4 x 720p30 VP8: its value alone", aiortc),
	}
}

// audio measures X3.
func (b *bench) audio(ctx context.Context) []row {
	hundred := load{kind: "audio", sessions: 10, tracks: 10}
	ten := load{kind: "audio", sessions: 1, tracks: 10}
	o := b.inTurn([]measurement{
		{"the gateway, audio", func() (sample, error) { return b.throughGateway(ctx, hundred) }},
		{"aiortc, audio", func() (sample, error) { return b.throughAiortc(ctx, ten) }},
	})
	gateway, aiortc := o[0], o[1]
	return []row{
		compare("X3", "100 x Opus to 16 kHz mono / aiortc with 10", 0.17, gateway, aiortc),
		plain("aiortc, 10 x Opus: its value alone", aiortc),
	}
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
			fmt.Fprintf(b.log, "measuring %s\n", m.what)
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
	units, err := l.clip().Units()
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
