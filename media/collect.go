package media

import "runtime"

// minGarbage is how much C memory may be held, in bytes, before it is looked whether somebody still needs it.
const minGarbage = 32 << 20

// collector has Go's garbage collector look for payloads that nobody can reach any more. That collector knows nothing of the C memory behind them: with
// a large heap and little garbage in it, it comes so rarely that pictures of dead connections would fill the memory.
type collector struct {
	due   int64 // held bytes from which on it is time; 0 is minGarbage
	began bool  // the garbage was collected, and clean-ups follow
}

// look is called now and then, by one goroutine at a time. Like the garbage collector it allows as much garbage as there is live memory.
func (c *collector) look() {
	held := CMemoryInUse().Bytes
	if c.began {
		c.due, c.began = max(2*held, minGarbage), false
	}
	if held >= max(c.due, minGarbage) {
		runtime.GC()
		c.began = true
	}
}
