package tlsbatch

import (
	"net"
	"sync"
)

// records is the socket as TLS sees it. It is as safe for concurrent use as any net.Conn.
type records struct {
	net.Conn
	buffers *buffers

	mu       sync.Mutex // held while something is written, so that the order of records stays
	gathered bool       // what is written is held back
	held     *[Most]byte
	size     int   // of what is held
	err      error // what became of the first write that failed: the peer cannot make sense of anything after it
}

// gather holds back what is written until flush, or until there is too much of it.
func (r *records) gather() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gathered = true
}

// flush writes what is held back, and holds back nothing more. It returns the error of the first write that failed.
func (r *records) flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gathered = false
	r.drain()
	if r.held != nil {
		r.buffers.put(r.held)
		r.held = nil
	}
	return r.err
}

// Write implements net.Conn.
func (r *records) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gathered && len(b) <= Most {
		if r.size+len(b) > Most {
			r.drain()
		}
		if r.err != nil {
			return 0, r.err
		}
		if r.held == nil {
			r.held = r.buffers.get()
		}
		r.size += copy(r.held[r.size:], b)
		return len(b), nil
	}
	r.drain()
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.Conn.Write(b)
	r.err = err
	return n, err
}

// drain writes what is held back. mu is held.
func (r *records) drain() {
	if r.size == 0 {
		return
	}
	_, r.err = r.Conn.Write(r.held[:r.size]) // there was no error before, else nothing would be held
	r.size = 0
}
