package podtest

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// udpSockets counts the UDP sockets that a process has: those of its peer connections.
func (p *process) udpSockets(t *testing.T) int {
	t.Helper()
	pid := itoa(p.cmd.Process.Pid)
	inodes := map[string]bool{}
	for _, table := range []string{"udp", "udp6"} {
		f, err := os.Open(filepath.Join("/proc", pid, "net", table))
		must(t, err)
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if fields := strings.Fields(lines.Text()); len(fields) > 9 {
				inodes["socket:["+fields[9]+"]"] = true
			}
		}
		must(t, f.Close())
	}
	open, err := os.ReadDir(filepath.Join("/proc", pid, "fd"))
	must(t, err)
	n := 0
	for _, fd := range open {
		if target, err := os.Readlink(filepath.Join("/proc", pid, "fd", fd.Name())); err == nil && inodes[target] {
			n++
		}
	}
	return n
}

// TestP7_PausedOwner: the owner is stopped until another pod has taken its session over and frames flow from there, and goes on then. No
// worker, on any pod, sees a frame of the old epoch after one of the new; that of the pod which was stopped goes on with the new ones on the same
// stream. The old owner closes its peer connections, says so, and takes part again.
func TestP7_PausedOwner(t *testing.T) {
	t.Parallel()
	s := settle(t, 3)
	paused := s.pods[0]
	if paused.udpSockets(t) == 0 {
		t.Fatal("the owner has no UDP socket")
	}
	paused.signal(syscall.SIGSTOP)
	now := s.awaitOwner(s.pods[1].clients, s.before)
	for _, w := range s.workers[1:] {
		w.awaitEpoch(s.before.GetEpoch(), 10)
	}
	paused.signal(syscall.SIGCONT)
	s.workers[0].awaitEpoch(s.before.GetEpoch(), 10)
	for _, w := range s.workers {
		w.awaitFrames(20)
		w.judge(camera().Watermark)
	}
	awaitSo(s.ctx, t, "the old owner closes its peer connections", func() bool { return paused.udpSockets(t) == 0 })
	paused.waitLog(s.ctx, `msg="another pod has taken the session over; it is closed here" session=`+s.id)
	for _, p := range s.pods {
		awaitSo(s.ctx, t, p.name+" knows the new owner", func() bool {
			got := s.session(p.clients, s.id)
			return got.GetOwner() == now.GetOwner() && got.GetEpoch() == now.GetEpoch()
		})
	}
	s.createAt(paused, "later")
}

// TestP7_PausedPodServesNothingUnchecked: a pod that was stopped beyond its lease is asked for a session that it owned, at once when it goes on: the
// answer is of the new owner's epoch.
func TestP7_PausedPodServesNothingUnchecked(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 2)
	id := c.createAt(c.pods[0], "call")
	c.call(c.pods[1].clients, id)
	before := c.session(c.pods[0].clients, id)
	c.pods[0].signal(syscall.SIGSTOP)
	// It is asked while it is stopped, so that the answer is the first thing it does.
	type answer struct {
		r   *penstockv1.GetFrameResponse
		err error
	}
	answers := make(chan answer, 10)
	now := c.awaitOwner(c.pods[1].clients, before)
	awaitSo(c.ctx, t, "it is connected again", func() bool {
		return c.session(c.pods[1].clients, id).GetState() == penstockv1.SessionState_SESSION_STATE_CONNECTED
	})
	for range cap(answers) {
		go func() {
			r, err := c.pods[0].tracks.GetFrame(c.ctx, &penstockv1.GetFrameRequest{SessionId: id, Selector: &penstockv1.TrackSelector{
				Selector: &penstockv1.TrackSelector_Participant{Participant: &penstockv1.ParticipantTrack{ParticipantId: "carol-1", Source: penstockv1.Source_SOURCE_CAMERA}},
			}})
			answers <- answer{r, err}
		}()
	}
	c.pods[0].signal(syscall.SIGCONT)
	for range cap(answers) {
		a := <-answers
		must(t, a.err)
		if got := a.r.GetFrame().GetInfo().GetEpoch(); got != now.GetEpoch() {
			t.Errorf("a picture is of epoch %d, not %d", got, now.GetEpoch())
		}
	}
}
