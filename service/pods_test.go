package service

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
)

const (
	// podHeartbeat and podLease are short, so that take-overs are, and long enough for a busy machine to renew in time.
	podHeartbeat = 200 * time.Millisecond
	podLease     = 2 * time.Second
)

// pod is a gateway that shares a Redis with others, over a link of its own.
type pod struct {
	*gateway
	link *link
}

// startPods starts so many pods of one deployment in this process. Each tweak changes the configuration of all.
func startPods(t *testing.T, n int, tweaks ...func(*Config)) []*pod {
	t.Helper()
	return startPodsOn(t, n, podLease, tweaks...)
}

// startSteadyPods starts pods whose leases outlast every pause of a busy machine: none is taken for gone.
func startSteadyPods(t *testing.T, n int, tweaks ...func(*Config)) []*pod {
	t.Helper()
	return startPodsOn(t, n, hang, tweaks...)
}

// startPodsOn starts pods with leases of so long.
func startPodsOn(t *testing.T, n int, lease time.Duration, tweaks ...func(*Config)) []*pod {
	t.Helper()
	server := startRedis(t)
	secret := [][]byte{[]byte(strings.Repeat("pods share this.", 3))}
	all := make([]*pod, n)
	for i := range all {
		all[i] = startPod(t, server, lease, secret, tweaks...)
	}
	return all
}

// startPod starts a pod on a Redis.
func startPod(t *testing.T, server string, lease time.Duration, secrets [][]byte, tweaks ...func(*Config)) *pod {
	t.Helper()
	p := &pod{link: startLink(t, server)}
	store := func(cfg resolverstore.Config) resolverstore.Store {
		cfg.Heartbeat, cfg.LeaseTTL = podHeartbeat, lease
		var err error
		cfg.Seal, err = LeaseSeal(secrets, lease)
		must(t, err)
		s, err := resolverstore.NewRedis(t.Context(), cfg, resolverstore.RedisOptions{URL: "unix://" + p.link.path, Timeout: min(lease, 30*time.Second)})
		must(t, err)
		return s
	}
	p.gateway = startGatewayOn(t, media.NewDecodePool(manyWorkers), store, append(tweaks, func(c *Config) { c.PodSecrets = secrets })...)
	return p
}

// startRedis starts a server on a socket of its own, that keeps nothing on disk, and returns the socket's path.
func startRedis(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "redis") //nolint:usetesting // the path of a socket must be short
	must(t, err)
	socket := filepath.Join(dir, "s")
	cmd := exec.CommandContext(context.Background(), "redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(hang); ; <-tick.C {
		c, err := new(net.Dialer).DialContext(t.Context(), "unix", socket)
		if err == nil {
			must(t, c.Close())
			return socket
		}
		if time.Now().After(deadline) {
			t.Fatal("redis does not start: ", err)
		}
	}
}

// link is a pod's way to Redis.
type link struct {
	path, server string
	l            net.Listener
	work         sync.WaitGroup

	mu    sync.Mutex
	off   bool
	conns map[net.Conn]bool
}

// startLink lays a link to a server, which ends with the test.
func startLink(t *testing.T, server string) *link {
	t.Helper()
	dir, err := os.MkdirTemp("", "link") //nolint:usetesting // the path of a socket must be short
	must(t, err)
	k := &link{path: filepath.Join(dir, "s"), server: server, conns: map[net.Conn]bool{}}
	k.l, err = new(net.ListenConfig).Listen(t.Context(), "unix", k.path)
	must(t, err)
	k.work.Go(k.accept)
	t.Cleanup(func() {
		_ = k.l.Close()
		k.cut()
		k.work.Wait()
		_ = os.RemoveAll(dir)
	})
	return k
}

func (k *link) accept() {
	for {
		in, err := k.l.Accept()
		if err != nil {
			return
		}
		out, err := new(net.Dialer).DialContext(context.Background(), "unix", k.server)
		if err != nil || !k.hold(in, out) {
			_ = in.Close()
			if out != nil {
				_ = out.Close()
			}
			continue
		}
		k.work.Go(func() { k.copy(out, in) })
		k.work.Go(func() { k.copy(in, out) })
	}
}

// hold takes note of connections, unless the link is cut.
func (k *link) hold(conns ...net.Conn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range conns {
		if !k.off {
			k.conns[c] = true
		}
	}
	return !k.off
}

func (k *link) copy(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range []net.Conn{to, from} {
		_ = c.Close()
		delete(k.conns, c)
	}
}

