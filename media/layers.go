package media

import (
	"sync/atomic"
	"time"
)

const (
	// maxLayers bounds the layers of a track.
	maxLayers = 8
	// layerSilence is how long a layer must have sent nothing, while another sends, to be taken for stopped: longer than the spacing
	// of slow layers, shorter than anybody looks at a picture that stands still. Of layers that are slower still it is twice their spacing,
	// of which no more than maxLayerSpacing counts.
	layerSilence    = 1200 * time.Millisecond
	maxLayerSpacing = 5 * time.Second
)

// Layer is one of several encodings of a track's pictures, in other sizes (simulcast, RFC 8853). Of all layers one at a time goes
// to the consumers: see [Track.AddLayer]. All methods are safe for concurrent use.
type Layer struct {
	intake
	id        string
	request   func()
	keyFrames keyFrameAsker
	chosen    atomic.Bool

	// Guarded by the track's lock.
	heard   time.Time     // when the last packet came
	shown   time.Time     // when the last unit came
	spacing time.Duration // between units, smoothed
	size    pictureSize
	keys    uint64
	report  senderReport
	ended   bool
}

// AddLayer adds an encoding of the track's pictures. Of these the smallest is decoded that gives every consumer pictures as large
// as the largest would, for as long as it sends. Another takes its place with a key frame, which requestKeyFrame asks for; it
// is called like that of TrackConfig. The result is nil when the track has ended, is of audio, or has eight layers.
// Packets of a track with layers are given to these, not to the track.
func (t *Track) AddLayer(id string, requestKeyFrame func()) *Layer {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended != nil || t.video == nil || t.layers != nil && len(t.layers.all) == maxLayers {
		return nil
	}
	if t.layers == nil {
		t.layers = &layerSet{track: t}
		t.keyFrames.sendBy(t.requestKeyFrame)
	}
	l := &Layer{id: id, request: requestKeyFrame}
	l.keyFrames.send = requestKeyFrame
	l.begin(t, l.unit, func() {
		if t.layers.current == l {
			t.clock.sourceChanged()
		}
	})
	l.assembler.stuck = func() {
		if t.layers.current == l {
			t.stuck()
		}
	}
	l.reorder.maxWait = t.reorder.maxWait
	t.layers.all = append(t.layers.all, l)
	return l
}

// WriteRTP takes a packet of the layer as [Track.WriteRTP] does.
func (l *Layer) WriteRTP(raw []byte, received time.Time) {
	t := l.track
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended != nil || l.ended {
		return
	}
	t.stats.Packets++
	t.stats.Bytes += uint64(len(raw))
	if t.unmet {
		t.firstPacketOf(received)
	}
	l.heard = received
	l.write(raw, received)
}

// WriteSenderReport is [Track.WriteSenderReport] of the layer.
func (l *Layer) WriteSenderReport(ntp uint64, timestamp uint32) {
	l.track.mu.Lock()
	defer l.track.mu.Unlock()
	l.report = senderReport{ntpTime(ntp), timestamp}
	if l.track.layers.current == l {
		l.track.clock.report(l.report)
	}
}

// Chosen tells whether the layer is the one that goes to consumers.
func (l *Layer) Chosen() bool { return l.chosen.Load() }

// End takes the layer out of the track. It is idempotent.
func (l *Layer) End() {
	t := l.track
	t.mu.Lock()
	if !l.ended {
		l.ended = true
		l.stop()
		t.layers.remove(l)
	}
	t.mu.Unlock()
	l.keyFrames.close()
}

// unit takes a unit of the layer, whose reference it takes over. Called with the track's lock.
func (l *Layer) unit(u *unit) {
	s := l.track.layers
	if !l.shown.IsZero() {
		l.spacing += (min(u.received.Sub(l.shown), maxLayerSpacing) - l.spacing) / 2
	}
	l.shown = u.received
	if u.key {
		l.keys++
		l.keyFrames.satisfied()
		if l.size != u.pictureSize {
			l.size, s.changed = u.pictureSize, true
		}
	}
	if s.current == nil {
		s.become(l)
		u.gap = !u.key
	}
	s.choose()
	if s.next == l && u.key {
		u.smaller = s.current != nil && s.current.size.pixels() > l.size.pixels()
		s.become(l)
		u.gap, u.lost = false, Loss{} // what is missing of this layer, nobody was to get
	}
	if s.current != l {
		u.release()
		return
	}
	l.track.unit(u)
}

// layerSet is the layers of a track. It is guarded by the track's lock.
type layerSet struct {
	track    *Track
	all      []*Layer
	current  *Layer // whose units go to consumers
	next     *Layer // whose next key frame makes it the current one; nil when none is better
	changed  bool   // the sizes, or what consumers want
	living   [maxLayers]bool
	rotation int
}

func (s *layerSet) remove(l *Layer) {
	for i := range s.all {
		if s.all[i] == l {
			s.all = append(s.all[:i:i], s.all[i+1:]...)
			break
		}
	}
	if s.next == l {
		s.next = nil
	}
	if s.current == l {
		l.chosen.Store(false)
		s.current = nil
		s.track.chosen.Store(nil)
		s.track.resume() // perhaps the track itself is given packets from now on
	}
	s.changed = true
}

// become makes a layer the current one, from its next unit on.
func (s *layerSet) become(l *Layer) {
	if s.current != nil {
		s.current.chosen.Store(false)
	}
	s.track.clock.follow(l.report)
	l.chosen.Store(true)
	s.current, s.next = l, nil
	s.track.chosen.Store(l)
}

