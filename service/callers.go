package service

import (
	"container/list"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxBuckets bounds the callers whose rates are remembered. The one that was not heard of for longest is forgotten, and begins with a full bucket: who
// can call under as many names as this has as many buckets anyway.
const maxBuckets = 16384

// buckets limits the rates of callers, each by a bucket of tokens of its own. It is safe for concurrent use.
type buckets struct {
	kind  limitKind
	rate  rate.Limit
	burst int
	count *refusals
	now   func() time.Time

	mu    sync.Mutex
	known map[string]*list.Element // of *bucket
	order *list.List               // the one heard of last is first
}

// bucket is one caller's.
type bucket struct {
	caller  string
	limiter *rate.Limiter
}

// newBuckets returns buckets of a rate, in requests a second, and a burst; a rate of 0 is none.
func newBuckets(kind limitKind, perSecond, burst int, count *refusals) *buckets {
	return &buckets{
		kind: kind, rate: rate.Limit(perSecond), burst: max(burst, perSecond, 1), count: count, now: time.Now,
		known: make(map[string]*list.Element), order: list.New(),
	}
}

// take takes a token, or returns errLimit with the time in which there will be one.
func (b *buckets) take(caller string) error {
	if b.rate == 0 {
		return nil
	}
	now, of := b.now(), b.of(caller)
	if of.AllowN(now, 1) { // Not a reservation: those that are cancelled while there are others cost tokens.
		return nil
	}
	b.count[b.kind].Add(1)
	return b.over(of, now)
}

// empty tells, by the errLimit that take would return, that a caller has no token left. It takes none, and remembers nobody.
func (b *buckets) empty(caller string) error {
	b.mu.Lock()
	e, ok := b.known[caller]
	b.mu.Unlock()
	if !ok {
		return nil
	}
	now, of := b.now(), e.Value.(*bucket).limiter //nolint:forcetypeassert // nothing else is put in
	if of.TokensAt(now) >= 1 {
		return nil
	}
	return b.over(of, now)
}

// spend takes a token if there is one.
func (b *buckets) spend(caller string) { b.of(caller).AllowN(b.now(), 1) }

// over returns the error of a bucket without a token.
func (b *buckets) over(of *rate.Limiter, now time.Time) error {
	wait := time.Duration((1 - of.TokensAt(now)) / float64(b.rate) * float64(time.Second))
	return &limitError{kind: b.kind, value: int64(b.rate), retry: max(wait, minRetry)}
}

// minRetry is the shortest time that a caller is told to wait: less would have it call again at once.
const minRetry = 100 * time.Millisecond

// of returns a caller's bucket.
func (b *buckets) of(caller string) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e, ok := b.known[caller]; ok {
		b.order.MoveToFront(e)
		return e.Value.(*bucket).limiter //nolint:forcetypeassert // nothing else is put in
	}
	if b.order.Len() >= maxBuckets {
		last := b.order.Back()
		b.order.Remove(last)
		delete(b.known, last.Value.(*bucket).caller) //nolint:forcetypeassert // as above
	}
	one := &bucket{caller: caller, limiter: rate.NewLimiter(b.rate, b.burst)}
	b.known[caller] = b.order.PushFront(one)
	return one.limiter
}

// shares bounds how many of something each caller has at one time. It remembers only who has any, so that it is as bounded as the whole of what is shared. It is
// safe for concurrent use.
type shares struct {
	kind  limitKind
	limit int // 0 is none
	count *refusals

	mu  sync.Mutex
	has map[string]int
}

// newShares returns shares that nobody has any of; a limit of 0 is none.
func newShares(kind limitKind, limit int, count *refusals) *shares {
	return &shares{kind: kind, limit: limit, count: count, has: make(map[string]int)}
}

// acquire takes one, which must be given back by release, or returns errLimit, and counts it.
func (s *shares) acquire(caller string) (release func(), err error) {
	release, err = s.take(caller)
	return release, s.count.limited(err)
}

// take is acquire without the count.
func (s *shares) take(caller string) (release func(), err error) {
	if s.limit == 0 {
		return func() {}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.has[caller] >= s.limit {
		return nil, &limitError{kind: s.kind, value: int64(s.limit)}
	}
	s.has[caller]++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.has[caller]--; s.has[caller] <= 0 {
			delete(s.has, caller)
		}
	}), nil
}
