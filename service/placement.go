package service

import (
	"context"
	"crypto/rand"
	mathrand "math/rand/v2"
	"strings"

	"google.golang.org/grpc"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/internal/relay"
)

const (
	// hereMargin is how much fuller than the other this pod may be, as a share of what a pod takes, and still keep a session that was asked for here: frames for
	// workers that call here go one way less.
	hereMargin = 0.2
	// maxPlaces is how many pods are asked to take a session.
	maxPlaces = 3
	// usualSessions is what a pod takes that does not say.
	usualSessions = DefaultSessions
)

// newSessionID returns an id for a session whose creator gave none.
func newSessionID() string { return "s-" + strings.ToLower(rand.Text()) }

// placeUnary sends CreateSession to the pod that is to own the session; next is this one. The id is chosen here, so that a request that was perhaps served, and is sent to
// another pod since its answer was lost, makes no second session.
func (s *Service) placeUnary(ctx context.Context, r *penstockv1.CreateSessionRequest, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if _, forwarded := relay.Forwarded(ctx); forwarded {
		return next(ctx, r) // It was placed already.
	}
	if r.GetSessionId() == "" {
		r.SessionId = newSessionID()
	}
	return s.place(ctx, func() (any, error) { return next(ctx, r) }, func(to relay.Pod) (any, error) {
		reply, err := s.pods.Invoke(ctx, to, info.FullMethod, s.callerOf(ctx), r)
		if err != nil {
			return nil, err
		}
		return reply, nil
	})
}

// place has a session created here or there, at the first pod that takes it, of those that are asked in turn.
func (s *Service) place(ctx context.Context, here func() (any, error), there func(relay.Pod) (any, error)) (any, error) {
	pods, err := s.cfg.Store.Pods(ctx)
	if err != nil {
		return here() // which tells why
	}
	order := placement(s.cfg.Owner, pods, mathrand.IntN)
	for i, p := range order {
		var reply any
		if p.Incarnation == s.cfg.Owner {
			reply, err = here()
		} else {
			reply, err = there(relay.Pod{Incarnation: p.Incarnation, Address: p.Address})
		}
		if err == nil || i == len(order)-1 || ctx.Err() != nil || !full(err) {
			return reply, err
		}
	}
	return here()
}

// full tells that a pod takes no session, or cannot be reached, so that another one may be asked.
func full(err error) bool {
	if outOfReach(err) {
		return true
	}
	switch reason, _ := verdict(err); reason {
	case penstockv1.ErrorReason_ERROR_REASON_LIMIT_REACHED, penstockv1.ErrorReason_ERROR_REASON_DRAINING:
		return true
	}
	return false
}

// placement returns the pods that a new session is offered to, in turn: the less loaded of two that random picks, where it is less loaded than this one by a margin, else this
// one, then the others of the three. Two choices spread sessions nearly as well as a look at all pods, and unlike it do not send all to the one that is least loaded by what
// was told a second ago. Pods that are full, drain or have no address are left out; this one is last then, since it can tell best why not.
func placement(self string, pods []resolverstore.Pod, random func(n int) int) []resolverstore.Pod {
	here := resolverstore.Pod{Incarnation: self}
	hereTakes := true
	var others []resolverstore.Pod
	for _, p := range pods {
		takes := !p.Load.Draining && fullness(p.Load) < 1
		switch {
		case p.Incarnation == self:
			here, hereTakes = p, takes
		case takes && relay.CheckAddress(p.Address) == nil:
			others = append(others, p)
		}
	}
	two := make([]resolverstore.Pod, 0, maxPlaces)
	for len(two) < 2 && len(others) > 0 {
		i := random(len(others))
		two = append(two, others[i])
		others[i] = others[len(others)-1]
		others = others[:len(others)-1]
	}
	if len(two) == 2 && fullness(two[1].Load) < fullness(two[0].Load) {
		two[0], two[1] = two[1], two[0]
	}
	switch {
	case len(two) == 0:
		return []resolverstore.Pod{here}
	case !hereTakes:
		return append(two, here)
	case fullness(here.Load) <= fullness(two[0].Load)+hereMargin:
		return append([]resolverstore.Pod{here}, two...)
	}
	return append([]resolverstore.Pod{two[0], here}, two[1:]...)
}

// fullness is the share of what a pod takes that it has: of sessions, or of its decoders' time, whichever is more.
func fullness(l resolverstore.Load) float64 {
	most := l.MaxSessions
	if most <= 0 {
		most = usualSessions
	}
	return max(float64(l.Sessions)/float64(most), min(l.Busy, busiest))
}

// busiest is how full busy decoders alone make a pod: it is the last choice, and still takes a session where none is better.
const busiest = 0.99
