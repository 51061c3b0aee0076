package media

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-media/penstock/media/internal/cmem"
)

// DecodePool is a bounded set of workers that decode for all tracks: each track's units in order, fair between tracks,
// and some workers for audio only, so that a burst of video never holds up speech.
type DecodePool struct {
	mu      sync.Mutex
	wakeA   sync.Cond // an audio worker has something to do
	wakeV   sync.Cond
	audio   taskQueue
	video   taskQueue
	resting bool // the worker for audio waits for its tick
	dense   density
	closed  bool
	done    sync.WaitGroup

	videoWorkers int
	restFor      time.Duration
	rested       atomic.Int64 // bytes that decoders at rest hold
	maxRested    int64
	queues       queueBudget // of the consumers of all tracks
	tracks       trackList
	decodes      [len(codecNames)]decodes // by codec
	load         load
}

// PoolOption changes how a pool is made.
type PoolOption func(*DecodePool)

// WithQueueBytes bounds what the queues of all consumers hold together, in bytes; beyond it the longest queue is made shorter. 0 is no limit.
// A picture that several consumers share counts for each.
func WithQueueBytes(n int64) PoolOption { return func(p *DecodePool) { p.queues.limit = n } }

// audioBacklog is how many audio tracks may wait, for two milliseconds or so, while the worker for audio is at work, before a
// sleeping worker for video is woken to help. To wake one for each packet would cost more than the decoding.
const audioBacklog = 64

// task is one track's decoding. It is in at most one queue, and run by at most one worker.
type task struct {
	kind Kind
	// step decodes one unit; more tells whether there is another. Whom it wakes may wait until other tracks have had their turn.
	step func(*wakes) (more bool)

	state taskState // guarded by the pool
}

type taskState uint8

const (
	taskIdle taskState = iota
	taskQueued
	taskRunning
	taskAgain // running, and scheduled meanwhile
)

// NewDecodePool starts workers for video: 0 is one a core. One more serves audio alone. Close must be called. The process's C allocator is told what
// decoding needs of it: make the pool before other things allocate.
func NewDecodePool(workers int, options ...PoolOption) *DecodePool {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	p := &DecodePool{videoWorkers: workers, restFor: DefaultRest, maxRested: maxRestedBytes, queues: queueBudget{members: make(map[*Consumer]struct{})}}
	p.load.pool = p
	cmem.Tune(runtime.GOMAXPROCS(0))
	for _, set := range options {
		set(p)
	}
	p.wakeA.L, p.wakeV.L = &p.mu, &p.mu
	p.done.Add(workers + 1)
	go p.workAudio()
	for range workers {
		go p.workVideo()
	}
	return p
}

// Close waits for the workers. Every track must have ended: what is scheduled later is not run.
func (p *DecodePool) Close() {
	p.load.close()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.wakeA.Broadcast()
	p.wakeV.Broadcast()
	p.done.Wait()
}

// PoolStats counts what a pool holds and did.
type PoolStats struct {
	QueuedBytes  int64  // in the queues of all consumers
	QueueDropped uint64 // frames dropped because all queues together were too long
	// Busy is the share of the workers' time that decoding video takes, 0 to 1, as of the last half second.
	Busy float64
	// Workers decode video; one more serves audio. WaitingAudio and WaitingVideo are tracks that wait for one.
	Workers, WaitingAudio, WaitingVideo int
	// Lightened tells how far video is lightened since the workers do not keep up: 0 not at all, 1 fewer layers, 2 the lowest alone, 3 smaller sizes are asked
	// for, 4 tracks are suspended. Suspended is how many.
	Lightened, Suspended int
	Lightenings          uint64 // steps by which it was
}

// Stats returns counters. It is safe for concurrent use.
func (p *DecodePool) Stats() PoolStats {
	p.mu.Lock()
	audio, video := p.audio.n, p.video.n
	p.mu.Unlock()
	return PoolStats{
		QueuedBytes: p.queues.used.Load(), QueueDropped: p.queues.drops.Load(), Busy: math.Float64frombits(p.load.used.Load()),
		Workers: p.videoWorkers, WaitingAudio: audio, WaitingVideo: video,
		Lightened: int(p.load.shown.stage.Load()), Suspended: int(p.load.shown.suspended.Load()), Lightenings: p.load.shown.steps.Load(),
	}
}

