package media

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// How the load is watched.
const (
	// loadInterval is how often it is looked at, while pictures are decoded.
	loadInterval = 500 * time.Millisecond
	// lateAfter is how long every unit of a track must have waited for a worker, in each of lateIntervals, and no shorter than in the one
	// before, to say that the pool does not keep up. Of fewer than fewUnits the one that waits now counts. It is less than half of
	// what the queue of a track holds.
	lateAfter     = 400 * time.Millisecond
	lateIntervals = 4
	fewUnits      = 3
	// settleFewer and settleSmaller are for how many intervals a step is given time to help: a sender needs a while to change the size.
	settleFewer   = 1
	settleSmaller = 4
	// firstHold is how long the pool must have kept up before something is given back. It doubles, up to maxHold, each time
	// that turns out to have been too early.
	firstHold = 5 * time.Second
	maxHold   = time.Minute
	// maxUse is the share of the workers' time up to which something is given back.
	maxUse = 0.8
	// smallest is the width in pixels below which no smaller size is asked for.
	smallest = 320
)

// stage is how far the load is lightened. Each includes those before.
type stage uint8

const (
	stageAll     stage = iota // everything that is asked for
	stageFewer                // without the highest temporal layer, or without what nothing refers to
	stageBase                 // the lowest temporal layer alone
	stageSmaller              // half the size is asked of senders
	stageSuspend              // and the least important tracks are not decoded at all
)

// load lightens the decoding of video when the pool does not keep up, and takes that back when there is room again.
type load struct {
	pool *DecodePool

	listing sync.Mutex // after any track's
	tracks  []*videoPath
	armed   bool
	closed  bool
	timer   *time.Timer

	used  atomic.Uint64 // the share of the workers' time that was used of late, as the bits of a float64
	shown shownLoad

	collecting sync.Mutex
	garbage    collector // guarded by collecting

	mu        sync.Mutex // before any track's
	stage     stage
	suspended []*videoPath // in the order in which they were
	settle    int          // intervals until the next step
	calm      time.Duration
	hold      time.Duration
	gave      bool          // something was given back since the last step
	eased     time.Duration // since then
}

// shownLoad is what Stats tells of the steps that were taken.
type shownLoad struct {
	stage, suspended atomic.Int32
	steps            atomic.Uint64
}

// loadShare is what one track costs. It is guarded by its track's lock.
type loadShare struct {
	waited   time.Duration // the least that a unit waited for a worker in this interval
	busy     time.Duration // decoding in this interval
	units    int           // decoded in this interval
	arrived  int           // in this interval
	accepted int           // of them, to be decoded

	cost          time.Duration // of a unit, smoothed
	growth        float64       // of a picture, when the size is no longer limited
	rate, accepts float64       // units a second, smoothed
	before        time.Duration // the wait in the interval before
	behind        bool          // it was too long
	late          int           // intervals in a row in which it was, and became no shorter
	consumers     int
}

// limits is what a track is limited to at the moment. The zero value is nothing.
type limits struct {
	fewer         bool
	layer         uint8 // valid when fewer: the highest that is decoded
	width, height int   // asked of the sender
	suspended     bool
}

// add lists a track that is to be decoded. It may be called with the track's lock.
func (l *load) add(v *videoPath) {
	l.listing.Lock()
	defer l.listing.Unlock()
	l.tracks = append(l.tracks, v)
	if l.armed || l.closed {
		return
	}
	l.armed = true
	if l.timer == nil {
		l.timer = time.AfterFunc(loadInterval, l.look)
		return
	}
	l.timer.Reset(loadInterval)
}

// remove takes it out. It may be called with the track's lock.
func (l *load) remove(v *videoPath) {
	l.listing.Lock()
	defer l.listing.Unlock()
	if i := slices.Index(l.tracks, v); i >= 0 {
		l.tracks = slices.Delete(l.tracks, i, i+1)
	}
}

// close ends it. It waits for a look that is under way.
func (l *load) close() {
	l.listing.Lock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
	l.listing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.collecting.Lock()
	defer l.collecting.Unlock()
}

// list returns the tracks that are decoded, and sees to the next look if there are any.
func (l *load) list() []*videoPath {
	l.listing.Lock()
	defer l.listing.Unlock()
	if l.armed = len(l.tracks) > 0 && !l.closed; l.armed {
		l.timer.Reset(loadInterval)
	}
	return slices.Clone(l.tracks)
}

// look draws the conclusions of an interval. The timer calls it.
func (l *load) look() {
	l.judge()
	if l.collecting.TryLock() { // it may take longer than an interval; nobody else waits for it
		defer l.collecting.Unlock()
		l.garbage.look()
	}
}

