package resolverstore

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childEnv has the test binary be another pod: a process that claims what it is told to.
const childEnv = "PENSTOCK_TEST_CLAIMER"

// claimEvents are what claimer number who tells in a round: in even rounds it is one of two participants whom the only anonymous media
// may belong to, in odd ones a device of one user that names the media by its track id.
func claimEvents(who, round int) []Event {
	id := fmt.Sprintf("c%d-%d", who, round)
	if round%2 == 0 {
		return []Event{{Published: &Publication{Participant: Participant{ID: id}, Source: Camera}}}
	}
	return []Event{{Published: &Publication{Participant: Participant{ID: id, UserID: "u"}, Source: Camera, TrackID: fmt.Sprint("track-m", round)}}}
}

// claimKey is the session of a round: a new one now and then, since what a call remembers of rounds before makes each change slower.
func claimKey(round int) SessionKey { return SessionKey{ID: fmt.Sprint("call", round/50)} }

// claimer is the other process: for each line "who round" it claims, and says what it sees then.
func claimer(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	store, err := NewRedis(ctx, atOnce, RedisOptions{URL: url})
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	in := bufio.NewScanner(os.Stdin)
	fmt.Println("ready")
	for in.Scan() {
		var who, round int
		if _, err := fmt.Sscan(in.Text(), &who, &round); err != nil {
			return err
		}
		if _, err := store.ApplyEvents(ctx, claimKey(round), claimEvents(who, round)); err != nil {
			return err
		}
		fmt.Println("claimed")
	}
	return in.Err()
}

// process is another process.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startClaimer(t *testing.T, url string) *process {
	t.Helper()
	p := startProcess(t, childEnv, url)
	t.Cleanup(func() { p.end(t) })
	return p
}

// startProcess starts the test binary as what the environment variable says. It has to be ended.
func startProcess(t *testing.T, env, url string) *process {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), env+"="+url)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, in: in, out: bufio.NewReader(out)}
	p.hear(t, "ready")
	return p
}

func (p *process) end(t *testing.T) {
	t.Helper()
	_ = p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the other process: %v", err)
	}
}

func (p *process) hear(t *testing.T, want string) {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != want {
		t.Fatalf("the other process says %q, %v", line, err)
	}
}

// TestR14_TwoProcessesClaimOneMedia: 1,000 times two processes claim one media at the same moment, and exactly one has it.
func TestR14_TwoProcessesClaimOneMedia(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := server.open(atOnce)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	f := &fixture{t: t, ctx: ctx, store: a, fence: Fence{Owner: "pod", Epoch: 7}}
	others := []*process{startClaimer(t, "unix://"+server.addr), startClaimer(t, "unix://"+server.addr)}
	wins := [2]int{}
	for round := range cycles(1000) {
		if f.key != claimKey(round) {
			f.key = claimKey(round)
			if _, created, err := a.CreateSession(ctx, Session{Key: f.key, Fence: f.fence}); err != nil || !created {
				t.Fatal(created, err)
			}
		}
		id := fmt.Sprint("m", round)
		f.put(anonymous(id, KindVideo))
		for who, p := range others {
			if _, err := fmt.Fprintln(p.in, who, round); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range others {
			p.hear(t, "claimed")
		}
		joined := 0
		for who := range others {
			if tr, ok := f.tracks()[name(fmt.Sprintf("c%d-%d", who, round), Camera)]; ok && tr.Media != nil {
				if tr.Media.ID != id || tr.State != TrackLive {
					t.Fatalf("round %d: %+v", round, tr)
				}
				joined++
				wins[who]++
			}
		}
		if joined != 1 {
			t.Fatalf("round %d: %d have the media: %+v", round, joined, f.tracks())
		}
		f.remove(id)
		f.events(left(fmt.Sprintf("c0-%d", round)), left(fmt.Sprintf("c1-%d", round)))
	}
	if wins[0] == 0 || wins[1] == 0 {
		t.Errorf("there was no race: wins are %v", wins)
	}
}
