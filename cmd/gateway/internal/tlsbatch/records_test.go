package tlsbatch

import (
	"bytes"
	"errors"
	"net"
	"testing"
)

// tape is a socket that keeps what is written to it, and fails some writes.
type tape struct {
	net.Conn
	wrote [][]byte
	fails map[int]bool // by number, from 0
	n     int
}

// Write implements net.Conn.
func (t *tape) Write(b []byte) (int, error) {
	t.n++
	if t.fails[t.n-1] {
		return 0, errBroken
	}
	t.wrote = append(t.wrote, bytes.Clone(b))
	return len(b), nil
}

// TestX11_RecordsKeepTheirOrder: what is written while nothing is gathered passes at once; what is gathered goes out together, in its order, in parts no
// larger than Most, and all of it with flush. So an alert, or a key update, keeps its place.
func TestX11_RecordsKeepTheirOrder(t *testing.T) {
	to := &tape{}
	r := &records{Conn: to, buffers: &buffers{}}
	var all []byte
	write := func(size int) {
		t.Helper()
		b := content(size)
		all = append(all, b...)
		if n, err := r.Write(b); n != size || err != nil {
			t.Fatalf("Write of %d returned %d, %v", size, n, err)
		}
	}
	for _, c := range []struct {
		size, writes int // writes so far
	}{{31, 1}, {0, 1}, {oneRecord + overhead, 1}, {31, 1}, {Most - 100_000, 1}, {100_000, 2}, {Most, 3}, {Most + 1, 5}, {1, 5}, {1, 5}} {
		if c.size == 0 {
			r.gather()
			continue
		}
		write(c.size)
		if len(to.wrote) != c.writes {
			t.Fatalf("after one of %d bytes: %d writes, want %d", c.size, len(to.wrote), c.writes)
		}
	}
	must(t, r.flush())
	write(31)
	if len(to.wrote) != 7 || !bytes.Equal(bytes.Join(to.wrote, nil), all) {
		t.Errorf("%d writes; what is at the socket is not what was written", len(to.wrote))
	}
}

// TestX11_NothingFollowsAGap: when one write fails, all that follow do, though the socket would take them, in the same batch and later.
func TestX11_NothingFollowsAGap(t *testing.T) {
	for name, broken := range map[string]func(*records){
		"gathered": func(r *records) {
			r.gather()
			for range 5 {
				_, _ = r.Write(make([]byte, Most-1)) // flush tells
			}
			if err := r.flush(); !errors.Is(err, errBroken) {
				t.Errorf("flush returned %v", err)
			}
		},
		"at once": func(r *records) {
			if _, err := r.Write(make([]byte, 100)); !errors.Is(err, errBroken) {
				t.Errorf("Write returned %v", err)
			}
		},
	} {
		to := &tape{fails: map[int]bool{0: true}}
		r := &records{Conn: to, buffers: &buffers{}}
		broken(r)
		if _, err := r.Write([]byte("x")); !errors.Is(err, errBroken) {
			t.Errorf("%s: the next Write returned %v", name, err)
		}
		r.gather()
		_, _ = r.Write([]byte("x")) // flush tells
		if err := r.flush(); !errors.Is(err, errBroken) || len(to.wrote) > 0 {
			t.Errorf("%s: the next flush returned %v, %d writes followed", name, err, len(to.wrote))
		}
	}
}
