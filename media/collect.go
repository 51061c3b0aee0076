package media

import "runtime"

// minGarbage is how much C memory may be held, in bytes, before it is looked whether somebody still needs it.
const minGarbage = 32 << 20

// looksApart is how many looks, 2 s of them, are between two collections: where what is needed comes and goes it is twice of what it was time and again.
const looksApart = 4

// collector has Go's garbage collector look for payloads that nobody can reach any more. That collector knows nothing of the C memory behind them: with
// a large heap and little garbage in it, it comes so rarely that pictures of dead connections would fill the memory.
type collector struct {
	due   int64 // held bytes from which on it is time; 0 is minGarbage
	began bool  // the garbage was collected, and clean-ups follow
	pause int   // looks until the next collection
}

// look is called now and then, by one goroutine at a time. Like the garbage collector it allows as much garbage as there is live memory.
func (c *collector) look() {
	held := CMemoryInUse().Bytes
	if due := max(2*held, minGarbage); c.began || due < c.due { // also when less is needed than then
		c.due, c.began = due, false
	}
	if c.pause > 0 {
		c.pause--
		return
	}
	if held >= max(c.due, minGarbage) {
		runtime.GC()
		c.began, c.pause = true, looksApart-1
	}
}
