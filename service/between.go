package service

import "context"

// betweenOwners does what takes time while no owner serves a stream or conversation: it looks for one, or waits before it looks again. What its own pod has to tell the caller
// meanwhile, that this process is about to stop and that the caller's credentials are about to expire, is no other pod's to tell: do is broken off for it, tell called, and do begun again.
// tell tells once what there is, and is called before do, too. Errors: those of do and tell.
func (s *Service) betweenOwners(ctx context.Context, tell, do func(context.Context) error) error {
	for {
		part, cancel := context.WithCancel(ctx)
		stop := s.whenToTell(ctx, cancel)
		err := tell(ctx)
		if err != nil {
			stop()
			cancel()
			return err
		}
		err = do(part)
		broken := part.Err() != nil && ctx.Err() == nil
		stop()
		cancel()
		if err == nil || !broken {
			return err
		}
	}
}

// whenToTell calls f when there is something for a call's own pod to tell that there is not yet. The caller must call the function returned.
func (s *Service) whenToTell(ctx context.Context, f func()) (stop func()) {
	never := func() bool { return false }
	drain, expiry := never, never
	if !s.drain.told() {
		drain = context.AfterFunc(s.drain.begin, f)
	}
	if _, soon := expiresIn(ctx); !soon {
		expiry = whenExpiring(ctx, f)
	}
	return func() {
		drain()
		expiry()
	}
}
