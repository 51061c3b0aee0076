package sfutest

import (
	"container/heap"
	"io"
	"net"
	"sync"
	"time"
)

const (
	maxDatagram  = 1500 // bytes
	maxUnderWay  = 8192 // datagrams of one wire; what comes then is lost
	maxUnread    = 2048 // datagrams that pion has not read
	socketBuffer = 4 << 20
)

// flight is a datagram under way.
type flight struct {
	at   time.Time
	n    uint64 // of equal times the first goes first
	data []byte
	addr net.Addr
}

type flights []flight

func (f flights) Len() int { return len(f) }
func (f flights) Less(i, j int) bool {
	return f[i].at.Before(f[j].at) || f[i].at.Equal(f[j].at) && f[i].n < f[j].n
}
func (f flights) Swap(i, j int) { f[i], f[j] = f[j], f[i] }

// Push implements heap.Interface.
func (f *flights) Push(x any) { *f = append(*f, x.(flight)) }

// Pop implements heap.Interface.
func (f *flights) Pop() any {
	old := *f
	last := old[len(old)-1]
	old[len(old)-1] = flight{}
	*f = old[:len(old)-1]
	return last
}

// wire brings datagrams of one socket in one direction to their end, each at its time.
type wire struct {
	direction *direction
	deliver   func(data []byte, addr net.Addr) bool // false: it is lost after all
	wake      chan struct{}

	mu    sync.Mutex
	queue flights
	count uint64
}

func newWire(d *direction, deliver func([]byte, net.Addr) bool) *wire {
	return &wire{direction: d, deliver: deliver, wake: make(chan struct{}, 1)}
}

// send takes a datagram, of which it keeps a copy when it is not to arrive at once.
func (w *wire) send(data []byte, addr net.Addr) {
	now := time.Now()
	at, copies := w.direction.schedule(data, now)
	for _, t := range at[:copies] {
		if !t.After(now) && w.idle() {
			w.arrive(data, addr)
			continue
		}
		w.queueUp(t, data, addr)
	}
}

// idle tells whether nothing is under way that must not be overtaken.
func (w *wire) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue) == 0
}

func (w *wire) queueUp(at time.Time, data []byte, addr net.Addr) {
	w.mu.Lock()
	full := len(w.queue) >= maxUnderWay
	if !full {
		w.count++
		heap.Push(&w.queue, flight{at: at, n: w.count, data: append([]byte(nil), data...), addr: addr})
	}
	w.mu.Unlock()
	if full {
		return
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *wire) arrive(data []byte, addr net.Addr) {
	if w.direction.arrived(len(data)) && !w.deliver(data, addr) {
		w.direction.missed(len(data))
	}
}

// next takes what is due; else it tells when something will be.
func (w *wire) next(now time.Time) (f flight, due bool, wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return f, false, -1
	}
	if wait := w.queue[0].at.Sub(now); wait > 0 {
		return f, false, wait
	}
	return heap.Pop(&w.queue).(flight), true, 0
}

// run delivers until done is closed; then what is under way arrives at once.
func (w *wire) run(done <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := time.Now()
		f, due, wait := w.next(now)
		if due {
			if !w.direction.stalled(f.at, now) {
				w.arrive(f.data, f.addr)
			}
			continue
		}
		if wait < 0 {
			wait = time.Hour
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-w.wake:
		case <-done:
			w.flush()
			return
		}
	}
}

func (w *wire) flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 {
		f := heap.Pop(&w.queue).(flight)
		w.arrive(f.data, f.addr)
	}
}

// socket is a net.PacketConn whose datagrams go through a Network. It has no deadlines: pion's mux sets one on the socket that all
// candidates share when one of them is closed while another writes (an ICE restart), and what is written then would be lost. Nothing
// blocks here for long.
type socket struct {
	*net.UDPConn
	out, in *wire
	unread  chan flight
	closed  chan struct{}
	once    sync.Once
	sending sync.WaitGroup
	reading sync.WaitGroup
}

func newSocket(conn *net.UDPConn, n *Network) *socket {
	// Errors leave the system's default, which is enough for all but floods.
	_ = conn.SetReadBuffer(socketBuffer)
	_ = conn.SetWriteBuffer(socketBuffer)
	s := &socket{UDPConn: conn, unread: make(chan flight, maxUnread), closed: make(chan struct{})}
	s.out = newWire(&n.out, func(data []byte, addr net.Addr) bool {
		_, err := conn.WriteTo(data, addr)
		return err == nil
	})
	s.in = newWire(&n.in, func(data []byte, addr net.Addr) bool {
		select {
		case s.unread <- flight{data: append([]byte(nil), data...), addr: addr}:
			return true
		default:
			return false
		}
	})
	s.sending.Go(func() { s.out.run(s.closed) })
	s.reading.Go(func() { s.in.run(s.closed) })
	s.reading.Go(s.receive)
	return s
}

// receive reads the real socket until it is closed.
func (s *socket) receive() {
	buf := make([]byte, maxDatagram)
	for {
		n, addr, err := s.UDPConn.ReadFromUDP(buf)
		if n > 0 {
			s.in.send(buf[:n], addr)
		}
		if err != nil {
			select {
			case <-s.closed:
				return
			default: // a refusal by the other side (ICMP) is no end
			}
		}
	}
}

// ReadFrom implements net.PacketConn.
func (s *socket) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case f := <-s.unread:
		return copy(p, f.data), f.addr, nil
	case <-s.closed:
		return 0, nil, io.EOF
	}
}

// WriteTo implements net.PacketConn.
func (s *socket) WriteTo(p []byte, addr net.Addr) (int, error) {
	select {
	case <-s.closed:
		return 0, net.ErrClosed
	default:
	}
	s.out.send(p, addr)
	return len(p), nil
}

// SetDeadline implements net.PacketConn. It does nothing.
func (s *socket) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.PacketConn. It does nothing.
func (s *socket) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.PacketConn. It does nothing.
func (s *socket) SetWriteDeadline(time.Time) error { return nil }

// Close implements net.PacketConn. It waits for all goroutines. What is under way to the gateway is sent first, or the
// other side would not hear that the connection was closed.
func (s *socket) Close() error {
	var err error
	s.once.Do(func() {
		close(s.closed)
		s.sending.Wait()
		err = s.UDPConn.Close()
		s.reading.Wait()
	})
	return err
}
