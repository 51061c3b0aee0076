package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// redrawEvery is how often a live table is drawn at most.
const redrawEvery = 250 * time.Millisecond

// screen shows the board: on a terminal a table that is redrawn, else a line for each thing that happens and the table at the end.
type screen struct {
	board *board
	live  bool
	begin time.Time
	done  chan struct{}
	ended sync.WaitGroup

	mu    sync.Mutex // guards out and lines
	out   io.Writer
	lines int // of the table drawn last, to be drawn over
}

// startScreen begins to show. stop must be called.
func startScreen(out io.Writer, live bool, b *board) *screen {
	s := &screen{board: b, live: live, begin: time.Now(), out: out, done: make(chan struct{})}
	s.ended.Go(s.run)
	return s
}

// say prints a line about what happens now.
func (s *screen) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	fmt.Fprintf(s.out, "%5.1f s  %s\n", time.Since(s.begin).Seconds(), text)
	if s.live {
		s.draw()
	}
}

// stop ends showing, with the table as it is.
func (s *screen) stop() {
	close(s.done)
	s.ended.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.live = false
	s.draw()
}

func (s *screen) run() {
	ticker := time.NewTicker(redrawEvery)
	defer ticker.Stop()
	states := map[string]string{}
	for {
		_, changed := s.board.list()
		if s.live {
			changed = nil
		}
		s.refresh(states)
		select {
		case <-s.done:
			return
		case <-changed:
		case <-ticker.C:
		}
	}
}

// refresh redraws the table, or prints a line for each track whose state is another than before.
func (s *screen) refresh(states map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live {
		s.erase()
		s.draw()
		return
	}
	all, _ := s.board.list()
	for _, t := range all {
		state := strings.Join(strings.Fields(strings.Join([]string{t.state, string(t.codec), t.delivered(), t.verdict()}, " ")), " ")
		if states[t.role.name] != state && t.state != "waiting" {
			fmt.Fprintf(s.out, "         %-17s %s\n", t.role.name, state)
		}
		states[t.role.name] = state
	}
}

func (s *screen) erase() {
	if s.lines > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA\x1b[J", s.lines)
	}
	s.lines = 0
}

func (s *screen) draw() {
	all, _ := s.board.list()
	text := table(all)
	if s.live {
		s.lines = strings.Count(text, "\n")
		text = "\x1b[?7l" + text + "\x1b[?7h" // lines that are too long must not wrap: they would not be erased
	}
	_, _ = io.WriteString(s.out, text) // a broken terminal does not break the demo
}

// table shows all tracks.
func table(all []status) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "participant\tsource\tcodec\tdelivered as\tstate\tframes\tfps\tdelay\tlost\tdropped\tcontent")
	for _, t := range all {
		content := t.mark
		if v := t.verdict(); v != "" {
			content += ": " + v
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%.1f\t%s\t%d\t%d\t%s\n", t.role.participant.UserID, t.role.sourceName(), t.codec, t.delivered(),
			t.state, t.frames, t.fps(), milliseconds(t.delay()), t.lost, t.dropped+t.holes, content)
	}
	_ = w.Flush() // a Builder takes everything
	return text.String()
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
