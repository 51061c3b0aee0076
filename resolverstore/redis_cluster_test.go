package resolverstore

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// cluster is three masters.
type cluster struct {
	t     testing.TB
	nodes []*redisServer
	admin []*redis.Client
	ids   []string
}

func startCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{t: t}
	args := []string{"--cluster", "create"}
	for range 3 {
		n := startRedisTCP(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "10000")
		c.nodes = append(c.nodes, n)
		args = append(args, n.addr)
		admin := n.admin()
		t.Cleanup(func() { _ = admin.Close() })
		c.admin = append(c.admin, admin)
	}
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "redis-cli", append(args, "--cluster-yes")...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, n := range c.nodes {
		eventually(t, "the cluster is one", func() bool { return strings.Contains(n.do("CLUSTER", "INFO").(string), "cluster_state:ok") })
		c.ids = append(c.ids, n.do("CLUSTER", "MYID").(string))
	}
	return c
}

func (c *cluster) options() RedisOptions {
	return RedisOptions{URL: "redis-cluster://" + c.nodes[0].addr + "," + c.nodes[1].addr, Timeout: patience}
}

// agreed waits until every node says the same of who has which slot, as whoever moves slots does before it goes on.
func (c *cluster) agreed(ctx context.Context) error {
	for deadline := time.Now().Add(hang); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		views := map[string]bool{}
		for _, admin := range c.admin {
			text, err := admin.ClusterNodes(ctx).Result()
			if err != nil {
				return err
			}
			views[slotsOf(text)] = true
		}
		if len(views) == 1 {
			return nil
		}
	}
	return errors.New("the nodes do not agree")
}

// slotsOf returns from CLUSTER NODES the slots, epoch and state of each node.
func slotsOf(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) >= 8 {
			out = append(out, fmt.Sprint(f[0], f[6:]))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// migrate moves a slot with all its keys to another node, as redis-cli does.
func (c *cluster) migrate(ctx context.Context, slot, from, to int) error {
	host, port, _ := net.SplitHostPort(c.nodes[to].addr)
	if err := c.admin[to].Do(ctx, "CLUSTER", "SETSLOT", slot, "IMPORTING", c.ids[from]).Err(); err != nil {
		return err
	}
	if err := c.admin[from].Do(ctx, "CLUSTER", "SETSLOT", slot, "MIGRATING", c.ids[to]).Err(); err != nil {
		return err
	}
	for {
		keys, err := c.admin[from].ClusterGetKeysInSlot(ctx, slot, 10).Result()
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			break
		}
		for _, key := range keys {
			if err := c.admin[from].Do(ctx, "MIGRATE", host, port, key, 0, 2000).Err(); err != nil {
				return err
			}
		}
	}
	for _, i := range []int{to, from, 3 - to - from} {
		if err := c.admin[i].Do(ctx, "CLUSTER", "SETSLOT", slot, "NODE", c.ids[to]).Err(); err != nil {
			return err
		}
	}
	return c.agreed(ctx)
}

// shuffle moves the slots of random keys to and fro until the context ends, and returns how many it moved.
func (c *cluster) shuffle(ctx context.Context) (moved int, err error) {
	rng := mathrand.New(mathrand.NewPCG(20, 20))
	for ctx.Err() == nil {
		from := rng.IntN(3)
		key, err := c.admin[from].RandomKey(ctx).Result()
		if err != nil {
			continue // it has none, or time is over
		}
		slot, err := c.admin[0].ClusterKeySlot(ctx, key).Result()
		if err != nil {
			continue
		}
		if err := c.migrate(context.WithoutCancel(ctx), int(slot), from, (from+1+rng.IntN(2))%3); err != nil {
			return moved, fmt.Errorf("slot %d: %w", slot, err)
		}
		moved++
	}
	return moved, nil
}

