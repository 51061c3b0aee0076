package relay

import (
	"errors"
	"sync/atomic"
)

// Stats counts calls to other pods since the process began. Failed ones did not get there, were lost with the pod, or were refused by it as not proved; an error that the pod's
// service answers is an answer.
type Stats struct {
	Connections, Open      int // now
	Unary, UnaryFailed     uint64
	Streams, StreamsFailed uint64 // that ended
	ReceivedBytes          uint64 // of messages, to be passed on
}

// stats are the counters of Stats.
type stats struct {
	open                                        atomic.Int64
	unary, unaryFailed, streams, failed, recved atomic.Uint64
}

// Stats returns what happened so far.
func (p *Pods) Stats() Stats {
	s := &p.stats
	return Stats{
		Connections: p.Connections(), Open: int(s.open.Load()), Unary: s.unary.Load(), UnaryFailed: s.unaryFailed.Load(),
		Streams: s.streams.Load(), StreamsFailed: s.failed.Load(), ReceivedBytes: s.recved.Load(),
	}
}

// invoked counts a unary call that ended.
func (s *stats) invoked(err *error, reply *Message) {
	s.open.Add(-1)
	if failed(*err) {
		s.unaryFailed.Add(1)
		return
	}
	s.unary.Add(1)
	if reply != nil {
		s.recved.Add(uint64(reply.Len()))
	}
}

// streamed counts a stream that ended.
func (s *stats) streamed(lost bool) {
	s.open.Add(-1)
	if lost {
		s.failed.Add(1)
		return
	}
	s.streams.Add(1)
}

// failed tells whether a call did not get there, or was lost.
func failed(err error) bool {
	return errors.Is(err, ErrUnreachable) || errors.Is(err, ErrAddress) || errors.Is(err, ErrLooped)
}
