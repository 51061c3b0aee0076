package service

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
)

// drainOf starts a drain, and returns what ends it early and its outcome.
func (g *gateway) drainOf() (hurry func(), outcome <-chan Drained) {
	ctx, cancel := context.WithCancel(g.ctx)
	g.t.Cleanup(cancel)
	out := make(chan Drained, 1)
	go func() { out <- g.svc.Drain(ctx, hang) }()
	return cancel, out
}

// TestP4_SessionsAreHandedOver drains a pod with a call that is streamed and some that wait. It takes no new session; its sessions go to the others, fairly, with higher
// epochs, none is ended and nobody waits for a lease; the worker at another pod keeps its stream and the one here is told, and both get the next owner's frames when
// the caller, who was told too, offers again. It ends when they have left.
func TestP4_SessionsAreHandedOver(t *testing.T) {
	pods := startPods(t, 3)
	pods = ownerFirst(pods, pods[0].create("call"))
	leaving, rest := pods[0], pods[1:]
	for n := 0; leaving.svc.Sessions() < 5; n++ {
		leaving.create(fmt.Sprint("waiting-", n))
	}
	before := map[string]resolverstore.Fence{}
	for _, v := range leaving.svc.owned() {
		before[v.key.ID] = v.fence
	}
	sfu, _ := rest[0].publishFrom("call")
	k := rest[0].talk("call")
	here, there := leaving.watch("call"), rest[1].watch("call")
	leaving.await(func() bool { // it knows both
		all, err := leaving.store.Pods(leaving.ctx)
		must(t, err)
		return len(all) == len(pods)
	})
	_, outcome := leaving.drainOf()
	here.event(func(e *penstockv1.StreamEvent) bool { return e.GetGoingAway() != nil })
	leaving.await(func() bool { return leaving.svc.Sessions() == 0 })
	check, err := grpc_health_v1.NewHealthClient(leaving.conn).Check(leaving.ctx, &grpc_health_v1.HealthCheckRequest{})
	must(t, err)
	if check.GetStatus() != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health is %v", check)
	}
	for id, f := range before {
		rec := rest[0].record(id)
		if rec.Fence.Epoch <= f.Epoch || rec.Fence.Owner == f.Owner || rec.State == resolverstore.SessionEnded {
			t.Errorf("%s was %+v and is %+v", id, f, rec)
		}
	}
	taken := func(p *pod) uint64 { return p.svc.Stats().TakenOver }
	leaving.await(func() bool { return taken(rest[0])+taken(rest[1]) >= uint64(len(before)) }) // who hands over may hear of it first
	if a, b := taken(rest[0]), taken(rest[1]); a == 0 || b == 0 || a+b != uint64(len(before)) {
		t.Errorf("%d and %d were taken over", a, b)
	}
	if late := leaving.create("late"); late.GetOwner() == leaving.svc.cfg.Owner {
		t.Error("a session was placed where it drains")
	}
	k.until("start again", func(m *penstockv1.SignalResponse) bool { return m.GetRestart().GetMinGeneration() == 2 })
	must(t, sfu.Reconnect(leaving.ctx))
	for _, w := range []*watcher{here, there} {
		for _, _, f := w.frame(); f.GetEpoch() <= before["call"].Epoch; _, _, f = w.frame() {
		}
	}
	here.cancel()
	got := <-outcome
	if got != (Drained{HandedOver: len(before)}) || !got.Clean() {
		t.Errorf("the drain tells %+v", got)
	}
	must(t, sfu.CloseOlder())
	there.frame()
}

// TestP4_NothingIsToldInTheEndpointGrace: while load balancers hear of a drain, calls are taken as before, streams go on untold, and new sessions are placed
// elsewhere. Who is in a hurry cuts it all short: streams end, and sessions are handed over all the same.
func TestP4_NothingIsToldInTheEndpointGrace(t *testing.T) {
	pods := startPods(t, 2, func(c *Config) { c.EndpointGrace = hang })
	pods = ownerFirst(pods, pods[0].create("call"))
	leaving, other := pods[0], pods[1]
	leaving.publishFrom("call")
	w := leaving.watch("call")
	hurry, outcome := leaving.drainOf()
	leaving.await(leaving.svc.Draining)
	other.await(func() bool { // others know
		all, err := other.store.Pods(other.ctx)
		must(t, err)
		for _, p := range all {
			if p.Incarnation == leaving.svc.cfg.Owner && p.Load.Draining {
				return true
			}
		}
		return false
	})
	if placed := leaving.create("late"); placed.GetOwner() != other.svc.cfg.Owner {
		t.Errorf("placed is %v", placed)
	}
	late := leaving.watch("call")
	for _, r := range []*watcher{w, late} {
		for range 10 {
			if m := r.reader.next(); m.GetEvent().GetGoingAway() != nil {
				t.Error("a stream is told already")
			}
		}
	}
	if leaving.svc.Sessions() != 1 {
		t.Errorf("%d sessions", leaving.svc.Sessions())
	}
	hurry()
	for _, r := range []*watcher{w, late} {
		wantStatus(t, r.end(), codes.Unavailable, "DRAINING")
	}
	if got := <-outcome; got.HandedOver != 1 || got.Cut != 0 || got.Calls < 2 || got.Clean() {
		t.Errorf("the drain tells %+v", got)
	}
	if rec := other.record("call"); rec.Fence.Owner != other.svc.cfg.Owner || rec.State == resolverstore.SessionEnded {
		t.Errorf("the session is %+v", rec)
	}
}

