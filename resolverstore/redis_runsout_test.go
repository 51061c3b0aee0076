package resolverstore

import (
	"testing"
	"time"
)

// looked has a store take a look at one other pod, as if it had been answered at a time after another.
type looked struct {
	s     *Redis
	since time.Time
	at    time.Time
}

// look tells what a look found that took no time, so long after the one before; and whether the pod is gone then.
func (l *looked) look(after time.Duration, found lease) (gone bool) {
	l.at = l.at.Add(after)
	l.s.noteLookAt(l.at, l.at, l.since, []string{"other"}, map[string]lease{"other": found})
	l.s.peers.mu.Lock()
	defer l.s.peers.mu.Unlock()
	return !l.s.peers.all["other"].gone.IsZero()
}

// TestP2_LeaseThatRanOut: a pod is gone as soon as its lease has run out while Redis answered promptly for as long as one lasts. Where it went otherwise, before its
// time, or where looks were far apart or failed, or contact began anew, it must be missing for as long again, in which its owner would renew it.
func TestP2_LeaseThatRanOut(t *testing.T) {
	const beat, ttl = time.Second, 3 * time.Second
	there := func(left time.Duration) lease {
		return lease{value: encodeLease(&Pod{Incarnation: "other"}, ""), there: true, left: left}
	}
	type step struct {
		after time.Duration
		found lease
		anew  bool // contact began anew before it
		gone  bool
	}
	for name, steps := range map[string][]step{
		"ran out": {{beat, there(ttl), false, false}, {beat, there(2 * beat), false, false}, {beat, there(beat), false, false}, {beat, lease{}, false, true}},
		"flushed": {
			{beat, there(2500 * time.Millisecond), false, false}, {beat, lease{}, false, false}, {beat, lease{}, false, false},
			{beat, lease{}, false, false}, {beat, lease{}, false, true},
		},
		"flushed and renewed": {{beat, there(2 * beat), false, false}, {beat, lease{}, false, false}, {beat, there(ttl), false, false}, {beat, there(ttl), false, false}},
		"looks far apart": {
			{beat, there(2 * beat), false, false}, {2 * beat, lease{}, false, false}, {2 * beat, lease{}, false, false}, {beat, lease{}, false, true},
		},
		"contact anew, and it still lasts": { // all pods failed to renew theirs, and this one was the first to reach Redis again
			{beat, there(2 * beat), false, false}, {beat, there(beat / 2), true, false}, {beat / 2, lease{}, false, false}, {beat, lease{}, false, false},
			{beat, lease{}, false, false}, {beat, lease{}, false, true},
		},
		"looks far apart, and it still lasts": {
			{beat, there(2 * beat), false, false}, {2 * beat, there(beat / 2), false, false}, {beat / 2, lease{}, false, false}, {beat, lease{}, false, false},
			{beat, lease{}, false, false}, {beat, lease{}, false, true},
		},
		"not read, and it still lasts": { // the part of a cluster that holds it was away
			{beat, there(2 * beat), false, false}, {beat, lease{err: ErrUnavailable}, false, false}, {beat, there(beat / 2), false, false},
			{beat / 2, lease{}, false, false}, {beat, lease{}, false, false}, {beat, lease{}, false, false}, {beat, lease{}, false, true},
		},
		"renewed, then ran out": {
			{beat, there(beat / 2), true, false}, {beat, there(ttl), false, false}, {beat, there(2 * beat), false, false}, {beat, there(beat), false, false},
			{beat, lease{}, false, true},
		},
		"contact anew": {{beat, there(beat), false, false}, {beat, lease{}, true, false}, {beat, lease{}, false, false}, {2 * beat, lease{}, false, true}},
		"never seen":   {{beat, lease{}, false, false}, {beat, lease{}, false, false}, {2 * beat, lease{}, false, true}},
		"time not told": {
			{beat, there(0), false, false}, {beat, lease{}, false, false}, {beat, lease{}, false, false}, {2 * beat, lease{}, false, true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Redis{cfg: Config{Owner: "self", Heartbeat: beat, LeaseTTL: ttl}.withDefaults(), peers: newPeers()}
			l := &looked{s: s, since: time.Unix(1, 0), at: time.Unix(1000, 0)}
			s.noteLookAt(l.at, l.at, l.since, nil, nil)
			for i, st := range steps {
				if st.anew {
					l.since = l.since.Add(time.Second)
				}
				if got := l.look(st.after, st.found); got != st.gone {
					t.Fatalf("after look %d it is gone: %v", i, got)
				}
			}
		})
	}
}
