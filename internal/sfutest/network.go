package sfutest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Link says what one direction of a Network does to datagrams. The zero value passes each on at once.
type Link struct {
	// Match picks the datagrams that the fields below are for; the others pass at once. nil is all. [IsRTP] is one. It is
	// called under a lock and must not keep the datagram.
	Match func(datagram []byte) bool
	// Drop loses the datagrams for which it returns true. It is called as Match is.
	Drop func(datagram []byte) bool
	// Loss is the share of datagrams that are lost, 0 to 1. At 1 the direction is closed.
	Loss float64
	// Duplicate is the share of datagrams that come twice.
	Duplicate float64
	// Reorder is the share of datagrams that come ReorderBy later than the others.
	Reorder   float64
	ReorderBy time.Duration
	// Delay is how long each datagram is under way, and Jitter how much longer at most, each by its own chance: what came
	// later may arrive first, unless InOrder is set.
	Delay, Jitter time.Duration
	InOrder       bool
	// Stall is how long after its time a delayed datagram may arrive on a busy machine; what would be later is lost, so that no path
	// is longer than it is said to be. 0 has no limit.
	Stall time.Duration
	// BitsPerSecond limits the rate; 0 does not. QueueBytes may wait for their turn, what comes then is lost; 0 is 64 KiB.
	BitsPerSecond int
	QueueBytes    int
}

// LinkStats counts datagrams of one direction.
type LinkStats struct {
	Sent, Delivered, Lost, Duplicated uint64
	Bytes                             uint64 // of those delivered
}

// Network is the path between an SFU's peer connections and the gateway, on real UDP sockets of the loopback interface. Its
// faults are made in user space, by chance from a seed: the same datagrams in the same order meet the same faults.
// All methods are safe for concurrent use. It needs no closing: sockets and goroutines are the SFU's.
type Network struct {
	out, in direction
}

// NewNetwork returns a network without faults. seed decides on all chances.
func NewNetwork(seed uint64) *Network {
	n := &Network{}
	n.out.random = rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // it is to be repeatable
	n.in.random = rand.New(rand.NewPCG(seed, 2))  //nolint:gosec // it is to be repeatable
	return n
}

// SetOut sets what happens on the way from the SFU to the gateway, from now on.
func (n *Network) SetOut(l Link) { n.out.set(l) }

// SetIn sets what happens on the way from the gateway to the SFU, from now on.
func (n *Network) SetIn(l Link) { n.in.set(l) }

// Cut makes both directions silent. Sockets stay open. What is under way is lost.
func (n *Network) Cut() {
	n.out.cut.Store(true)
	n.in.cut.Store(true)
}

// Restore ends a Cut.
func (n *Network) Restore() {
	n.out.cut.Store(false)
	n.in.cut.Store(false)
}

// Out counts what went from the SFU to the gateway.
func (n *Network) Out() LinkStats { return n.out.snapshot() }

// In counts what went from the gateway to the SFU.
func (n *Network) In() LinkStats { return n.in.snapshot() }

// direction is the state of one direction, shared by all wires that run in it.
type direction struct {
	cut atomic.Bool

	mu     sync.Mutex
	link   Link
	random *rand.Rand
	stats  LinkStats
	free   time.Time // when the limited line has sent what it was given
	last   time.Time // when the newest datagram arrives
}

func (d *direction) set(l Link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.link = l
	d.free, d.last = time.Time{}, time.Time{}
}

func (d *direction) snapshot() LinkStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

// schedule decides when a datagram arrives: never, once or twice.
func (d *direction) schedule(datagram []byte, now time.Time) (at [2]time.Time, copies int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.Sent++
	l := &d.link
	if d.cut.Load() {
		d.stats.Lost++
		return at, 0
	}
	if l.Match != nil && !l.Match(datagram) {
		at[0] = now
		return at, 1
	}
	lost := d.chance(l.Loss)
	if (l.Drop != nil && l.Drop(datagram)) || lost {
		d.stats.Lost++
		return at, 0
	}
	sent, ok := d.limit(len(datagram), now)
	if !ok {
		d.stats.Lost++
		return at, 0
	}
	at[0], copies = d.arrival(sent), 1
	if d.chance(l.Duplicate) {
		at[1], copies = d.arrival(sent), 2
		d.stats.Duplicated++
	}
	return at, copies
}

// chance is called for each datagram whatever the outcome, so that one outcome does not change the next.
func (d *direction) chance(share float64) bool { return share > 0 && d.random.Float64() < share }

// limit returns when the limited line has sent a datagram; false when too much waits already.
func (d *direction) limit(size int, now time.Time) (time.Time, bool) {
	if d.link.BitsPerSecond <= 0 {
		return now, true
	}
	perByte := 8 * time.Second / time.Duration(d.link.BitsPerSecond)
	if d.free.Before(now) {
		d.free = now
	}
	queue := d.link.QueueBytes
	if queue == 0 {
		queue = 64 << 10
	}
	if d.free.Sub(now) > time.Duration(queue)*perByte {
		return now, false
	}
	d.free = d.free.Add(time.Duration(size) * perByte)
	return d.free, true
}

func (d *direction) arrival(sent time.Time) time.Time {
	l := &d.link
	at := sent.Add(l.Delay)
	if l.Jitter > 0 {
		at = at.Add(time.Duration(d.random.Int64N(int64(l.Jitter))))
	}
	if d.chance(l.Reorder) {
		at = at.Add(l.ReorderBy)
	}
	if l.InOrder && at.Before(d.last) {
		at = d.last
	}
	if at.After(d.last) {
		d.last = at
	}
	return at
}

// arrived counts a datagram at its end; false when the network was cut meanwhile.
func (d *direction) arrived(size int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cut.Load() {
		d.stats.Lost++
		return false
	}
	d.stats.Delivered++
	d.stats.Bytes += uint64(size)
	return true
}

// stalled tells whether a datagram would arrive too late, and counts it as lost then.
func (d *direction) stalled(at, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	late := d.link.Stall > 0 && now.Sub(at) > d.link.Stall
	if late {
		d.stats.Lost++
	}
	return late
}

// missed takes back what arrived counted: the datagram found no socket, or no room.
func (d *direction) missed(size int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.Delivered--
	d.stats.Lost++
	d.stats.Bytes -= uint64(size) //nolint:gosec // a length
}

// listen opens a socket of the network.
func (n *Network) listen() (*socket, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("open a socket of the network: %w", err)
	}
	return newSocket(conn, n), nil
}

// IsRTP tells media packets from the rest of what a peer connection sends (RFC 7983, RFC 5761 section 4).
func IsRTP(datagram []byte) bool {
	return len(datagram) >= 12 && datagram[0]>>6 == 2 && (datagram[1] < 192 || datagram[1] > 223)
}

// IsRTCP tells control packets from the rest (RFC 5761 section 4).
func IsRTCP(datagram []byte) bool {
	return len(datagram) >= 8 && datagram[0]>>6 == 2 && datagram[1] >= 192 && datagram[1] <= 223
}

// IsDTLS tells packets of the handshake and of data channels (RFC 7983).
func IsDTLS(datagram []byte) bool {
	return len(datagram) > 0 && datagram[0] >= 20 && datagram[0] <= 63
}

// IsSTUN tells connectivity checks (RFC 7983).
func IsSTUN(datagram []byte) bool { return len(datagram) > 0 && datagram[0] <= 3 }
