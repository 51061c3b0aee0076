package service

import (
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
)

// pod returns a pod for placement.
func podOf(name string, l resolverstore.Load) resolverstore.Pod {
	return resolverstore.Pod{Incarnation: name, Address: "10.0.0.1:1", Load: l}
}

// TestPlacement: sessions stay here unless another pod is less loaded by a margin, of two others the less loaded one is asked first, and none that drains, is full or cannot be called.
func TestPlacement(t *testing.T) {
	load := func(sessions int) resolverstore.Load { return resolverstore.Load{Sessions: sessions, MaxSessions: 100} }
	for _, c := range []struct {
		name string
		pods []resolverstore.Pod
		want []string
	}{
		{"alone", []resolverstore.Pod{podOf("self", load(0))}, []string{"self"}},
		{"alone and full", []resolverstore.Pod{podOf("self", load(100))}, []string{"self"}},
		{"nobody is known", nil, []string{"self"}},
		{"equal", []resolverstore.Pod{podOf("a", load(5)), podOf("b", load(5)), podOf("self", load(5))}, []string{"self", "a", "b"}},
		{"fuller within the margin", []resolverstore.Pod{podOf("a", load(0)), podOf("self", load(20))}, []string{"self", "a"}},
		{"fuller beyond it", []resolverstore.Pod{podOf("a", load(0)), podOf("self", load(21))}, []string{"a", "self"}},
		{"the less loaded of two first", []resolverstore.Pod{podOf("a", load(50)), podOf("b", load(10)), podOf("self", load(90))}, []string{"b", "self", "a"}},
		{"decoders are busy here", []resolverstore.Pod{podOf("a", load(50)), podOf("self", resolverstore.Load{Sessions: 1, MaxSessions: 100, Busy: 0.9})}, []string{"a", "self"}},
		{"busy decoders alone fill nothing", []resolverstore.Pod{podOf("self", resolverstore.Load{Busy: 1})}, []string{"self"}},
		{"full here", []resolverstore.Pod{podOf("a", load(99)), podOf("self", load(100))}, []string{"a", "self"}},
		{"draining here", []resolverstore.Pod{podOf("a", load(99)), podOf("self", resolverstore.Load{MaxSessions: 100, Draining: true})}, []string{"a", "self"}},
		{"others drain or are full", []resolverstore.Pod{podOf("a", resolverstore.Load{MaxSessions: 100, Draining: true}), podOf("b", load(100)), podOf("self", load(99))}, []string{"self"}},
		{"others cannot be called", []resolverstore.Pod{{Incarnation: "a"}, {Incarnation: "b", Address: "0.0.0.0:1"}, podOf("self", load(99))}, []string{"self"}},
		{"others say no maximum", []resolverstore.Pod{podOf("a", resolverstore.Load{Sessions: usualSessions}), podOf("self", load(99))}, []string{"self"}},
	} {
		var got []string
		for _, p := range placement("self", c.pods, func(int) int { return 0 }) {
			got = append(got, p.Incarnation)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestPlacementSpreads: pods that know loads of long ago, and place many sessions by them, use all pods that have room, and no more than three are asked for one.
func TestPlacementSpreads(t *testing.T) {
	pods := []resolverstore.Pod{podOf("self", resolverstore.Load{Sessions: 90, MaxSessions: 100})}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		pods = append(pods, podOf(name, resolverstore.Load{Sessions: int(name[0] - 'a'), MaxSessions: 100}))
	}
	first := map[string]int{}
	turn := 0
	for range 1000 {
		order := placement("self", slices.Clone(pods), func(n int) int { turn = (turn*31 + 7) % 1009; return turn % n })
		if len(order) > maxPlaces {
			t.Fatalf("%d pods are asked", len(order))
		}
		first[order[0].Incarnation]++
	}
	// The most loaded one of five is the less loaded of no two; no other gets all.
	for _, name := range []string{"a", "b", "c", "d"} {
		if first[name] == 0 || first[name] > 600 {
			t.Errorf("pod %s is asked first %d times of 1000: %v", name, first[name], first)
		}
	}
	if first["self"] != 0 {
		t.Errorf("the fullest one is asked first %d times", first["self"])
	}
}

// TestP1_SessionsArePlacedWhereThereIsRoom: a pod that is full, and one that drains, create sessions at another one for whoever calls them; the same request again, at any pod, gives the same session,
// and another one of that id is refused at any.
func TestP1_SessionsArePlacedWhereThereIsRoom(t *testing.T) {
	started := 0
	pods := startSteadyPods(t, 3, func(c *Config) {
		c.Limits.Sessions = []int{2, 100, 100}[started]
		started++
	})
	known(pods)
	create := func(p *pod, r *penstockv1.CreateSessionRequest) *penstockv1.Session {
		t.Helper()
		got, err := p.sessions.CreateSession(p.ctx, r)
		must(t, err)
		return got.GetSession()
	}
	own := func(p *pod) string { return p.svc.cfg.Owner }
	for range 2 {
		if s := create(pods[0], &penstockv1.CreateSessionRequest{}); s.GetSessionId() == "" {
			t.Error("it has no id")
		}
	}
	if n := pods[0].svc.Sessions(); n == 0 {
		t.Error("a pod that has room keeps none that it is asked for")
	}
	for range 4 {
		if s := create(pods[0], &penstockv1.CreateSessionRequest{}); s.GetSessionId() == "" {
			t.Error("it has no id")
		}
	}
	if n := pods[0].svc.Sessions(); n > 2 {
		t.Errorf("the pod that takes 2 has %d", n)
	}
	sum := pods[0].svc.Sessions() + pods[1].svc.Sessions() + pods[2].svc.Sessions()
	if sum != 6 {
		t.Errorf("%d sessions, not 6", sum)
	}

	same := &penstockv1.CreateSessionRequest{SessionId: "same", Labels: map[string]string{"a": "b"}}
	first := create(pods[0], same)
	for _, p := range pods {
		if again := create(p, same); again.GetOwner() != first.GetOwner() || again.GetEpoch() != first.GetEpoch() {
			t.Errorf("again it is %v, was %v", again, first)
		}
		_, err := p.sessions.CreateSession(p.ctx, &penstockv1.CreateSessionRequest{SessionId: "same"})
		wantStatus(t, err, codes.AlreadyExists, "SESSION_EXISTS")
	}

	pods[1].svc.drain.start(hang, hang)
	pods[1].svc.tellLoad()
	before := pods[1].svc.Sessions()
	if s := create(pods[1], &penstockv1.CreateSessionRequest{}); s.GetOwner() == own(pods[1]) || pods[1].svc.Sessions() != before {
		t.Errorf("a pod that is about to stop places a session at %s", s.GetOwner())
	}
}
