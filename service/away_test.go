package service

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/resolverstore"
)

// contact tells whether a pod has contact with Redis, and since when.
func (p *pod) contact() (time.Time, bool) {
	p.t.Helper()
	s, ok := p.store.(shared)
	if !ok {
		p.t.Fatal("not a shared store")
	}
	return s.Contact()
}

// settled waits until all pods have had contact with Redis for so long that whoever wanted to take anything over would have.
func settled(pods []*pod) {
	pods[0].t.Helper()
	for _, p := range pods {
		p.await(func() bool {
			since, up := p.contact()
			return up && time.Since(since) > 2*podLease
		})
	}
}

// loyalty is who owns what, and a check that it is still so.
func loyalty(pods []*pod) (check func()) {
	before := map[string]resolverstore.Fence{}
	for _, p := range pods {
		for _, v := range p.svc.owned() {
			before[v.key.ID] = v.fence
		}
	}
	return func() {
		pods[0].t.Helper()
		for id, f := range before {
			if rec := pods[0].record(id); rec.Fence != f || rec.State == resolverstore.SessionEnded {
				pods[0].t.Errorf("%s is %+v, was of %+v", id, rec, f)
			}
		}
		for i, p := range pods {
			if got := p.svc.Stats(); got.TakenOver+got.Deposed+got.HandedOver+got.Drained != 0 {
				pods[0].t.Errorf("pod %d counts %+v", i, got)
			}
		}
	}
}

// health returns what gRPC health says of a name.
func (p *pod) health(name string) grpc_health_v1.HealthCheckResponse_ServingStatus {
	p.t.Helper()
	r, err := grpc_health_v1.NewHealthClient(p.conn).Check(p.ctx, &grpc_health_v1.HealthCheckRequest{Service: name})
	must(p.t, err)
	return r.GetStatus()
}

// TestP5_WithoutRedisLiveSessionsGoOn takes Redis away from two pods for longer than all leases. Each shows it, and stays in service; a stream at the owner and one through the other pod lose nothing;
// the owner takes a new offer, events, new ICE servers and streams; what needs other pods is refused at once, with when to try again. When Redis is back
// everything is known everywhere, and no session has changed its owner.
func TestP5_WithoutRedisLiveSessionsGoOn(t *testing.T) {
	pods := startPods(t, 2)
	pods = ownerFirst(pods, pods[0].create("call"))
	owner, other := pods[0], pods[1]
	sfu, cam := owner.publishFrom("call")
	mic := newTrack(t, sfu, "alice", microphone, clips.AliceMicrophone())
	must(t, sfu.Publish(owner.ctx, mic))
	steady := []func() tally{owner.listen("call"), other.listen("call")}
	same := loyalty(pods)
	for _, p := range pods {
		p.link.cut()
	}
	for _, p := range pods {
		p.await(func() bool { return p.health(StoreHealth) == grpc_health_v1.HealthCheckResponse_NOT_SERVING })
		if p.health("") != grpc_health_v1.HealthCheckResponse_SERVING || !p.svc.Degraded() || p.svc.Draining() || p.svc.Stats().StoreLost != 1 {
			t.Errorf("without Redis it is %v, %+v", p.health(""), p.svc.Stats())
		}
	}
	before := time.Now()
	_, err := other.sessions.CreateSession(other.ctx, &penstockv1.CreateSessionRequest{SessionId: "new"})
	if detail[*errdetails.RetryInfo](wantStatus(t, err, codes.Unavailable, "STORE_UNAVAILABLE")) == nil {
		t.Error("it does not say when to try again")
	}
	must(t, sfu.Mute(owner.ctx, cam, true))
	must(t, sfu.Mute(owner.ctx, cam, false))
	must(t, sfu.Renegotiate(owner.ctx, false))
	_, err = owner.sessions.UpdateIceServers(owner.ctx, &penstockv1.UpdateIceServersRequest{SessionId: "call", IceServers: []*penstockv1.IceServer{{Urls: []string{"stun:127.0.0.1:9"}}}})
	must(t, err)
	steady = append(steady, owner.listen("call"))
	for _, p := range pods { // all leases are gone, and for as long again
		p.await(func() bool { return time.Since(before) > 2*podLease })
	}
	for _, p := range pods {
		p.link.mend()
	}
	settled(pods)
	same()
	for i, stop := range steady {
		if got := stop(); got.frames < 50 || got.lost+got.dropped+got.skipped != 0 || got.gaps != 0 {
			t.Errorf("stream %d: %+v", i, got)
		}
	}
	for _, p := range pods {
		p.await(func() bool { return p.health(StoreHealth) == grpc_health_v1.HealthCheckResponse_SERVING })
		p.await(func() bool { _, up := p.contact(); return up && !p.svc.Degraded() })
	}
	must(t, sfu.Reconnect(owner.ctx))
	other.await(func() bool {
		rec := other.record("call")
		return rec.Generation == 2 && rec.State == resolverstore.SessionConnected
	})
	must(t, sfu.CloseOlder())
	if n := other.create("new"); n.GetSessionId() != "new" {
		t.Error(n)
	}
}

