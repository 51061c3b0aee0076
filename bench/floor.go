package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// sendChunk is how much the bare sender gives the kernel at once, in bytes: as much as the gateway does.
	sendChunk = 256 << 10
	// sendPictures is how many different pictures it sends in turn, so that they are no nearer to the processor than decoded ones are.
	sendPictures = 8
)

// sendMain is the bare sender process: it writes so many bytes so often to the one connection that it accepts, and does nothing else; or, with
// -from, what it reads from another one. What it costs no gateway can save that delivers the same bytes over the same kind of socket.
func sendMain(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("send", flag.ContinueOnError)
	size := flags.Int("bytes", 0, "bytes a picture")
	rate := flags.Float64("rate", 0, "pictures a second")
	from := flags.String("from", "", "another sender, whose pictures are passed on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *size < 1 || *rate <= 0 {
		return fmt.Errorf("%w: send -bytes N -rate R [-from HOST:PORT]", errUsage)
	}
	l, err := (&net.ListenConfig{Control: unpaced}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Fprintf(out, "listening %s\n", l.Addr())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var sent atomic.Int64
	var sending sync.WaitGroup
	sending.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
		if *from != "" {
			passOn(ctx, *from, conn, *size, &sent)
			return
		}
		sendPaced(ctx, conn, *size, *rate, &sent)
	})
	serveCounts(ctx, in, out, sent.Load)
	cancel()
	err = l.Close()
	sending.Wait()
	return err
}

// unpaced keeps the kernel from pacing, as the gateway does for peers on the same machine. Where it may not, nothing changes.
func unpaced(_, _ string, raw syscall.RawConn) error {
	const congestion = 13 // TCP_CONGESTION of tcp(7)
	return raw.Control(func(fd uintptr) { _ = syscall.SetsockoptString(int(fd), syscall.IPPROTO_TCP, congestion, "reno") })
}

// sendPaced writes pictures until ctx ends or the connection does, and counts them.
func sendPaced(ctx context.Context, conn io.Writer, size int, rate float64, sent *atomic.Int64) {
	var pictures [sendPictures][]byte
	for i := range pictures {
		pictures[i] = make([]byte, size)
		for k := range pictures[i] {
			pictures[i][k] = byte(k * (i + 1)) // memory that is there, not the kernel's one page of zeros
		}
	}
	begin := time.Now()
	for i := 0; ; i++ {
		// By the clock, so that a picture that is late delays no other.
		if wait(ctx, time.Until(begin.Add(time.Duration(float64(i)*float64(time.Second)/rate)))) != nil {
			return
		}
		for p := pictures[i%sendPictures]; len(p) > 0; p = p[min(sendChunk, len(p)):] {
			if _, err := conn.Write(p[:min(sendChunk, len(p))]); err != nil {
				return
			}
		}
		sent.Add(1)
	}
}

// passOn writes what another sender writes until ctx or one of the connections ends, and counts pictures. It goes through this process's memory, as what a
// pod frames anew has to.
func passOn(ctx context.Context, from string, to io.Writer, size int, sent *atomic.Int64) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", from)
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	buffer := make([]byte, sendChunk)
	for total := int64(0); ; {
		n, err := conn.Read(buffer)
		if err == nil {
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			return
		}
		total += int64(n)
		sent.Store(total / int64(size))
	}
}

// bareSend measures what it costs to hand the pictures of a load, as I420, to the kernel.
func (b *bench) bareSend(ctx context.Context, l load) (sample, error) {
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s, address, err := b.bareSender(starting, l, "")
	if err != nil {
		return sample{}, err
	}
	defer s.stop()
	return b.drained(ctx, s, address, l)
}

// barePass measures what it costs to take the same pictures from a socket and hand them to the kernel again.
func (b *bench) barePass(ctx context.Context, l load) (sample, error) {
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	first, address, err := b.bareSender(starting, l, "")
	if err != nil {
		return sample{}, err
	}
	defer first.stop()
	s, address, err := b.bareSender(starting, l, address)
	if err != nil {
		return sample{}, err
	}
	defer s.stop()
	return b.drained(ctx, s, address, l)
}

// bareSender starts a bare sender of a load's pictures, or of those of another sender. The caller stops it.
func (b *bench) bareSender(ctx context.Context, l load, from string) (s *child, address string, err error) {
	clip := l.clip()
	s, err = start("the bare sender", b.self, "send", "-rate", fmt.Sprint(l.rate()), "-bytes", fmt.Sprint(clip.Width*clip.Height*3/2), "-from", from)
	if err != nil {
		return nil, "", err
	}
	if address, err = s.await(ctx, "listening "); err != nil {
		s.stop()
		return nil, "", err
	}
	return s, address, nil
}

// drained measures a bare sender while all that it sends is read.
func (b *bench) drained(ctx context.Context, s *child, address string, l load) (sample, error) {
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(starting, "tcp", address)
	if err != nil {
		return sample{}, fmt.Errorf("dial the bare sender: %w", err)
	}
	var reading sync.WaitGroup
	defer reading.Wait()
	defer func() { _ = conn.Close() }()
	reading.Go(func() {
		buffer := make([]byte, sendChunk)
		for _, err := conn.Read(buffer); err == nil; _, err = conn.Read(buffer) {
		}
	})
	return measure(ctx, b.window, probe{cpu: s.cpu, frames: func() (int64, error) { return s.count(ctx) }}, l.rate())
}
