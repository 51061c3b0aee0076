package service

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-media/penstock/service/internal/identity"
)

// Bounds of what is remembered of credentials, and of the line in which the unknown ones of an address over its rate wait.
const (
	// rememberedShows is how many credentials are remembered as good, and as bad; up to twice as many are.
	rememberedShows = 8192
	// goodFor is how long good ones are remembered, if no others come: to be remembered is only to be checked at once.
	goodFor = 365 * 24 * time.Hour
	// badFor is how long bad ones are refused without another look: keys may have changed meanwhile.
	badFor = 10 * time.Second
	// unknownAtOnce is how many checks of what nobody has seen may be under way outside of the lane, of all addresses: such may wait for keys, before any other limit of calls counts them.
	unknownAtOnce = 4096
	// linePlaces is how many checks of one address may wait, and lineTotal how many of all.
	linePlaces, lineTotal = 64, 4096
	// linePatience is how long they wait for their turn, and laneKeys how long a check in the lane waits for keys.
	linePatience, laneKeys = 2 * time.Second, 100 * time.Millisecond
	// guessesEvery is how often the log tells of addresses over their rate.
	guessesEvery = time.Minute
)

// guesses bounds the work that bad credentials cost, by address. Good ones are never refused for what others at their address do: those that were good before are checked at once;
// those that nobody has seen are checked too, of an address over its rate one after another in a lane that takes a part of the processors only. What is refused
// without a check is what was found to be bad a short while ago, and what finds the line full. It is safe for concurrent use.
type guesses struct {
	rates     *buckets
	good, bad *recent
	seed      maphash.Seed
	unknown   *limiter
	lane      chan struct{} // holds one for each check under way
	places    *shares
	line      *limiter
	log       *slog.Logger

	unchecked [uncheckedKinds]atomic.Uint64
	told      atomic.Int64  // when the log was told, in Unix nanoseconds
	untold    atomic.Uint64 // refusals since then
}

// unchecked is why credentials were refused without a check.
type unchecked uint8

const (
	uncheckedKnown unchecked = iota // found to be bad before
	uncheckedLine                   // too many wait for their check
	uncheckedKinds
)

// uncheckedNames are the label values of the metric.
var uncheckedNames = [uncheckedKinds]string{"known", "line"}

// newGuesses returns one that knows nobody; a rate of 0 bounds nothing.
func newGuesses(cfg Limits, count *refusals, log *slog.Logger) *guesses {
	return &guesses{
		rates: newBuckets(limitFailedAuthRate, cfg.FailedAuthRate, cfg.FailedAuthBurst, count),
		good:  newRecent(rememberedShows), bad: newRecent(rememberedShows), seed: maphash.MakeSeed(),
		lane: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/4)), log: log,
		// What finds no place is counted by refuse, as what it is to the caller.
		places: newShares(limitFailedAuthRate, linePlaces, &refusals{}), line: newLimiter(limitFailedAuthRate, lineTotal, &refusals{}),
		unknown: newLimiter(limitFailedAuthRate, unknownAtOnce, &refusals{}),
	}
}

// check has credentials from an address checked, or refuses them with errLimit. Errors: those of the check, errLimit.
func (g *guesses) check(ctx context.Context, address string, shown identity.Credentials, check func(context.Context) (identity.Identity, error)) (identity.Identity, error) {
	if g.rates.rate == 0 || len(shown.Authorization) == 0 && shown.Certificate == nil { // who shows nothing costs no check
		return check(ctx)
	}
	key, of, now := g.keyOf(shown), "address "+addressKey(address), g.rates.now()
	over, known := g.rates.empty(of), g.good.has(key, now)
	if over == nil && !known {
		if g.unknown.acquire() == nil {
			defer g.unknown.release()
		} else { // There is no telling yet how many fail.
			over = &limitError{kind: limitFailedAuthRate, value: int64(g.rates.rate)}
		}
	}
	if over != nil && !known {
		if wait := g.bad.left(key, now); wait > 0 {
			return identity.Identity{}, g.refuse(ctx, of, uncheckedKnown, wait)
		}
		leave, err := g.enter(ctx, of)
		if err != nil {
			return identity.Identity{}, err
		}
		defer leave()
		bound, cancel := context.WithTimeout(ctx, laneKeys)
		defer cancel()
		ctx = bound
	}
	who, err := check(ctx)
	switch {
	case err == nil:
		g.good.add(key, now, goodFor)
		g.bad.forget(key)
		return who, nil
	case errors.Is(err, identity.ErrUnavailable): // nobody's fault
		return who, err
	}
	g.good.forget(key)
	g.rates.spend(of)
	if !errors.Is(err, identity.ErrKey) && !errors.Is(err, identity.ErrNotYet) { // those may be good at any moment
		g.bad.add(key, now, badFor)
	}
	if over == nil || errors.Is(err, identity.ErrExpired) { // its owner must learn that, and it was signed by an issuer
		return who, err
	}
	g.tell(ctx, of)
	g.rates.count[limitFailedAuthRate].Add(1)
	return who, over
}

