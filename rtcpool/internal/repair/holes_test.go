package repair

import (
	"slices"
	"testing"
	"time"
)

const ms = time.Millisecond

func newRepair() *Holes { return &Holes{Patience: 150 * ms} }

// feed lets packets come, one a millisecond from a time on.
func (m *Holes) feed(from time.Duration, seqs ...uint16) (now time.Duration) {
	for i, seq := range seqs {
		now = from + time.Duration(i)*ms
		m.Received(seq, now)
	}
	return now
}

func TestRepairAsksForWhatIsMissing(t *testing.T) {
	m := newRepair()
	now := m.feed(ms, 65533, 65534, 1, 2) // 65535 and 0 are missing, over the wrap
	if got, next := m.Wants(nil, now, 0, minRepairTimeout); len(got) != 0 || next != 3*ms+reorderTolerance {
		t.Fatalf("asked for %v at once, next at %v", got, next)
	}
	if _, repaired := m.Received(0, now); repaired { // it was only late
		t.Error("a late packet counts as repaired")
	}
	got, next := m.Wants(nil, 10*ms, 0, minRepairTimeout)
	if !slices.Equal(got, []uint16{65535}) || next != 30*ms {
		t.Fatalf("asked for %v, next at %v", got, next)
	}
	if got, _ = m.Wants(nil, 29*ms, 0, minRepairTimeout); len(got) != 0 {
		t.Fatalf("asked for %v again too soon", got)
	}
	if got, _ = m.Wants(nil, 30*ms, 0, minRepairTimeout); !slices.Equal(got, []uint16{65535}) {
		t.Fatalf("asked for %v", got)
	}
	if wanted, _ := m.Retransmitted(65535, 40*ms); !wanted {
		t.Fatal("what was asked for is not wanted")
	}
	if wanted, _ := m.Retransmitted(65535, 41*ms); wanted {
		t.Fatal("it is wanted twice")
	}
	if got, next = m.Wants(nil, 60*ms, 0, minRepairTimeout); len(got) != 0 || next != 0 {
		t.Fatalf("asked for %v, next at %v, with nothing missing", got, next)
	}
}

// On a path of 100 ms nothing is asked for twice before the answer can be there, nor when it would come too late.
func TestRepairKnowsTheRoundTrip(t *testing.T) {
	m := newRepair()
	m.feed(0, 1, 3)
	var asked []time.Duration
	for now := time.Duration(0); now < time.Second; now += ms {
		if got, _ := m.Wants(nil, now, 100*ms, 120*ms); len(got) > 0 {
			asked = append(asked, now)
		}
	}
	if len(asked) != 1 || asked[0] != 6*ms {
		t.Errorf("asked at %v, want once, at 6ms", asked)
	}
	if len(m.holes) != 0 {
		t.Errorf("%d packets are waited for after the reorder buffer gave them up", len(m.holes))
	}
	var path RoundTrip
	if s, timeout := path.Estimate(); s != 0 || timeout != minRepairTimeout {
		t.Errorf("at first: %v, %v", s, timeout)
	}
	for range 50 {
		path.Sample(100 * ms)
	}
	path.Sample(-1)
	path.Sample(time.Hour)
	if s, timeout := path.Estimate(); s != 100*ms || timeout < 100*ms || timeout > 110*ms {
		t.Errorf("%v, %v", s, timeout)
	}
}

func TestRepairMeasuresOnlyWhatIsPlain(t *testing.T) {
	m := newRepair()
	m.feed(0, 1, 4)
	m.Wants(nil, 10*ms, 0, 20*ms)
	if _, trip := m.Retransmitted(2, 17*ms); trip != 7*ms {
		t.Errorf("measured %v", trip)
	}
	m.Wants(nil, 40*ms, 0, 20*ms)
	if wanted, trip := m.Retransmitted(3, 45*ms); !wanted || trip != 0 {
		t.Errorf("measured %v of a packet that was asked for twice", trip)
	}
}

func TestRepairIsBounded(t *testing.T) {
	m := newRepair()
	m.Patience = time.Hour
	var seq uint16
	asked := 0
	for now := ms; now < 4*time.Second; now += ms {
		m.Received(seq, now)
		seq += 3
		got, _ := m.Wants(nil, now, 0, minRepairTimeout)
		asked += len(got)
		if len(m.holes) > MaxHoles {
			t.Fatalf("%d are waited for", len(m.holes))
		}
	}
	if limit := nackBurst + 4*nacksPerSecond; asked > limit || asked < limit/2 {
		t.Errorf("asked for %d in 4 s, want at most %d", asked, limit)
	}
	one := newRepair()
	one.Patience = time.Hour
	one.feed(0, 1, 3)
	asked = 0
	for now := ms; now < time.Minute; now += 10 * ms {
		got, _ := one.Wants(nil, now, 0, minRepairTimeout)
		asked += len(got)
	}
	if asked != maxNacksPerPacket {
		t.Errorf("one packet was asked for %d times", asked)
	}
}

func TestRepairSurvivesJumps(t *testing.T) {
	m := newRepair()
	m.feed(0, 30000)
	if m.Received(0, 0); m.highest != 30000 {
		t.Error("one packet of number 0 restarts the source")
	}
	m = newRepair()
	m.feed(0, 10, 12)
	if opened, _ := m.Received(12+MaxHoles+2, 0); opened || len(m.holes) != 0 {
		t.Errorf("a hole too long to be mended is waited for: %d", len(m.holes))
	}
	m.Received(40, 0) // far behind, but one alone proves nothing
	if m.highest != 12+MaxHoles+2 {
		t.Error("one old packet restarts the source")
	}
	m.feed(0, 30000, 30002)
	m.feed(0, 7, 8, 10)
	if m.highest != 10 || len(m.holes) != 1 || m.holes[0].seq != 9 {
		t.Errorf("the source began anew at 7; highest %d, holes %v", m.highest, m.holes)
	}
	if wanted, _ := m.Retransmitted(11, 0); !wanted || m.highest != 11 {
		t.Error("a retransmission that is ahead of its source is a packet like another")
	}
	if wanted, _ := m.Retransmitted(11+MaxHoles+1, 0); wanted {
		t.Error("one far ahead is wanted")
	}
	m.Forget()
	if wanted, _ := m.Retransmitted(9, 0); wanted || len(m.holes) != 0 {
		t.Error("a source that has ended is waited for")
	}
}

// Where packets overtake each other, none is asked for before it can be there; that is forgotten when they no longer do.
func TestRepairLearnsHowLatePacketsAre(t *testing.T) {
	m := newRepair()
	m.Separate = true
	asked := 0
	pass := func(from uint16, n int, late time.Duration) {
		for i := range n {
			seq, now := from+uint16(2*i), time.Duration(int(from)+2*i)*10*ms
			m.Received(seq+1, now)
			got, _ := m.Wants(nil, now+late-ms, 30*ms, 50*ms)
			asked += len(got)
			m.Received(seq, now+late)
		}
	}
	m.feed(0, 0)
	pass(1, 20, 25*ms)
	if asked != 1 || m.Tolerance() < 25*ms {
		t.Errorf("asked for %d, tolerance %v: the first should teach it", asked, m.Tolerance())
	}
	pass(41, 200, ms)
	if m.Tolerance() != reorderTolerance {
		t.Errorf("tolerance %v long after", m.Tolerance())
	}
	m.overtaken(time.Hour)
	if m.Tolerance() != maxReorderTolerance {
		t.Errorf("tolerance %v", m.Tolerance())
	}
}