// judge is look but for the garbage.
func (l *load) judge() {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() {
		l.shown.stage.Store(int32(l.stage))
		l.shown.suspended.Store(int32(len(l.suspended)))
	}()
	tracks := l.list()
	l.suspended = slices.DeleteFunc(l.suspended, func(v *videoPath) bool { return !slices.Contains(tracks, v) })
	if len(tracks) == 0 {
		l.stage, l.calm, l.settle = stageAll, 0, 0
		l.used.Store(0)
		return
	}
	shares := make(map[*videoPath]loadShare, len(tracks))
	late, behind := false, false
	for _, v := range tracks {
		s := v.measureLoad()
		shares[v] = s
		late, behind = late || s.late >= lateIntervals, behind || s.behind
	}
	running := slices.DeleteFunc(slices.Clone(tracks), func(v *videoPath) bool { return slices.Contains(l.suspended, v) })
	l.used.Store(math.Float64bits(min(l.use(running, shares), 1)))
	l.eased += loadInterval
	switch {
	case l.settle > 0:
		l.settle--
	case late:
		l.lighten(tracks, shares)
	case !behind:
		l.restore(tracks, shares)
	}
	if behind {
		l.calm = 0
	}
	for _, v := range tracks {
		v.limitTo(l.limitsOf(v))
	}
}

// lighten takes the next step that helps.
func (l *load) lighten(tracks []*videoPath, shares map[*videoPath]loadShare) {
	switch early := l.gave && l.eased <= 2*l.hold; {
	case early:
		l.hold = min(2*l.hold, maxHold)
	case l.gave || l.hold == 0:
		l.hold = firstHold
	}
	l.gave = false
	l.shown.steps.Add(1)
	for l.stage < stageSuspend {
		l.stage++
		if !l.helps(tracks) {
			continue
		}
		l.settle = settleFewer
		switch l.stage {
		case stageSmaller:
			l.settle = settleSmaller
			return
		case stageSuspend:
		default:
			return
		}
	}
	l.suspend(tracks, shares)
}

// helps tells whether the stage takes anything from a track.
func (l *load) helps(tracks []*videoPath) bool {
	return slices.ContainsFunc(tracks, func(v *videoPath) bool {
		top, width := v.canGiveUp()
		switch l.stage {
		case stageFewer:
			return top > 0
		case stageBase:
			return top > 1
		case stageSmaller:
			return width >= 2*smallest
		default:
			return true
		}
	})
}

// suspend suspends tracks until the others should fit, one at least; the last one stays.
func (l *load) suspend(tracks []*videoPath, shares map[*videoPath]loadShare) {
	running := slices.DeleteFunc(slices.Clone(tracks), func(v *videoPath) bool { return slices.Contains(l.suspended, v) })
	slices.SortStableFunc(running, func(a, b *videoPath) int { // the least important first
		x, y := shares[a], shares[b]
		return cmp.Or(cmp.Compare(x.consumers, y.consumers), cmp.Compare(y.now(), x.now()))
	})
	for use, first := l.use(running, shares), true; len(running) > 1 && (first || use > maxUse); first = false {
		use -= l.share(shares[running[0]].now())
		l.suspended = append(l.suspended, running[0])
		running = running[1:]
	}
	l.settle = settleFewer
}

// restore gives back what was taken last, when the pool has kept up for long enough and there is room for it.
func (l *load) restore(tracks []*videoPath, shares map[*videoPath]loadShare) {
	if l.stage == stageAll {
		return
	}
	running := slices.DeleteFunc(slices.Clone(tracks), func(v *videoPath) bool { return slices.Contains(l.suspended, v) })
	if l.calm += loadInterval; l.calm < l.hold && len(running) > 0 {
		return
	}
	use := 0.0
	switch {
	case len(running) == 0: // The last one stays, whatever it takes.
	case len(l.suspended) > 0:
		back := shares[l.suspended[len(l.suspended)-1]]
		use = l.use(running, shares) + l.share(back.now())
	case l.stage == stageSuspend: // nobody is suspended any more
	case l.stage == stageSmaller:
		for _, v := range running {
			use += l.share(shares[v].large())
		}
	default:
		for _, v := range running {
			use += l.share(shares[v].full())
		}
	}
	if use > maxUse {
		return
	}
	l.calm, l.eased, l.gave, l.settle = 0, 0, true, settleFewer
	if n := len(l.suspended); n > 0 {
		if l.suspended = l.suspended[:n-1]; n > 1 {
			return
		}
	}
	for l.stage--; l.stage > stageAll && !l.helps(tracks); l.stage-- {
	}
}

// use returns the share of the workers' time that tracks take at the moment.
func (l *load) use(tracks []*videoPath, shares map[*videoPath]loadShare) (sum float64) {
	for _, v := range tracks {
		sum += l.share(shares[v].now())
	}
	return sum
}

// share turns seconds of decoding a second into a share of the workers' time.
func (l *load) share(seconds float64) float64 { return seconds / float64(l.pool.videoWorkers) }

// limitsOf returns what the stage means for a track.
func (l *load) limitsOf(v *videoPath) (out limits) {
	top, _ := v.canGiveUp()
	switch {
	case l.stage == stageFewer && top > 0:
		out.fewer, out.layer = true, top-1
	case l.stage >= stageBase && top > 0:
		out.fewer = true
	}
	if l.stage >= stageSmaller {
		out.width, out.height = v.smaller()
	}
	out.suspended = slices.Contains(l.suspended, v)
	return out
}

// now is what a track takes as it is decoded at the moment, in seconds a second. Of one that is suspended it is what it would take.
func (s loadShare) now() float64 { return s.cost.Seconds() * s.accepts }

// full is what it would take with all its layers.
func (s loadShare) full() float64 { return s.cost.Seconds() * s.rate }

// large is what it would take in the size before it was asked to be smaller.
func (s loadShare) large() float64 { return s.cost.Seconds() * s.accepts * s.growth }
