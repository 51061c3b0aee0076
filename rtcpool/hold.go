package rtcpool

import "context"

// HoldGrace keeps a session that was not offered anything yet from ending for want of media, or lets its grace run again, from
// the beginning. From the first offer on it changes nothing. It tells whether it did; not when the session has ended or ctx ends.
func (s *Session) HoldGrace(ctx context.Context, held bool) bool {
	reply := make(chan bool, 1)
	taken, err := s.do(ctx, func() {
		waiting := s.current == nil
		if waiting {
			s.stopGrace()
		}
		if waiting && !held {
			s.startGrace()
		}
		reply <- waiting
	})
	return err == nil && taken && <-reply
}

// SetEndOnRemoteClose changes [SessionConfig.EndOnRemoteClose], as when a publisher who is the only one to offer takes a session
// over. It does nothing when the session has ended or ctx ends.
func (s *Session) SetEndOnRemoteClose(ctx context.Context, on bool) {
	_, _ = s.do(ctx, func() { s.cfg.EndOnRemoteClose = on })
}
