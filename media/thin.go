package media

import "time"

const (
	// topLayer is above every temporal layer that a codec can tell, and limits nothing.
	topLayer = 7
	// leafUnits is after how many discardable units in a row a layer counts as one to which nothing refers.
	leafUnits = 8
	// spareRate is how many times the pictures asked for must be left when layers are left out, so that those picked from them are still
	// evenly spaced.
	spareRate = 2
	// rateUnits is after how many units the rate of a layer is known.
	rateUnits = 8
)

// thinning decides which units of a track need not be decoded, since no unit that is decoded refers to them. It counts a unit that is
// discardable, in a stream without temporal layers, as one of layer 1.
type thinning struct {
	limit uint8 // layers above are left out
	reach uint8 // every unit since the last key frame up to this layer was let through
	rates [topLayer + 1]layerRate
}

// layerRate measures the units of a layer and of those below it.
type layerRate struct {
	last    time.Duration
	spacing time.Duration // smoothed
	units   int           // seen, up to rateUnits
	leaves  int           // discardable ones of this very layer in a row, up to leafUnits
}

func newThinning() thinning { return thinning{limit: topLayer, reach: topLayer} }

// layer returns the layer that a unit counts as.
func (*thinning) layer(u *unit) uint8 {
	switch {
	case u.key:
		return 0
	case u.temporalID == 0 && u.discardable:
		return 1
	default:
		return min(u.temporalID, topLayer)
	}
}

// observe measures a unit, whether it is to be decoded or not.
func (t *thinning) observe(u *unit) {
	of := t.layer(u)
	if own := &t.rates[of]; !u.key {
		own.leaves = min(own.leaves+1, leafUnits)
		if !u.discardable {
			own.leaves = 0
		}
	}
	for i := of; i <= topLayer; i++ {
		t.rates[i].note(u.time)
	}
}

func (r *layerRate) note(at time.Duration) {
	if d := min(max(at-r.last, 0), time.Second); r.units > 0 {
		if r.spacing == 0 {
			r.spacing = d
		}
		r.spacing += (d - r.spacing) / 8
	}
	r.last = at
	r.units = min(r.units+1, rateUnits)
}

// fps returns the pictures a second of a layer and those below it; 0 while it is not known.
func (t *thinning) fps(layer uint8) float64 {
	r := &t.rates[min(layer, topLayer)]
	if r.units < rateUnits || r.spacing <= 0 {
		return 0
	}
	return float64(time.Second) / float64(r.spacing)
}

// top returns the highest layer of which there are units lately.
func (t *thinning) top() uint8 {
	top := uint8(0)
	for i := uint8(1); i <= topLayer; i++ {
		if t.fps(i) > 1.1*t.fps(i-1) {
			top = i
		}
	}
	return top
}

// enough returns the lowest layer that gives the rate asked for with room to pick evenly; 0 fps is no limit.
func (t *thinning) enough(fps float64) uint8 {
	if fps <= 0 {
		return topLayer
	}
	for i := uint8(0); i < topLayer; i++ {
		if t.fps(i) >= spareRate*fps {
			return i
		}
	}
	return topLayer
}

// wanted tells whether a unit is to be decoded. Every unit must be shown to it, in order. A unit after a gap always is: the decoder must hear of the
// gap.
func (t *thinning) wanted(u *unit) bool {
	of := t.layer(u)
	switch {
	case u.key:
		t.reach = topLayer
		return true
	case u.gap:
		return true
	case of > t.limit:
		t.reach = min(t.reach, of-1)
		return false
	case of <= t.reach:
		return true
	case of == t.reach+1 && (u.temporalID == 0 || u.switchUp || t.rates[of].leaves >= leafUnits):
		t.reach = of
		return true
	default:
		return false
	}
}

// restart says that every unit since a key frame goes to the decoder.
func (t *thinning) restart() { t.reach = topLayer }

// needed is the most pictures a second that any consumer of decoded pictures asks for; 0 is no limit.
func needed(consumers []*Consumer) float64 {
	most := 0.0
	for _, c := range consumers {
		if c.req.Video == nil {
			continue
		}
		if c.req.Video.MaxFPS == 0 {
			return 0
		}
		most = max(most, c.req.Video.MaxFPS)
	}
	return most
}
