package service

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/penstock-media/penstock/resolverstore"
)

// guard waits until this process owns the session no longer, or it was ended elsewhere, and lets it go then.
func (v *session) guard(ctx context.Context, log *slog.Logger) {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		began := time.Now()
		owner, err := v.svc.cfg.Store.Owner(ctx, v.key, v.fence)
		switch {
		case ctx.Err() != nil, errors.Is(err, resolverstore.ErrClosed):
			return
		case errors.Is(err, resolverstore.ErrSessionNotFound): // It ended, so long ago that nothing is left of it.
			v.endedElsewhere(resolverstore.SessionDeleted)
			return
		case err == nil && owner.Session.State == resolverstore.SessionEnded:
			v.endedElsewhere(owner.Session.EndReason)
			return
		case err == nil && owner.Session.Fence != v.fence:
			v.depose(owner.Session.Fence, log)
			return
		case err != nil:
			log.Debug("session's owner cannot be watched; trying again", "error", err, "after", wait)
		}
		if time.Since(began) > lastRetry {
			wait = firstRetry
		}
		rest(ctx, wait)
	}
}

// endedElsewhere closes what is here of a session that has ended in the store already. The first reason counts.
func (v *session) endedElsewhere(reason resolverstore.SessionEndReason) {
	v.mirror.endWith(reason)
	v.rtc.Close()
}

// depose lets the session go that another process has taken over, in a drain at this one's own wish: nothing more of it is written, it is counted, what serves
// it here is told, and its peer connections are closed. It is idempotent.
func (v *session) depose(by resolverstore.Fence, log *slog.Logger) {
	if !v.mirror.leave() {
		return
	}
	if v.svc.drain.told() {
		v.svc.counts.handedOver.Add(1)
		log.Info("session handed over", "epoch", v.fence.Epoch, "to", by.Owner, "to_epoch", by.Epoch)
	} else {
		v.svc.counts.deposed.Add(1)
		log.Warn("another pod has taken the session over; it is closed here", "epoch", v.fence.Epoch, "by", by.Owner, "by_epoch", by.Epoch)
	}
	v.svc.meters.sessionEnded(0, true)
	v.move()
	v.hub.leave()
	v.rtc.Close()
}
