package main

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// demoHangLimit ends a demo that hangs; it takes some 15 s.
const demoHangLimit = 5 * time.Minute

// TestDemo runs the built program as people do.
func TestDemo(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "gateway")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	t.Run("Passes", func(t *testing.T) { demoPasses(t, binary) })
	for fault, want := range map[string]struct{ says, limit string }{
		"cameras":     {"bob's camera: a picture has watermark 53 (alice's camera), want 154", "1m"},
		"microphones": {"alice's microphone: a second has the tone of 1500 Hz (bob's microphone), want 1000", "1m"},
		"missing":     {"bob's screen share: no frame came", "15s"}, // it lasts as long
	} {
		t.Run("FailsWithWrong/"+fault, func(t *testing.T) {
			dir := t.TempDir()
			code, out := runDemo(t, binary, "--out", dir, "--fault", fault, "--step-limit", want.limit)
			if code != exitFailed || !strings.Contains(out, "FAILED") || !strings.Contains(out, want.says) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, exitFailed, want.says, out)
			}
			page, err := os.ReadFile(filepath.Join(dir, "index.html"))
			if err != nil || !bytes.Contains(page, []byte("Failed after")) {
				t.Errorf("the page does not tell: %v", err)
			}
		})
	}
	t.Run("EndsWhenInterrupted", func(t *testing.T) { demoEnds(t, binary) })
}

func demoPasses(t *testing.T, binary string) {
	dir := filepath.Join(t.TempDir(), "made", "by the demo")
	code, out := runDemo(t, binary, "--out", dir, "--step-limit", "1m")
	if code != 0 || !strings.Contains(out, "OK in") || strings.Count(out, ": proved") != 5 {
		log, _ := os.ReadFile(filepath.Join(dir, "gateway.log"))
		t.Fatalf("exit code %d:\n%s\n%s", code, out, log)
	}
	if strings.Contains(out, "\x1b") {
		t.Error("escape sequences without a terminal")
	}
	for name, mark := range map[string]int{
		"alice-camera.png": clips.AliceCamera().Watermark, "get-frame.png": clips.AliceCamera().Watermark,
		"bob-camera.png": clips.BobCamera().Watermark, "bob-screen.png": clips.BobScreen().Watermark,
	} {
		file, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(file)
		if err := errors.Join(err, file.Close()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if id, ok := clips.ReadWatermark(clips.Luma(img)); !ok || id != mark {
			t.Errorf("%s: watermark %d, %v, want %d", name, id, ok, mark)
		}
	}
	for _, name := range []string{"alice-microphone.wav", "bob-microphone.wav"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() < 5*32000 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	page, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil || !bytes.Contains(page, []byte("Passed in")) || bytes.Count(page, []byte("data:image/png")) != 4 || bytes.Count(page, []byte("data:audio/wav")) != 2 {
		t.Errorf("the page shows not all: %v", err)
	}
}

// runDemo returns the exit code and everything that the demo printed.
func runDemo(t *testing.T, binary string, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), demoHangLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append([]string{"demo"}, args...)...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run the demo: %v\n%s", err, out)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// demoEnds interrupts the demo in the middle. The publisher holds the same pipe for its complaints, so that the pipe's end
// shows that it is gone too.
func demoEnds(t *testing.T, binary string) {
	ctx, cancel := context.WithTimeout(t.Context(), demoHangLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "demo", "--out", t.TempDir())
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = writer, writer
	if err := errors.Join(cmd.Start(), writer.Close()); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	buffer, interrupted := make([]byte, 4096), false
	for {
		n, err := reader.Read(buffer)
		out.Write(buffer[:n])
		if err != nil {
			break
		}
		if !interrupted && strings.Contains(out.String(), "bob joins") {
			interrupted = true
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Error(err)
			}
		}
	}
	err = errors.Join(reader.Close(), cmd.Wait())
	if code := cmd.ProcessState.ExitCode(); !interrupted || code != exitFailed {
		t.Errorf("interrupted %v, exit code %d, %v:\n%s", interrupted, code, err, out.String())
	}
}