// enter waits for the turn of a check, which must be given back by leave. Errors: errLimit, that of ctx.
func (g *guesses) enter(ctx context.Context, of string) (leave func(), err error) {
	place, err := g.places.acquire(of)
	if err != nil {
		return nil, g.refuse(ctx, of, uncheckedLine, 0)
	}
	defer place()
	if err := g.line.acquire(); err != nil {
		return nil, g.refuse(ctx, of, uncheckedLine, 0)
	}
	defer g.line.release()
	patience := time.NewTimer(linePatience)
	defer patience.Stop()
	select {
	case g.lane <- struct{}{}:
		return func() { <-g.lane }, nil
	case <-patience.C:
		return nil, g.refuse(ctx, of, uncheckedLine, 0)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// refuse counts what is refused without a check, and tells when to try again; 0 is what the limit says.
func (g *guesses) refuse(ctx context.Context, of string, why unchecked, wait time.Duration) error {
	g.unchecked[why].Add(1)
	g.tell(ctx, of)
	g.rates.count[limitFailedAuthRate].Add(1)
	return &limitError{kind: limitFailedAuthRate, value: int64(g.rates.rate), retry: wait}
}

// tell logs once in a while that, and from where, credentials are guessed.
func (g *guesses) tell(ctx context.Context, of string) {
	n, last, now := g.untold.Add(1), g.told.Load(), g.rates.now().UnixNano()
	if now-last < int64(guessesEvery) || !g.told.CompareAndSwap(last, now) {
		return
	}
	g.untold.Add(-n)
	g.log.WarnContext(ctx, "credentials that fail come faster than --failed-auth-rate; good ones are served", "from", of, "refused", n)
}

// keyOf tells credentials from others by a hash that nobody outside of this process can compute; what they are is not remembered.
func (g *guesses) keyOf(shown identity.Credentials) uint64 {
	var h maphash.Hash
	h.SetSeed(g.seed)
	for _, a := range shown.Authorization { // a NUL is in none
		_, _ = h.WriteString(a)
		_ = h.WriteByte(0)
	}
	if c := shown.Certificate; c != nil {
		_, _ = h.Write(c.Raw)
	}
	return h.Sum64()
}

// recent remembers keys until a time each, as many as were added last. It is safe for concurrent use.
type recent struct {
	size int

	mu          sync.Mutex
	now, before map[uint64]time.Time
}

// newRecent returns one that remembers at least the last size keys, and at most twice as many.
func newRecent(size int) *recent {
	return &recent{size: size, now: make(map[uint64]time.Time), before: nil}
}

// add remembers a key.
func (r *recent) add(key uint64, now time.Time, life time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.now[key]; !known && len(r.now) >= r.size {
		r.before, r.now = r.now, make(map[uint64]time.Time)
	}
	r.now[key] = now.Add(life)
}

// forget forgets it.
func (r *recent) forget(key uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.now, key)
	delete(r.before, key)
}

// has tells whether it is remembered.
func (r *recent) has(key uint64, now time.Time) bool { return r.left(key, now) > 0 }

// left returns for how long it is; 0 where it is not.
func (r *recent) left(key uint64, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	until, ok := r.now[key]
	if !ok {
		until = r.before[key]
	}
	return max(until.Sub(now), 0)
}