// TestP4_AnHeirThatCannotBeReachedIsPassedOver: of the pods whose leases live the one that has least to do cannot be reached. All sessions of one that drains go to the other.
func TestP4_AnHeirThatCannotBeReachedIsPassedOver(t *testing.T) {
	pods := startSteadyPods(t, 3)
	leaving, other, mute := pods[0], pods[1], pods[2]
	for i := range 4 {
		leaving.create(fmt.Sprint("mine-", i))
		other.create(fmt.Sprint("its-", i))
	}
	owned := leaving.svc.Sessions()
	if owned == 0 || mute.svc.Sessions() != 0 {
		t.Fatalf("%d and %d sessions", owned, mute.svc.Sessions())
	}
	mute.server.Stop()
	if got := leaving.svc.Drain(leaving.ctx, hang); got != (Drained{HandedOver: owned}) {
		t.Errorf("the drain tells %+v of %d", got, owned)
	}
	other.await(func() bool { return other.svc.Stats().TakenOver >= uint64(owned) }) //nolint:gosec // few
	if got := other.svc.Stats().TakenOver; got != uint64(owned) {                    //nolint:gosec // few
		t.Errorf("%d of %d were taken over", got, owned)
	}
}

// TestP4_WithoutAnHeirSessionsEnd drains the only pod that there is: its session goes on until the deadline, and is ended then, with the reason.
func TestP4_WithoutAnHeirSessionsEnd(t *testing.T) {
	g := startPods(t, 1)[0]
	g.create("call")
	hurry, outcome := g.drainOf()
	g.await(g.svc.drain.told)
	if g.svc.Sessions() != 1 {
		t.Error("it did not wait for its deadline")
	}
	hurry()
	if got := <-outcome; got != (Drained{Cut: 1}) || g.svc.Stats().Drained != 1 {
		t.Errorf("the drain tells %+v", got)
	}
	g.svc.Close()
	if rec := g.record("call"); rec.State != resolverstore.SessionEnded || rec.EndReason != resolverstore.SessionDrained {
		t.Errorf("it is %+v", rec)
	}
}

// TestP4_WatchersOfHealthEndWithTheDrain: who watches health learns of the drain at once, and does not keep the server from stopping.
func TestP4_WatchersOfHealthEndWithTheDrain(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	watch, err := grpc_health_v1.NewHealthClient(g.conn).Watch(g.ctx, &grpc_health_v1.HealthCheckRequest{})
	must(t, err)
	first, err := watch.Recv()
	must(t, err)
	hurry, outcome := g.drainOf()
	second, err := watch.Recv()
	must(t, err)
	if first.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING || second.GetStatus() != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health was %v and is %v", first, second)
	}
	hurry()
	<-outcome
	_, err = watch.Recv()
	wantStatus(t, err, codes.Unavailable, "DRAINING")
	g.server.GracefulStop() // returns
}

// TestP4_SessionsThatEndMeanwhileKeepNobodyFromTheirHeir: a session that ends while it is handed over is no reason to spare the pod that was to take it.
func TestP4_SessionsThatEndMeanwhileKeepNobodyFromTheirHeir(t *testing.T) {
	pods := startSteadyPods(t, 2)
	pods = ownerFirst(pods, pods[0].create("call"))
	ended := newSession(pods[0].svc, resolverstore.Session{Key: key("ended"), Fence: resolverstore.Fence{Owner: pods[0].svc.cfg.Owner, Epoch: 1}})
	defer ended.move()
	to := newHeirs([]resolverstore.Pod{{Incarnation: pods[1].svc.cfg.Owner, Address: pods[1].addr}}, pods[0].svc.cfg.Owner)
	pods[0].svc.handOverTo(pods[0].ctx, []*session{ended}, to)
	if to.empty() {
		t.Fatal("the pod is asked no more")
	}
	pods[0].svc.handOverTo(pods[0].ctx, pods[0].svc.owned(), to)
	if rec := pods[0].record("call"); rec.Fence.Owner != pods[1].svc.cfg.Owner {
		t.Errorf("the other session is %+v", rec)
	}
	pods[1].server.Stop()
	pods[0].svc.handOverTo(pods[0].ctx, []*session{ended}, to)
	if !to.empty() {
		t.Error("a pod that cannot be reached is asked again")
	}
}

// TestP4_DrainWithoutRedisEnds: a pod without its Redis can hand nothing over. Its drain ends by its deadline all the same, and tells what it cut, and so does closing.
func TestP4_DrainWithoutRedisEnds(t *testing.T) {
	pods := startPods(t, 2)
	pods = ownerFirst(pods, pods[0].create("call"))
	p := pods[0]
	p.link.cut()
	t.Cleanup(p.link.mend)
	p.await(p.svc.Degraded)
	closed := make(chan Drained, 1)
	go func() {
		out := p.svc.Drain(p.ctx, podHeartbeat)
		p.svc.Close()
		closed <- out
	}()
	select {
	case got := <-closed:
		if got.Cut != 1 || got.HandedOver != 0 {
			t.Errorf("the drain tells %+v", got)
		}
	case <-p.ctx.Done():
		t.Fatal("it hangs")
	}
}
