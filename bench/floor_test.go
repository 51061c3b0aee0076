package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestSend: the bare sender writes whole pictures to who connects, counts them, and ends with its input.
func TestSend(t *testing.T) {
	const size = 300_000 // more than one write
	ctx := testContext(t)
	in, end := io.Pipe()
	from, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- sendMain(ctx, []string{"-bytes", "300000", "-rate", "200"}, in, out)
		_ = out.Close()
	}()
	s := &child{name: "the sender", in: end, lines: make(chan string, 64), done: make(chan struct{})}
	go s.read(from)
	address, err := s.await(ctx, "listening ")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialTimeout("tcp", address, 30*time.Second)
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
	if n, err := s.count(ctx); err != nil || n < 1 {
		t.Errorf("%d pictures counted, %v", n, err)
	}
	_ = end.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-s.done
	if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the connection ended with %v", err)
	}
	if err := sendMain(ctx, nil, strings.NewReader(""), io.Discard); !errors.Is(err, errUsage) {
		t.Errorf("nothing to send: %v", err)
	}
}
