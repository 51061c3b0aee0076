package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestSend: the bare sender writes whole pictures to who connects, counts them, and ends with its input.
func TestSend(t *testing.T) {
	first := startSender(t)
	t.Run("first", first.check)
	again := startSender(t, "-from", startSender(t).address)
	t.Run("passed on", again.check)
	if err := sendMain(testContext(t), nil, strings.NewReader(""), io.Discard); !errors.Is(err, errUsage) {
		t.Errorf("nothing to send: %v", err)
	}
}

// sent is a sender under test.
type sent struct {
	*child
	address string
	end     func()
}

// startSender starts a sender of pictures of 300,000 bytes, which is more than one write.
func startSender(t *testing.T, more ...string) sent {
	ctx := testContext(t)
	in, end := io.Pipe()
	from, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- sendMain(ctx, append([]string{"-bytes", "300000", "-rate", "200"}, more...), in, out)
		_ = out.Close()
	}()
	s := &child{name: "the sender", in: end, lines: make(chan string, 64), done: make(chan struct{})}
	go s.read(from)
	address, err := s.await(ctx, "listening ")
	if err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		_ = end.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		<-s.done
	})
	t.Cleanup(stop)
	return sent{s, address, stop}
}

// check reads two pictures, and compares them with what was to be sent.
func (s sent) check(t *testing.T) {
	const size = 300_000
	conn, err := net.DialTimeout("tcp", s.address, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	for i := range 2 {
		picture, want := make([]byte, size), make([]byte, size)
		for k := range want {
			want[k] = byte(k * (i + 1))
		}
		if _, err := io.ReadFull(conn, picture); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(picture, want) {
			t.Errorf("picture %d is not what was to be sent", i)
		}
	}
	if n, err := s.count(testContext(t)); err != nil || n < 1 {
		t.Errorf("%d pictures counted, %v", n, err)
	}
	s.end()
	if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the connection ended with %v", err)
	}
}
