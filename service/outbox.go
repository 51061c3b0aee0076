package service

import (
	"context"
	"sync"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// maxReplies bounds the replies of one conversation that wait to be sent. Who would add another waits.
const maxReplies = 32

// subject is what a message is about. Of two messages about the same, only the later one is sent.
type subject struct {
	kind       subjectKind
	generation uint64
	id         string
}

// subjectKind is a kind of message that the gateway sends by itself.
type subjectKind uint8

const (
	aboutOpen  subjectKind = iota + 1 // the reply to open
	aboutReply                        // each is a subject of its own
	aboutState
	aboutCandidate
	aboutTrack
	aboutRestart
	aboutDrain
	aboutExpiry
	aboutEnd
)

// outbox holds what is to be sent in one conversation: in order, and never two messages about one subject, so that it
// holds no more than there are subjects however slowly the caller reads. All methods are safe for concurrent use.
type outbox struct {
	slots chan struct{} // one for each reply that waits
	wake  chan struct{} // holds one token while there may be something to send

	mu      sync.Mutex
	order   []subject
	waiting map[subject]*penstockv1.SignalResponse
	replies uint64 // numbers them
	closed  bool
}

// newOutbox returns an empty outbox.
func newOutbox() *outbox {
	return &outbox{
		slots: make(chan struct{}, maxReplies), wake: make(chan struct{}, 1),
		waiting: make(map[subject]*penstockv1.SignalResponse),
	}
}

// put adds a message, or puts it in the place of the one about the same subject. It never blocks.
func (o *outbox) put(s subject, m *penstockv1.SignalResponse) {
	o.mu.Lock()
	if !o.closed {
		if _, known := o.waiting[s]; !known {
			o.order = append(o.order, s)
		}
		o.waiting[s] = m
	}
	o.mu.Unlock()
	o.signal()
}

// reply adds a reply as soon as there is room for it. Errors: ctx's.
func (o *outbox) reply(ctx context.Context, m *penstockv1.SignalResponse) error {
	select {
	case o.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	o.mu.Lock()
	o.replies++
	s := subject{kind: aboutReply, generation: o.replies}
	o.mu.Unlock()
	o.put(s, m)
	return nil
}

// take removes and returns the message about a subject that was not sent yet, if there is one.
func (o *outbox) take(s subject) *penstockv1.SignalResponse {
	o.mu.Lock()
	defer o.mu.Unlock()
	m, ok := o.waiting[s]
	if !ok {
		return nil
	}
	delete(o.waiting, s)
	for i := range o.order {
		if o.order[i] == s {
			o.order = append(o.order[:i], o.order[i+1:]...)
			break
		}
	}
	return m
}

// drop removes what is no longer worth sending.
func (o *outbox) drop(unwanted func(subject) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := o.order[:0]
	for _, s := range o.order {
		if unwanted(s) {
			delete(o.waiting, s)
		} else {
			kept = append(kept, s)
		}
	}
	clear(o.order[len(kept):])
	o.order = kept
}

// close takes no more; what is there is still sent.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.signal()
}

// next waits for the next message. It returns false when the outbox is closed and empty, or ctx ends.
func (o *outbox) next(ctx context.Context) (*penstockv1.SignalResponse, bool) {
	for {
		m, closed := o.first()
		switch {
		case ctx.Err() != nil:
			return nil, false
		case m != nil:
			return m, true
		case closed:
			return nil, false
		}
		select {
		case <-o.wake:
		case <-ctx.Done():
			return nil, false
		}
	}
}

// first removes the first message, or returns nil and whether there will be none.
func (o *outbox) first() (m *penstockv1.SignalResponse, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.order) == 0 {
		return nil, o.closed
	}
	s := o.order[0]
	m = o.waiting[s]
	delete(o.waiting, s)
	o.order[0] = subject{}
	o.order = o.order[1:]
	if s.kind == aboutReply {
		<-o.slots
	}
	return m, false
}

// signal wakes next.
func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}