// TestR20_Cluster runs the suite on a cluster of three nodes while the slots that it uses move from node to node.
func TestR20_Cluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	a, b := openRedis(t, atOnce, c.options()), openRedis(t, atOnce, c.options())
	_ = a
	ctx, cancel := context.WithCancel(t.Context())
	var shuffling sync.WaitGroup
	moved := 0
	shuffling.Go(func() {
		var err error
		if moved, err = c.shuffle(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Run("suite", func(t *testing.T) {
		testStore(t, func(t *testing.T, cfg Config) Store { return ownTenant(openRedis(t, cfg, c.options())) })
	})
	t.Run("R19_SlotsThatMove", func(t *testing.T) { testMovingSlots(t, a, b) })
	t.Run("O12_Lists", func(t *testing.T) { testClusterLists(t, a, b) })
	cancel()
	shuffling.Wait()
	t.Run("R19_MovedSlot", func(t *testing.T) { testMovedSlot(t, c, a, b) })
	t.Run("P2_Orphans", func(t *testing.T) {
		d, e := openRedis(t, lively(atOnce), c.options()), openRedis(t, lively(atOnce), c.options())
		gone := openRedis(t, lively(atOnce), c.options())
		testOrphans(t, gone, []*Redis{d, e, b}, func() {
			if err := gone.Close(); err != nil {
				t.Error(err)
			}
		})
	})
	if moved < 20 {
		t.Errorf("only %d slots moved", moved)
	}
}

// testMovingSlots: on 12 sessions in as many slots that move all the time, who waits on another pod is released each time.
func testMovingSlots(t *testing.T, a, b *Redis) {
	ctx, cancel := context.WithTimeout(t.Context(), 6*hang)
	defer cancel()
	var all []*fixture
	for i := range 12 {
		f := &fixture{t: t, ctx: ctx, store: a, key: SessionKey{"moving", fmt.Sprint("call", i)}, fence: Fence{"pod", 7}}
		if _, _, err := a.CreateSession(ctx, Session{Key: f.key, Fence: f.fence}); err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	for round := range 20 {
		id := fmt.Sprint("ann", round, "-")
		var waits []func() (Track, error)
		for _, f := range all {
			waits = append(waits, f.on(b).waitFor(Selector{ParticipantID: id, Source: Camera}))
		}
		for _, f := range all {
			f.on(b).mustApply(published(id, Camera))
			f.put(of(id, id, Camera))
		}
		for i, wait := range waits {
			if got, err := wait(); err != nil || got.Media.ID != id {
				t.Fatalf("round %d, session %d: %+v %v", round, i, got, err)
			}
		}
	}
}

// testMovedSlot: after the slot of a session has moved, who waits on another pod hears of its changes from the slot's new node, each
// time anew, also where the slot moves between two changes.
func testMovedSlot(t *testing.T, c *cluster, a, b *Redis) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*hang)
	defer cancel()
	f := &fixture{t: t, ctx: ctx, store: a, key: SessionKey{"moved", "call"}, fence: Fence{"pod", 7}}
	if _, _, err := a.CreateSession(ctx, Session{Key: f.key, Fence: f.fence}); err != nil {
		t.Fatal(err)
	}
	slot := int(c.admin[0].ClusterKeySlot(ctx, sessionName(f.key)).Val())
	for round := range 10 {
		id := fmt.Sprint("ann", round, "-")
		wait := f.on(b).waitFor(Selector{ParticipantID: id, Source: Camera})
		eventually(t, "b waits", func() bool { return waiting(b, f.key) == 1 })
		from := c.owner(slot)
		if err := c.migrate(ctx, slot, from, (from+1+round%2)%3); err != nil {
			t.Fatal(err)
		}
		f.mustApply(published(id, Camera))
		f.put(of(id, id, Camera))
		if got, err := wait(); err != nil || got.Media.ID != id {
			t.Fatalf("round %d: %+v %v", round, got, err)
		}
	}
}

// owner returns which node has a slot, by where its keys are.
func (c *cluster) owner(slot int) int {
	c.t.Helper()
	for i, admin := range c.admin {
		if admin.ClusterCountKeysInSlot(c.t.Context(), slot).Val() > 0 {
			return i
		}
	}
	c.t.Fatalf("nobody has keys of slot %d", slot)
	return 0
}

func testClusterLists(t *testing.T, a, b *Redis) {
	for i := range 50 {
		if _, _, err := a.CreateSession(t.Context(), Session{Key: SessionKey{"lists", fmt.Sprintf("s%02d", i)}}); err != nil {
			t.Fatal(err)
		}
	}
	var seen []string
	for after := ""; ; {
		got, err := b.ListSessions(t.Context(), "lists", after, nil, 8)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range got {
			after = s.Key.ID
			seen = append(seen, after)
		}
		if len(got) < 8 {
			break
		}
	}
	if len(seen) != 50 || seen[0] != "s00" || seen[49] != "s49" {
		t.Errorf("listed are %v", seen)
	}
}