// demand is called when a consumer has come or gone. One that comes alone gets its layer at once: there are no pictures
// before it that must go on until a key frame comes.
func (s *layerSet) demand(first bool) {
	if s == nil {
		return
	}
	s.changed = true
	s.choose()
	if l := s.next; first && l != nil {
		l.keyFrames.withdraw()
		s.become(l)
		l.assembler.gap = true
		s.track.keyFrames.withdraw() // of the other layer
		s.track.video.forget()
	}
}

// close ends all asking. It is called without locks, when nothing is added or removed any more.
func (s *layerSet) close() {
	if s == nil {
		return
	}
	for _, l := range s.all {
		l.keyFrames.close()
	}
}

// choose looks which layer is the best, and asks for its key frame.
func (s *layerSet) choose() {
	if !s.look() {
		return
	}
	best, sure := s.best()
	s.next = nil
	if best != s.current {
		s.next = best
	}
	wanted, going := len(s.track.consumers) > 0, s.going()
	for i, l := range s.all {
		unknown := !sure && s.living[i] && l.size == pictureSize{}
		switch {
		case !wanted || l != s.next && (!unknown || l == s.current):
			l.keyFrames.withdraw()
		case going:
			l.keyFrames.wantToBegin()
		default:
			l.keyFrames.want()
		}
	}
}

// look finds out which layers send. It reports whether anything has changed since the last time.
func (s *layerSet) look() bool {
	var newest time.Time
	for _, l := range s.all {
		if l.heard.After(newest) {
			newest = l.heard
		}
	}
	var living [maxLayers]bool
	for i, l := range s.all {
		living[i] = !l.heard.IsZero() && newest.Sub(l.heard) <= max(layerSilence, 2*l.spacing)
	}
	changed := s.changed || living != s.living || s.rotation != s.track.rotation
	s.changed, s.living, s.rotation = false, living, s.track.rotation
	return changed
}

// going tells whether the current layer sends.
func (s *layerSet) going() bool {
	for i, l := range s.all {
		if l == s.current {
			return s.living[i]
		}
	}
	return false
}

// best returns the layer that should be the current one: the smallest that is enough, else the largest. Without consumers nothing moves
// but what has stopped. sure is false when one whose size is not known may be better.
func (s *layerSet) best() (best *Layer, sure bool) {
	current, first, largest := (*Layer)(nil), (*Layer)(nil), (*Layer)(nil)
	for i, l := range s.all {
		if !s.living[i] {
			continue
		}
		if first == nil {
			first = l
		}
		if l == s.current {
			current = l
		}
		if largest == nil || l.size.pixels() > largest.size.pixels() {
			largest = l
		}
	}
	switch {
	case largest == nil:
		return s.current, true
	case largest.size.pixels() == 0 && current != nil, len(s.track.consumers) == 0 && current != nil:
		return current, false
	case largest.size.pixels() == 0:
		return first, false
	}
	best = largest
	for i, l := range s.all {
		if s.living[i] && l.size.pixels() > 0 && l.size.pixels() < best.size.pixels() && s.serves(l.size, largest.size) {
			best = l
		}
	}
	return best, best != largest
}

// serves tells whether every consumer gets as large pictures of one size as of another, or as large as the decoders have time for.
func (s *layerSet) serves(size, largest pictureSize) bool {
	if l := s.track.video.limits; l.width > 0 && l.width*l.height < largest.pixels() {
		largest = pictureSize{l.width, l.height}
	}
	for _, c := range s.track.consumers {
		if c.req.Encoded || c.req.Video == nil {
			return false
		}
		f, rotation := *c.req.Video, s.track.rotation
		if f.AllowUpscale = false; f.ReportRotation {
			rotation = 0
		}
		small, err := planVideo(size.width, size.height, rotation, f)
		large, err2 := planVideo(largest.width, largest.height, rotation, f)
		if err == nil && err2 == nil && (small.width+layerRounding < large.width || small.height+layerRounding < large.height) {
			return false
		}
	}
	return true
}

// layerRounding is how many pixels smaller a layer may be than asked for: encoders round sizes to what they can encode.
const layerRounding = 2

func (s pictureSize) pixels() int { return s.width * s.height }

// each calls a function with all that take packets.
func (t *Track) each(f func(*intake)) {
	f(&t.intake)
	if t.layers != nil {
		for _, l := range t.layers.all {
			f(&l.intake)
		}
	}
}

// requestKeyFrame asks the sender for one of what goes to consumers. It is called without locks.
func (t *Track) requestKeyFrame() {
	if l := t.chosen.Load(); l != nil {
		l.request()
	} else if t.cfg.RequestKeyFrame != nil {
		t.cfg.RequestKeyFrame()
	}
}

// LayerStats counts what a layer did.
type LayerStats struct {
	ID                      string
	SSRC                    uint32 // of the last packet
	Width, Height           int    // of the last key frame; 0 when unknown
	Packets                 uint64
	KeyFrames, KeyFrameAsks uint64 // received; sent to have this layer in place of another
	Chosen                  bool
}

// Layers returns counters of each layer; none of a track without layers.
func (t *Track) Layers() []LayerStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.layers == nil {
		return nil
	}
	var out []LayerStats
	for _, l := range t.layers.all {
		out = append(out, LayerStats{
			ID: l.id, SSRC: l.ssrc, Width: l.size.width, Height: l.size.height, Packets: l.packets,
			KeyFrames: l.keys, KeyFrameAsks: l.keyFrames.asked(), Chosen: l.Chosen(),
		})
	}
	return out
}