// cut breaks the link: the pod goes on, and knows nothing of Redis, nor Redis of it.
func (k *link) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.off = true
	for c := range k.conns {
		_ = c.Close()
	}
}

// mend lays it again.
func (k *link) mend() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.off = false
}

// kill ends a pod as far as others can see: it is silent all at once, towards Redis too.
func (p *pod) kill() {
	p.link.cut()
	p.server.Stop()
	p.t.Cleanup(p.link.mend) // so that it learns that nothing is its own any more, and is closed soon
}

// publishFrom publishes alice's camera in a session of the pod, told to another one.
func (p *pod) publishFrom(session string) (*sfutest.SFU, *sfutest.Track) {
	p.t.Helper()
	sfu := p.sfu(session, sfutest.MSIDStream)
	cam := newTrack(p.t, sfu, "alice", camera, clips.AliceCamera())
	must(p.t, sfu.Publish(p.ctx, cam))
	return sfu, cam
}

// smallCamera asks for alice's camera in small pictures.
func smallCamera(session string) *penstockv1.StreamTrackRequest {
	return &penstockv1.StreamTrackRequest{
		SessionId: session, Selector: byParticipant("alice", camera), Format: videoOf(&penstockv1.VideoFormat{Width: 320}),
	}
}

// watcher reads a stream and checks what holds over all its owners: no older epoch after a newer, sequence numbers within one epoch rise, a newer one begins with 1,
// and presentation time never goes back.
type watcher struct {
	*reader
	start int64 // by the first header
	both  bool  // the owner before is fed until the next one serves the stream, so that perhaps nothing is missing between them
	last  *penstockv1.FrameInfo
}

// frame returns the next frame, and the headers and gaps before it.
func (w *watcher) frame() (headers []*penstockv1.StreamHeader, gaps []*penstockv1.StreamEvent, frame *penstockv1.FrameInfo) {
	w.t.Helper()
	headers, gaps, frame = w.tillFrame()
	if last := w.last; last != nil {
		switch {
		case frame.GetEpoch() < last.GetEpoch():
			w.t.Errorf("epoch %d after %d", frame.GetEpoch(), last.GetEpoch())
		case frame.GetEpoch() == last.GetEpoch() && frame.GetSequence() <= last.GetSequence():
			w.t.Errorf("sequence %d after %d in epoch %d", frame.GetSequence(), last.GetSequence(), frame.GetEpoch())
		case frame.GetPresentationTimeNs() < last.GetPresentationTimeNs():
			w.t.Errorf("presentation time from %d back to %d", last.GetPresentationTimeNs(), frame.GetPresentationTimeNs())
		}
		if frame.GetEpoch() != last.GetEpoch() && !isFirst(frame) {
			w.t.Errorf("epoch %d begins with %d", frame.GetEpoch(), frame.GetSequence())
		}
	}
	w.last = frame
	return headers, gaps, frame
}

// watch opens a stream of alice's camera, and reads its first frame.
func (p *pod) watch(session string) *watcher {
	p.t.Helper()
	w := &watcher{reader: p.open(smallCamera(session))}
	headers, _, _ := w.frame()
	w.start = headers[0].GetStartTimeUnixNs()
	return w
}

// republish brings an SFU's media back that a session lost with its owner: as soon as there is another one.
func (p *pod) republish(sfu *sfutest.SFU) {
	p.t.Helper()
	for {
		err := sfu.Reconnect(p.ctx)
		if err == nil {
			return
		}
		if p.ctx.Err() != nil {
			p.t.Fatal(err)
		}
		mustTick(p.t, p.gateway)
	}
}

// next reads on to the first frame of another owner, and checks what is told of it: one header that keeps the start, and a gap as long as what is missing.
func (w *watcher) next() *penstockv1.FrameInfo {
	w.t.Helper()
	before := w.last
	for {
		last := w.last
		headers, gaps, frame := w.frame()
		if frame.GetEpoch() == before.GetEpoch() {
			continue
		}
		if len(headers) == 0 || headers[0].GetStartTimeUnixNs() != w.start {
			w.t.Errorf("before the next owner's frames came %d headers: %v; the start was %d", len(headers), headers, w.start)
		}
		missing := time.Duration(frame.GetPresentationTimeNs() - last.GetPresentationTimeNs())
		if len(gaps) != 1 || gaps[0].GetGap().GetCause() != penstockv1.GapCause_GAP_CAUSE_OWNER_CHANGED ||
			gaps[0].GetGap().GetMilliseconds() != milliseconds(missing) || missing <= 0 && !w.both {
			w.t.Errorf("told of %v; missing are %v", gaps, missing)
		}
		return frame
	}
}
