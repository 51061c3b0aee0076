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

// sendMain is the bare sender process: it writes so many bytes so often to the one connection that it accepts, and does nothing else.
// What it costs no gateway can save that delivers the same bytes over the same kind of socket.
func sendMain(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("send", flag.ContinueOnError)
	size := flags.Int("bytes", 0, "bytes a picture")
	rate := flags.Float64("rate", 0, "pictures a second")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *size < 1 || *rate <= 0 {
		return fmt.Errorf("%w: send -bytes N -rate R", errUsage)
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

// bareSend measures what it costs to hand the pictures of a load, as I420, to the kernel.
func (b *bench) bareSend(ctx context.Context, l load) (sample, error) {
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	clip := l.clip()
	s, err := start("the bare sender", b.self, "send", "-rate", fmt.Sprint(l.rate()), "-bytes", fmt.Sprint(clip.Width*clip.Height*3/2))
	if err != nil {
		return sample{}, err
	}
	defer s.stop()
	address, err := s.await(starting, "listening ")
	if err != nil {
		return sample{}, err
	}
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
