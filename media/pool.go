package media

import (
	"runtime"
	"sync"
)

// DecodePool is a bounded set of workers that decode for all tracks: each track's units in order, fair between tracks,
// and some workers for audio only, so that a burst of video never holds up speech.
type DecodePool struct {
	mu     sync.Mutex
	wakeA  sync.Cond // an audio worker has something to do
	wakeV  sync.Cond
	audio  taskQueue
	video  taskQueue
	closed bool
	done   sync.WaitGroup

	videoWorkers int
	queues       queueBudget // of the consumers of all tracks
	load         load
}

// PoolOption changes how a pool is made.
type PoolOption func(*DecodePool)

// WithQueueBytes bounds what the queues of all consumers hold together, in bytes; beyond it the longest queue is made shorter. 0 is no limit.
// A picture that several consumers share counts for each.
func WithQueueBytes(n int64) PoolOption { return func(p *DecodePool) { p.queues.limit = n } }

// audioBacklog is how many audio tracks may wait, for half a millisecond or so, before a sleeping worker for video is
// woken to help. To wake one for each packet would cost more than the decoding: the worker for audio is the better for
// every packet that it finds when it is awake.
const audioBacklog = 16

// task is one track's decoding. It is in at most one queue, and run by at most one worker.
type task struct {
	kind Kind
	// step decodes one unit; more tells whether there is another.
	step func() (more bool)

	state taskState // guarded by the pool
}

type taskState uint8

const (
	taskIdle taskState = iota
	taskQueued
	taskRunning
	taskAgain // running, and scheduled meanwhile
)

// NewDecodePool starts workers for video: 0 is one a core. One more serves audio alone. Close must be called.
func NewDecodePool(workers int, options ...PoolOption) *DecodePool {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	p := &DecodePool{videoWorkers: workers, queues: queueBudget{members: make(map[*Consumer]struct{})}}
	p.load.pool = p
	for _, set := range options {
		set(p)
	}
	p.wakeA.L, p.wakeV.L = &p.mu, &p.mu
	p.done.Add(workers + 1)
	go p.work(true)
	for range workers {
		go p.work(false)
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
}

// Stats returns counters. It is safe for concurrent use.
func (p *DecodePool) Stats() PoolStats {
	return PoolStats{QueuedBytes: p.queues.used.Load(), QueueDropped: p.queues.drops.Load()}
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
	if t.kind == KindAudio {
		p.audio.push(t)
		p.wakeA.Signal()
		if p.audio.n > audioBacklog {
			p.wakeV.Signal() // to help
		}
		return
	}
	p.video.push(t)
	p.wakeV.Signal()
}

func (p *DecodePool) work(audioOnly bool) {
	defer p.done.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		t := p.next(audioOnly)
		if t == nil {
			return
		}
		t.state = taskRunning
		p.mu.Unlock()
		more := t.step()
		p.mu.Lock()
		again := t.state == taskAgain
		t.state = taskIdle
		if more || again {
			p.enqueue(t)
		}
	}
}

// next waits for a task; nil when the pool is closed. A worker for video helps with audio when that has fallen behind.
func (p *DecodePool) next(audioOnly bool) *task {
	for {
		switch {
		case p.closed:
			return nil
		case audioOnly:
			if t := p.audio.pop(); t != nil {
				return t
			}
			p.wakeA.Wait()
		default:
			if p.audio.n > audioBacklog || p.video.n == 0 && p.audio.n > 0 {
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
