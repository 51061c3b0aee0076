package demo

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

func TestPlayingComparesWithBefore(t *testing.T) {
	b := newBoard()
	set := func(name string, frames int) { b.update(name, func(s *status) { s.frames = frames }) }
	set(bobCamera, 100)
	before, _ := b.now()
	enough := playing(2, bobCamera, aliceMicrophone)
	for _, c := range []struct {
		camera, microphone int
		want               bool
	}{{100, 0, false}, {130, 0, false}, {129, 100, false}, {130, 99, false}, {130, 100, true}} { // 15 and 50 a second
		set(bobCamera, c.camera)
		set(aliceMicrophone, c.microphone)
		if now, _ := b.now(); enough(before, now) != c.want {
			t.Errorf("%+v", c)
		}
	}
}

func TestWaitWakesOnChangeAndEndsAtAFault(t *testing.T) {
	b := newBoard()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	waiting := make(chan error)
	go func() { waiting <- b.wait(ctx, func(v view) bool { return v[bobScreen].ended }) }()
	b.update(aliceCamera, func(s *status) { s.frames++ })
	b.update(bobScreen, func(s *status) { s.ended = true })
	if err := <-waiting; err != nil {
		t.Fatal(err)
	}
	go func() { waiting <- b.wait(ctx, func(view) bool { return false }) }()
	b.update(bobScreen, func(s *status) { s.fault("it is %s", "wrong") })
	if err := <-waiting; !errors.Is(err, ErrFailed) {
		t.Errorf("at a fault: %v", err)
	}
	ended, end := context.WithCancel(ctx)
	end()
	if err := newBoard().wait(ended, func(view) bool { return false }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFaultsAreBounded(t *testing.T) {
	var s status
	for i := range 100 {
		s.fault("the same")
		s.fault("number %d", i)
	}
	if len(s.faults) != maxFaults || s.faults[0] != "the same" || s.faults[1] != "number 0" {
		t.Errorf("%q", s.faults)
	}
}

func TestJudgeNeverPassesWhatDidNotCome(t *testing.T) {
	s := &stage{board: newBoard()}
	if failures := s.judge(nil); len(failures) != len(cast()) || !strings.Contains(failures[0], "no frame came") {
		t.Errorf("nothing came, %q", failures)
	}
	for _, r := range cast() {
		s.board.update(r.name, func(s *status) { s.frames = 50 })
	}
	if failures := s.judge(nil); len(failures) != len(cast()) || !strings.Contains(failures[0], "too little") {
		t.Errorf("nothing proved, %q", failures)
	}
	for _, r := range cast() {
		s.board.update(r.name, func(s *status) { s.rightMarks = 2 })
	}
	if failures := s.judge(nil); len(failures) != 0 {
		t.Errorf("all well, %q", failures)
	}
	for _, err := range []error{ErrFailed, errors.New("publisher is gone")} {
		if failures := s.judge(err); len(failures) != 1 {
			t.Errorf("%v: %q", err, failures)
		}
	}
	s.board.update(bobScreen, func(s *status) { s.fault("it is wrong") })
	if failures := s.judge(ErrFailed); len(failures) != 1 || failures[0] != "bob's screen share: it is wrong" {
		t.Errorf("a fault: %q", failures)
	}
}

func TestScriptAndCastFitTogether(t *testing.T) {
	published := map[string]bool{}
	for _, step := range script() {
		for _, name := range strings.Fields(step.command)[1:] {
			if _, known := find(name); !known {
				t.Errorf("%q: unknown track", step.command)
			}
			published[name] = true
		}
	}
	if len(published) != len(cast()) {
		t.Errorf("the script publishes %d of %d tracks", len(published), len(cast()))
	}
	for _, r := range cast() {
		if clipOf(r, FaultNone) != r.clip {
			t.Errorf("%s sends another clip without a fault", r.name)
		}
	}
	camera, _ := find(bobCamera)
	microphone, _ := find(aliceMicrophone)
	if clipOf(camera, FaultCameras) != clips.AliceCamera() || clipOf(microphone, FaultMicrophones) != clips.BobMicrophone() {
		t.Error("faults do not take effect")
	}
}

func TestPublisherRefusesWhatItDoesNotKnow(t *testing.T) {
	var replies bytes.Buffer
	err := Publish(t.Context(), PublisherConfig{
		Gateway: "127.0.0.1:1", Session: "s", Commands: strings.NewReader("\npublish nobody\nmute bob-camera\nfly away\n"), Replies: &replies,
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(replies.String()), "\n")
	if len(lines) != 4 {
		t.Fatalf("replies %q", lines)
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "error "+ErrCommand.Error()) {
			t.Errorf("reply %q", line)
		}
	}
}

func TestScreenPlainAndLive(t *testing.T) {
	for _, live := range []bool{false, true} {
		var out bytes.Buffer
		b := newBoard()
		s := startScreen(&out, live, b)
		s.say("bob comes")
		b.update(bobCamera, func(s *status) { s.state, s.codec, s.frames = "live", clips.H264, 7 })
		s.refresh(map[string]string{})
		s.stop()
		text := out.String()
		if !strings.Contains(text, "bob comes") || strings.Count(text, "participant") < 1 {
			t.Errorf("live %v: %q", live, text)
		}
		if plain := strings.Contains(text, "bob-camera        live H264"); plain == live {
			t.Errorf("live %v: %q", live, text)
		}
		if redrawn := strings.Contains(text, "\x1b["); redrawn != live {
			t.Errorf("live %v: %q", live, text)
		}
		if table := text[strings.LastIndex(text, "participant"):]; strings.Count(table, "\n") != 1+len(cast()) {
			t.Errorf("live %v: the table is not last: %q", live, text)
		}
	}
}

func TestFilesAreWhatTheySay(t *testing.T) {
	dir := t.TempDir()
	w, _ := newWorker(t, aliceMicrophone)
	for i := range uint64(150) {
		w.take(tone(1000, i+1))
	}
	cards := make([]card, 1)
	s := &stage{cfg: Config{Dir: dir}, board: w.board}
	if err := s.writeTrack(w, &cards[0]); err != nil {
		t.Fatal(err)
	}
	wav, err := os.ReadFile(filepath.Join(dir, "alice-microphone.wav"))
	if err != nil {
		t.Fatal(err)
	}
	header := "RIFF\x24\x77\x01\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data\x00\x77\x01\x00"
	if len(wav) != 44+2*48000 || string(wav[:44]) != header || string(wav[44:48]) != "\x00\x00\xfd\x02" {
		t.Errorf("%d bytes, %q", len(wav), wav[:48])
	}
	if err := writePage(filepath.Join(dir, "index.html"), page{Failures: []string{"<b>not markup</b>"}, Sounds: cards}); err != nil {
		t.Fatal(err)
	}
	html, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"&lt;b&gt;not markup", "data:audio/wav;base64,UklGR", "Failed after"} {
		if !strings.Contains(string(html), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(string(html), "ZgotmplZ") || strings.Contains(string(html), "http://") {
		t.Error("the page refers to something outside, or a value was refused")
	}
}
