package media

import (
	"sync"
	"time"
)

// keyFrameAsker is the one place from which a track asks its sender for key frames. A key frame costs everybody on the call, so
// that a wish that is not met is repeated with exponential back-off, at most five times in any minute. So is one that was met by a
// key frame that could not be decoded, and one that was taken back before it was met: who attaches for one picture after another
// asks no more often than who stays.
type keyFrameAsker struct {
	send    func()     // may be nil
	sending sync.Mutex // held while send runs

	mu      sync.Mutex
	wanted  bool
	patient bool // the wish can wait: nobody's pictures have stopped
	met     bool // a key frame came since the last request
	closed  bool
	failing bool          // what came could not be decoded
	wait    time.Duration // from the last request to the next repetition
	sent    [5]time.Time  // the last requests, the newest first
	due     time.Time     // of the next request: a timer that was stopped too late changes nothing
	timer   *time.Timer
	counter uint64
}

const (
	keyFrameFirstRetry = time.Second
	keyFrameMaxRetry   = time.Minute
	// keyFrameSpacing keeps apart requests that belong to different wishes.
	keyFrameSpacing = 300 * time.Millisecond
	// keyFramePatience keeps apart requests for consumers that come one after another, when there were three within keyFrameWindow, in
	// which there are never more than five. With a lost picture it is otherwise: all are without pictures until a key frame comes.
	keyFramePatience = 15 * time.Second
	keyFrameWindow   = time.Minute
)

// sendBy gives a way to ask to one that has none.
func (k *keyFrameAsker) sendBy(send func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.send == nil {
		k.send = send
	}
}

// want asks for a key frame without which consumers go without pictures, unless that is under way. It does not block: the request is
// sent from a goroutine of its own.
func (k *keyFrameAsker) want() { k.wish(false) }

// wantToBegin asks for a key frame with which a consumer that has come begins. It is want but for its patience.
func (k *keyFrameAsker) wantToBegin() { k.wish(true) }

func (k *keyFrameAsker) wish(patient bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.send == nil || k.wanted && (patient || !k.patient) {
		return
	}
	if !k.wanted && k.met && !k.failing {
		k.wait = 0
	}
	k.wanted, k.patient = true, patient
	k.arm(time.Until(k.sent[0].Add(max(k.wait, keyFrameSpacing))))
}

// arm sends after a delay, or later when the wish can wait. Called with the lock.
func (k *keyFrameAsker) arm(delay time.Duration) {
	if k.patient {
		delay = max(delay, time.Until(k.sent[len(k.sent)-1].Add(keyFrameWindow)))
		if time.Since(k.sent[2]) < keyFrameWindow {
			delay = max(delay, time.Until(k.sent[0].Add(keyFramePatience)))
		}
	}
	delay = max(delay, 0)
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
	copy(k.sent[1:], k.sent[:])
	k.sent[0], k.met = now, false
	k.counter++
	k.wait = min(max(3*k.wait, keyFrameFirstRetry), keyFrameMaxRetry)
	k.arm(k.wait)
	k.mu.Unlock()
	k.send()
}

// satisfied says that a key frame came.
func (k *keyFrameAsker) satisfied() {
	k.mu.Lock()
	k.met = true
	k.mu.Unlock()
	k.withdraw()
}

// withdraw says that nobody wants a key frame any more. The next wish goes on where the back-off was, unless a key frame comes.
func (k *keyFrameAsker) withdraw() {
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
	k.withdraw()
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
