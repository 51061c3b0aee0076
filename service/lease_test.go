package service

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// leaseSeal returns the seal of secrets that are 32 of a letter each.
func leaseSeal(t *testing.T, letters string) *resolverstore.LeaseSeal {
	t.Helper()
	var secrets [][]byte
	for _, c := range letters {
		secrets = append(secrets, bytes.Repeat([]byte(string(c)), 32))
	}
	s, err := LeaseSeal(secrets, podLease)
	must(t, err)
	return s
}

// TestO3_LeaseSealsAreChangedPodByPod: a lease is proved for its incarnation and address only, by a secret that the other pod has among its own.
func TestO3_LeaseSealsAreChangedPodByPod(t *testing.T) {
	old, both, now := leaseSeal(t, "a"), leaseSeal(t, "ba"), leaseSeal(t, "b")
	proof := old.Seal("pod", "127.0.0.1:1")
	for name, c := range map[string]struct {
		by   *resolverstore.LeaseSeal
		seal string
		want bool
	}{
		"the same": {old, proof, true}, "one that has both": {both, proof, true}, "one that has the new": {now, proof, false}, "back from both": {now, both.Seal("pod", "127.0.0.1:1"), true},
		"none": {old, "", false}, "no base64": {old, "!", false}, "cut": {old, proof[1:], false},
	} {
		if got := c.by.Verify("pod", "127.0.0.1:1", c.seal); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if old.Verify("other", "127.0.0.1:1", proof) || old.Verify("pod", "127.0.0.1:2", proof) || old.Verify("pod1", "27.0.0.1:1", proof) {
		t.Error("a proof is good for another pod, or address")
	}
	if _, err := LeaseSeal([][]byte{{1}}, podLease); err == nil {
		t.Error("a short secret is taken")
	}
}

// TestP9_APodWithAnotherSecretIsNoStranger: of two pods one still proves itself by a secret that the other does not have any more. What it forwards is refused, and counts as a pod's fault, as its lease does; what
// somebody else sends without any secret counts as a stranger's, however often.
func TestP9_APodWithAnotherSecretIsNoStranger(t *testing.T) {
	server := startRedis(t)
	before, now := bytes.Repeat([]byte("a"), 32), bytes.Repeat([]byte("b"), 32)
	ahead, behind := startPod(t, server, hang, [][]byte{now}), startPod(t, server, hang, [][]byte{before, now})
	ahead.create("call")
	store := ahead.store.(*resolverstore.Redis)
	ahead.await(func() bool {
		return store.Stats().Unproved == 1 && behind.store.(*resolverstore.Redis).Stats().Pods == 2
	})
	_, err := behind.sessions.Negotiate(behind.ctx, &penstockv1.NegotiateRequest{SessionId: "call", Sdp: "v=0\r\n"})
	wantStatus(t, err, codes.Unavailable, "SESSION_MOVING")
	for range 5 {
		_, err := ahead.sessions.GetSession(metadata.AppendToOutgoingContext(ahead.ctx, relay.Metadata, "x"), &penstockv1.GetSessionRequest{SessionId: "call"})
		wantStatus(t, err, codes.PermissionDenied, "FORWARD_REFUSED")
	}
	if got := ahead.svc.Stats().ForwardsRefused; got["secret"] == 0 || got["stranger"] != 5 || got["clock"]+got["replayed"]+got["target"]+got["identity"] != 0 {
		t.Errorf("refused %v", got)
	}
	if got := behind.store.(*resolverstore.Redis).Stats().Unproved; got != 0 {
		t.Errorf("where both secrets are %d leases are not proved", got)
	}
}

// TestO3_ALeaseIsProvedForItsTime: a proof is good while a lease of that time can be there, by clocks that differ as they may, and no longer; the time in it cannot be another.
func TestO3_ALeaseIsProvedForItsTime(t *testing.T) {
	clock := time.Unix(1e9, 0)
	s, err := leaseSealAt([][]byte{bytes.Repeat([]byte("a"), 32)}, podLease, func() time.Time { return clock })
	must(t, err)
	proof, written := s.Seal("pod", "127.0.0.1:1"), clock
	for after, want := range map[time.Duration]bool{
		0: true, podLease + leaseClocks: true, podLease + leaseClocks + time.Millisecond: false, 24 * time.Hour: false, -leaseClocks: true, -leaseClocks - time.Millisecond: false,
	} {
		clock = written.Add(after)
		if s.Verify("pod", "127.0.0.1:1", proof) != want {
			t.Errorf("after %v it is not %v", after, want)
		}
	}
	clock = written.Add(24 * time.Hour)
	later := s.Seal("pod", "127.0.0.1:1")
	if s.Verify("pod", "127.0.0.1:1", later[:10]+proof[10:]) || !s.Verify("pod", "127.0.0.1:1", later) {
		t.Error("a proof is good with the time of another")
	}
}

// TestO3_AnOldLeaseLeadsNowhere: a pod is dead, somebody else has its address by now, and somebody puts its lease back into Redis, as it was an hour ago. No call goes there; one goes to a pod that has proved itself just now.
func TestO3_AnOldLeaseLeadsNowhere(t *testing.T) {
	p := startSteadyPods(t, 1)[0]
	called := make(chan string, 16)
	serve := func(_ any, s grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(s)
		called <- method
		return status.Error(codes.Aborted, "called")
	}
	old, err := leaseSealAt(p.svc.cfg.PodSecrets, podLease, func() time.Time { return time.Now().Add(-time.Hour) })
	must(t, err)
	startStandInBy(t, p, "old", old, serve)
	startStandIn(t, p, "new", serve)
	add := func(session string) error {
		_, err := p.sessions.AddIceCandidate(p.ctx, &penstockv1.AddIceCandidateRequest{SessionId: session, Candidate: &penstockv1.IceCandidate{}})
		return err
	}
	wantStatus(t, add("old"), codes.Unavailable, "SESSION_MOVING")
	if len(called) != 0 {
		t.Errorf("%s went where an old lease says", <-called)
	}
	if err := add("new"); err == nil || len(called) == 0 {
		t.Errorf("nothing went where a new lease says: %v", err)
	}
}

// TestO3_NoCallGoesWhereAForgedLeaseSays: somebody who can write to Redis has the owner's lease name another address. No call goes there, with anybody's identity; it is counted, and as soon as
// the owner has written its lease again calls go to it as before.
func TestO3_NoCallGoesWhereAForgedLeaseSays(t *testing.T) {
	pods := startPodsOn(t, 2, hang)
	called := make(chan string, 16)
	thief := startStandIn(t, pods[0], "bait", func(_ any, s grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(s)
		called <- method
		return nil
	})
	pods[0].create("call")
	owner := pods[0].svc.session(key("call")).fence.Owner
	add := func() error {
		_, err := pods[1].sessions.AddIceCandidate(pods[1].ctx, &penstockv1.AddIceCandidateRequest{SessionId: "call", Candidate: &penstockv1.IceCandidate{}})
		return err
	}
	must(t, add())
	pods[0].link.cut() // its heartbeats end, not its lease
	t.Cleanup(pods[0].link.mend)
	redis, ok := pods[1].store.(*resolverstore.Redis)
	if !ok {
		t.Fatal("no Redis")
	}
	before := redis.Stats().Corrupt
	// That of the thief itself is proved, but it is another pod's.
	ask(t, pods[1], "COPY", leaseOf(thief.pod.Incarnation), leaseOf(owner), "REPLACE")
	for redis.Stats().Corrupt == before {
		mustTick(t, pods[1].gateway)
	}
	wantStatus(t, add(), codes.Unavailable, "SESSION_MOVING")
	select {
	case method := <-called:
		t.Errorf("%s went where a forged lease says", method)
	default:
	}
	if n := redis.Stats().Corrupt - before; n != 1 {
		t.Errorf("counted %d times", n)
	}
	pods[0].link.mend()
	for add() != nil {
		mustTick(t, pods[1].gateway)
	}
}

// leaseOf names a pod's lease in Redis.
func leaseOf(incarnation string) string { return "penstock:1:{p:" + incarnation + "}" }
