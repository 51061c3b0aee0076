package media

import (
	"sync"
	"time"
)

// keyFrameAsker is the one place from which a track asks its sender for key frames. A key frame costs everybody on the call, so
// that a wish that is not met is repeated with exponential back-off, at most five times in any minute.
type keyFrameAsker struct {
	send    func()     // may be nil
	sending sync.Mutex // held while send runs

	mu      sync.Mutex
	wanted  bool
	closed  bool
	wait    time.Duration // until the next repetition
	last    time.Time
	timer   *time.Timer
	counter uint64
}

const (
	keyFrameFirstRetry = time.Second
	keyFrameMaxRetry   = time.Minute
	// keyFrameSpacing keeps apart requests that belong to different wishes.
	keyFrameSpacing = 300 * time.Millisecond
)

// want asks for a key frame, unless that is under way. It does not block: the request is sent from a goroutine of its own.
func (k *keyFrameAsker) want() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.wanted || k.send == nil {
		return
	}
	k.wanted = true
	k.wait = keyFrameFirstRetry
	delay := keyFrameSpacing - time.Since(k.last)
	if k.timer == nil {
		k.timer = time.AfterFunc(max(delay, 0), k.ask)
		return
	}
	k.timer.Reset(max(delay, 0))
}

// ask sends, and arms the repetition. The timer calls it.
func (k *keyFrameAsker) ask() {
	k.sending.Lock()
	defer k.sending.Unlock()
	k.mu.Lock()
	if !k.wanted || k.closed {
		k.mu.Unlock()
		return
	}
	k.last = time.Now()
	k.counter++
	k.timer.Reset(k.wait)
	k.wait = min(3*k.wait, keyFrameMaxRetry)
	k.mu.Unlock()
	k.send()
}

// satisfied says that a key frame came, or that nobody wants one any more.
func (k *keyFrameAsker) satisfied() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wanted = false
	if k.timer != nil {
		k.timer.Stop()
	}
}

// close ends all asking; it waits for a request that is being sent.
func (k *keyFrameAsker) close() {
	k.satisfied()
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.sending.Lock()
	defer k.sending.Unlock()
}

// asked returns how many requests were sent.
func (k *keyFrameAsker) asked() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.counter
}