// schedule makes a worker call the task's step soon, and until it says that there is no more.
func (p *DecodePool) schedule(t *task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch t.state {
	case taskIdle:
		p.enqueue(t)
	case taskRunning:
		t.state = taskAgain
	case taskQueued, taskAgain:
	}
}

func (p *DecodePool) enqueue(t *task) {
	t.state = taskQueued
	if t.kind == KindVideo {
		p.video.push(t)
		p.wakeV.Signal()
		return
	}
	p.audio.push(t)
	if p.resting {
		return
	}
	p.wakeA.Signal()
	if p.audio.n > audioBacklog {
		p.wakeV.Signal() // to help
	}
}

// run makes a task's step. It is called, and returns, with the lock.
func (p *DecodePool) run(t *task, w *wakes) {
	t.state = taskRunning
	p.mu.Unlock()
	more := t.step(w)
	p.mu.Lock()
	again := t.state == taskAgain
	t.state = taskIdle
	if more || again {
		p.enqueue(t)
	}
}

// workVideo serves video, and helps with audio that has fallen behind.
func (p *DecodePool) workVideo() {
	defer p.done.Done()
	var w wakes
	p.mu.Lock()
	defer p.mu.Unlock()
	for t := p.next(); t != nil; t = p.next() {
		p.run(t, &w)
		w.flush()
	}
}

// next waits for a task for a worker for video; nil when the pool is closed.
func (p *DecodePool) next() *task {
	for {
		switch {
		case p.closed:
			return nil
		case p.resting: // what waits will be served together
		case p.audio.n > audioBacklog || p.video.n == 0 && p.audio.n > 0:
			if p.video.n > 0 {
				p.wakeV.Signal() // this worker may have been woken for video
			}
			return p.audio.pop()
		}
		if t := p.video.pop(); t != nil {
			return t
		}
		p.wakeV.Wait()
	}
}

// workAudio serves audio alone. While much of it comes it rests between ticks, so that one waking serves all tracks that are due and
// their consumers are woken together: goroutines and threads that are woken one by one cost more than the decoding.
func (p *DecodePool) workAudio() {
	defer p.done.Done()
	var w wakes
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for p.audio.n == 0 && !p.closed {
			p.wakeA.Wait()
		}
		if p.closed {
			return
		}
		if p.dense.much {
			p.resting = true
			p.mu.Unlock()
			time.Sleep(untilTick(time.Now())) // a cadence: nobody waits for it
			p.mu.Lock()
			p.resting = false
		}
		p.dense.note(p.serveAudio(&w), time.Now())
		p.mu.Unlock()
		w.flush()
		p.mu.Lock()
	}
}

// serveAudio serves what waits and what comes meanwhile, and returns how much that was. The consumers are woken in between, lest
// one waits for many tracks. It is called, and returns, with the lock.
func (p *DecodePool) serveAudio(w *wakes) (served int) {
	for t := p.audio.pop(); t != nil && !p.closed; t = p.audio.pop() {
		p.run(t, w)
		served++
		if len(w.consumers) >= audioBacklog {
			p.mu.Unlock()
			w.flush()
			p.mu.Lock()
		}
	}
	return served
}

// taskQueue is a ring of tasks. It holds a task at most once, so it is bounded by the number of tracks.
type taskQueue struct {
	ring []*task
	head int
	n    int
}

func (q *taskQueue) push(t *task) {
	if q.n == len(q.ring) {
		bigger := make([]*task, max(16, 2*len(q.ring)))
		for i := range q.n {
			bigger[i] = q.ring[(q.head+i)%len(q.ring)]
		}
		q.ring, q.head = bigger, 0
	}
	q.ring[(q.head+q.n)%len(q.ring)] = t
	q.n++
}

func (q *taskQueue) pop() *task {
	if q.n == 0 {
		return nil
	}
	t := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	return t
}
