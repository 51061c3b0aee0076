package media

import (
	"sync"
	"time"
)

// keyFrameAsker is the one place from which a track asks its sender for key frames. A key frame costs everybody on the call, so
// that a wish that is not met is repeated with exponential back-off, at most five times in any minute. So is one that was met by a
// key frame that could not be decoded.
type keyFrameAsker struct {
	send    func()     // may be nil
	sending sync.Mutex // held while send runs

	mu      sync.Mutex
	wanted  bool
	closed  bool
	failing bool          // what came could not be decoded
	wait    time.Duration // from the last request to the next repetition
	last    time.Time
	due     time.Time // of the next request: a timer that was stopped too late changes nothing
	timer   *time.Timer
	counter uint64
}

const (
	keyFrameFirstRetry = time.Second
	keyFrameMaxRetry   = time.Minute
	// keyFrameSpacing keeps apart requests that belong to different wishes.
	keyFrameSpacing = 300 * time.Millisecond
)

// sendBy gives a way to ask to one that has none.
func (k *keyFrameAsker) sendBy(send func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.send == nil {
		k.send = send
	}
}

// want asks for a key frame, unless that is under way. It does not block: the request is sent from a goroutine of its own.
func (k *keyFrameAsker) want() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.wanted || k.send == nil {
		return
	}
	k.wanted = true
	spacing := k.wait
	if !k.failing {
		k.wait, spacing = 0, keyFrameSpacing
	}
	delay := max(spacing-time.Since(k.last), 0)
	k.due = time.Now().Add(delay)
	if k.timer == nil {
		k.timer = time.AfterFunc(delay, k.ask)
		return
	}
	k.timer.Reset(delay)
}

// ask sends, and arms the repetition. The timer calls it.
func (k *keyFrameAsker) ask() {
	k.sending.Lock()
	defer k.sending.Unlock()
	k.mu.Lock()
	now := time.Now()
	if !k.wanted || k.closed || now.Before(k.due) {
		k.mu.Unlock()
		return
	}
	k.last = now
	k.counter++
	k.wait = min(max(3*k.wait, keyFrameFirstRetry), keyFrameMaxRetry)
	k.due = now.Add(k.wait)
	k.timer.Reset(k.wait)
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

// failed says that a key frame, or what came after it, could not be decoded though nothing was lost: until one is proved good, a new wish goes on where the last one's back-off was.
func (k *keyFrameAsker) failed() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failing = true
}

// proved says that a key frame was decoded.
func (k *keyFrameAsker) proved() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failing = false
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
