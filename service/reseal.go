package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// resealPause is between two attempts to keep what could not be kept.
const resealPause = time.Second

// ChangePodSecrets replaces Config.PodSecrets, under running calls: from now on the first one proves and seals, and what the others made is accepted. The one in use must be among those that follow, or other
// pods refuse this one's calls: whoever changes secrets sees to that. What the sessions of this pod have sealed in the store is sealed anew, in the background. Errors: ErrConfig, with which nothing changes.
func (s *Service) ChangePodSecrets(secrets [][]byte) error {
	if len(secrets) == 0 {
		return fmt.Errorf("%w: PodSecrets: there are none", ErrConfig)
	}
	another, err := s.keys.Change(secrets[0], secrets[1:]...)
	if err != nil {
		return fmt.Errorf("%w: PodSecrets: %w", ErrConfig, err)
	}
	if another {
		s.resealSoon()
	}
	return nil
}

// resealAll seals anew what sessions have sealed, whenever another secret seals, so that the one of before can be taken out.
func (s *Service) resealAll(ctx context.Context) {
	for {
		select {
		case <-s.resealing:
		case <-ctx.Done():
			return
		}
		sealed := 0
		for left := s.all(); len(left) > 0; {
			n := len(left)
			left = s.resealEach(ctx, left)
			sealed += n - len(left)
			if len(left) == 0 {
				break
			}
			pause := time.NewTimer(resealPause)
			select {
			case <-pause.C:
			case <-ctx.Done():
				pause.Stop()
				return
			}
		}
		s.cfg.Logger.Info("what sessions have sealed is sealed by the secret that is first now", "sessions", sealed)
	}
}

// resealEach returns those of the sessions that could not be kept, and must be tried again.
func (s *Service) resealEach(ctx context.Context, all []*session) (left []*session) {
	for _, v := range all {
		if err := v.reseal(ctx); err != nil {
			s.cfg.Logger.Debug("session not sealed anew yet", "session", logName(v.key), "error", err)
			left = append(left, v)
		}
	}
	return left
}

// reseal keeps what the session has sealed, by the secret that is first now. One that has nothing, has moved or has ended needs none.
func (v *session) reseal(ctx context.Context) error {
	v.serving.Lock()
	defer v.serving.Unlock()
	if len(v.servers) == 0 {
		return nil
	}
	err := v.keepServers(ctx)
	select {
	case <-v.gone:
		return nil
	default:
	}
	if errors.Is(err, errMoved) || errors.Is(err, resolverstore.ErrSessionEnded) || errors.Is(err, resolverstore.ErrSessionNotFound) {
		return nil
	}
	return err
}

// sealedBefore has what sessions have sealed sealed anew if that of one, which was opened just now, was sealed by another secret than the first: by a pod that had another one in front, or while secrets changed.
func (s *Service) sealedBefore(k resolverstore.SessionKey, sealed []byte) {
	if len(sealed) > 0 && !s.keys.Current(relay.ForSeal, sealed, []byte(k.Tenant), []byte(k.ID)) {
		s.resealSoon()
	}
}

// resealSoon wakes resealAll.
func (s *Service) resealSoon() {
	select {
	case s.resealing <- struct{}{}:
	default: // it is awake already
	}
}