// TestP5_AnEndWithoutRedisIsToldLater: a session whose signalling is lost while Redis is away ends in the store, for that reason, when Redis is back.
func TestP5_AnEndWithoutRedisIsToldLater(t *testing.T) {
	p := startPods(t, 1, func(c *Config) { c.Grace = 2 * time.Second })[0]
	p.create("call")
	k := p.talk("call") // which keeps it until then
	p.link.cut()
	p.await(p.svc.Degraded)
	k.Lose()
	p.await(func() bool { return p.svc.Sessions() == 0 })
	p.link.mend()
	p.await(func() bool {
		rec, err := p.store.GetSession(p.ctx, key("call"))
		return err == nil && rec.State == resolverstore.SessionEnded && rec.EndReason == resolverstore.SessionSignallingLost
	})
}

// TestP8_NobodyTakesOverForRedisSake: all leases expire together, twice: Redis loses all that it held, and all pods lose Redis for longer than their leases, which comes back
// empty. Each time owners write their sessions again with their own epochs, and no session changes its owner, though each pod has some and knows of the others'.
func TestP8_NobodyTakesOverForRedisSake(t *testing.T) {
	pods := startPods(t, 3)
	for i, p := range pods {
		for n := range 3 {
			p.create(fmt.Sprintf("s-%d-%d", i, n))
		}
	}
	pods = ownerFirst(pods, pods[0].create("call"))
	pods[1].publishFrom("call")
	same := loyalty(pods)
	for round, trouble := range []func(){
		func() { flush(t, pods[0]) },
		func() { away(pods, func() { flush(t, pods[0]) }) },
	} {
		trouble()
		settled(pods)
		for _, p := range pods {
			for _, v := range p.svc.owned() {
				pods[0].await(func() bool { _, err := pods[0].store.GetSession(p.ctx, v.key); return err == nil })
			}
		}
		same()
		pods[2].watch("call").cancel()
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
}

// tally is what came by a stream.
type tally struct {
	frames                 int
	lost, dropped, skipped uint64
	gaps                   int
}

// listen reads alice's microphone, as received, until what it returns is called, which tells what came after the first packet. There is room for what a busy machine
// holds up.
func (p *pod) listen(session string) (stop func() tally) {
	p.t.Helper()
	r := p.open(&penstockv1.StreamTrackRequest{
		SessionId: session, Selector: byParticipant("alice", microphone), Format: encodedAs(penstockv1.Codec_CODEC_OPUS), Policy: roomy(),
	})
	last := r.audio().GetInfo().GetSequence()
	done := make(chan tally, 1)
	go func() {
		var sum tally
		for {
			m, err := r.stream.Recv()
			if err != nil {
				done <- sum
				return
			}
			if m.GetEvent().GetGap() != nil {
				sum.gaps++
			}
			if f := m.GetAudio().GetInfo(); f != nil {
				sum.frames++
				sum.lost += uint64(f.GetLostFrames())
				sum.dropped += uint64(f.GetDroppedFrames())
				sum.skipped += f.GetSequence() - last - 1
				last = f.GetSequence()
			}
		}
	}()
	return func() tally {
		r.cancel()
		return <-done
	}
}

// away takes Redis away from all pods until all leases have run out, and does meanwhile what is given.
func away(pods []*pod, meanwhile ...func()) {
	pods[0].t.Helper()
	for _, p := range pods {
		p.link.cut()
	}
	begin := time.Now()
	for _, p := range pods {
		p.await(func() bool { _, up := p.contact(); return !up && time.Since(begin) > podLease+podLease/4 })
	}
	for _, f := range meanwhile {
		f()
	}
	for _, p := range pods {
		p.link.mend()
	}
}

// ask asks Redis, past all pods.
func ask(t *testing.T, p *pod, words ...string) string {
	t.Helper()
	out, err := exec.CommandContext(p.ctx, "redis-cli", append([]string{"-s", p.link.server}, words...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli %s: %v: %s", strings.Join(words, " "), err, out)
	}
	return string(out)
}

// flush has Redis lose all that it holds.
func flush(t *testing.T, p *pod) {
	t.Helper()
	if out := ask(t, p, "FLUSHALL"); !strings.Contains(out, "OK") {
		t.Fatal(out)
	}
}
