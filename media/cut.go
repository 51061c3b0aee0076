package media

// Cut draws a line: nothing that was received before it is delivered after it, be it in the reorder buffer, half assembled,
// waiting for a decoder, in a decoder, or queued for a consumer. Consumers stay; video goes on at the next key frame, and what
// comes next tells of a gap. It is for a media that passes to another owner while its source goes on. It waits for a decode that
// is under way.
func (t *Track) Cut() {
	if t.video != nil {
		t.video.mu.Lock()
		defer t.video.mu.Unlock()
	} else {
		t.audio.mu.Lock()
		defer t.audio.mu.Unlock()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended != nil {
		return
	}
	t.reorder.reset()
	t.assembler.abandon()
	t.assembler.gap, t.assembler.pending = true, Loss{}
	t.clock.sourceChanged()
	t.rotation = 0
	if t.video != nil {
		t.video.cut()
	} else {
		t.audio.cut()
	}
	for _, c := range t.consumers {
		c.cut()
	}
}

// cut is called with mu and t.mu.
func (v *videoPath) cut() {
	v.flushQueue()
	v.dropRun()
	v.freeDecoder()
	if len(v.t.consumers) > 0 {
		v.t.keyFrames.want()
	}
}

// cut is called with mu and t.mu.
func (a *audioPath) cut() {
	a.flushQueue()
	for _, l := range a.lanes {
		l.free()
		l.started = false
	}
}

// cut drops what is queued, and what is not yet a whole chunk. Called with the path's mu and t.mu.
func (c *Consumer) cut() {
	c.dropFrames()
	c.chunk = chunker{}
	c.waitKey = true
}
