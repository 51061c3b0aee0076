package repair

import (
	"math"
	"sync"
	"time"
)

// ReportInterval is how often receiver reports and REMB are sent.
const ReportInterval = time.Second

// Bounds and steps of the estimate.
const (
	lowestEstimate  = 50_000      // bits a second
	firstEstimate   = 300_000     // bits a second, at the least
	highestEstimate = 100_000_000 // bits a second
	rateBuckets     = 10
	rateBucket      = 100 * time.Millisecond
	decreaseTo      = 0.85                   // of what is received, when a queue grows
	decreaseFloor   = 300 * time.Millisecond // between two such decreases
	increasePerSec  = 1.15
	headroom        = 1.5    // above what is received, at the most: more was never tried
	headroomBits    = 20_000 // for sources that send next to nothing
	lossToHold      = 0.02
	lossToDecrease  = 0.10
)

// Bandwidth estimates what the path to us can carry, for senders that understand only REMB (draft-alvestrand-rmcat-remb-03). It rises
// by 15 % a second, at first at once, to half above what is received; it falls to 85 % of what is received when a queue
// grows, if packets tell when they left (abs-send-time), and by half of the share that is lost when that is more than a tenth.
type Bandwidth struct {
	mu       sync.Mutex
	heard    bool // a packet of a media to which this applies
	overuse  overuse
	buckets  [rateBuckets]int // bytes
	bucket   int64            // number of the newest
	began    int64            // number of the first
	estimate float64          // 0 before the first
	strained bool             // it has fallen before
	fell     time.Duration    // by overuse
	updated  time.Duration

	expected, received uint32 // packets, at the last update

	told   float64
	toldAt time.Duration
}

// Packet returns whether the estimate fell.
func (b *Bandwidth) Packet(sent []byte, size int, now time.Duration) (fell bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance(now)
	b.buckets[b.bucket%rateBuckets] += size
	if len(sent) != 3 || !b.overuse.packet(sendTime(sent), now) {
		return false
	}
	if b.estimate == 0 || now-b.fell < decreaseFloor {
		return false
	}
	b.fell = now
	return b.fall(decreaseTo * b.rate(now))
}

func (b *Bandwidth) fall(to float64) bool {
	to = max(to, lowestEstimate)
	if to >= b.estimate {
		return false
	}
	b.estimate, b.strained = to, true
	return true
}

// advance empties the buckets between the newest and now.
func (b *Bandwidth) advance(now time.Duration) {
	bucket := int64(now / rateBucket)
	if !b.heard {
		b.heard, b.bucket, b.began = true, bucket, bucket
	}
	for b.bucket < bucket {
		b.bucket = max(b.bucket+1, bucket-rateBuckets+1)
		b.buckets[b.bucket%rateBuckets] = 0
	}
}

// rate is what was received in the last second, in bits a second.
func (b *Bandwidth) rate(now time.Duration) float64 {
	b.advance(now)
	sum := 0
	for _, n := range b.buckets {
		sum += n
	}
	filled := min(b.bucket-b.began+1, rateBuckets)
	return float64(8*sum) / (float64(filled) * rateBucket.Seconds())
}

// update draws the conclusions of about a second. expected and received count packets since the beginning.
func (b *Bandwidth) update(expected, received uint32, now time.Duration) {
	rate := b.rate(now)
	sinceLast := min(now-b.updated, 2*time.Second).Seconds()
	loss := 0.0
	if e, r := expected-b.expected, received-b.received; e > 0 && e < 1<<30 && r < e {
		loss = float64(e-r) / float64(e)
	}
	b.expected, b.received, b.updated = expected, received, now
	ceiling := headroom*rate + headroomBits
	if !b.strained {
		ceiling = max(ceiling, firstEstimate)
	}
	switch {
	case b.estimate == 0 && b.bucket-b.began < rateBuckets: // nothing can be said yet
		return
	case b.estimate == 0:
		b.estimate = ceiling
	case loss > lossToDecrease:
		b.fall(min(b.estimate, max(rate, lowestEstimate)) * (1 - loss/2))
	case loss > lossToHold, now-b.fell < time.Second && b.strained:
	case !b.strained:
		b.estimate = max(b.estimate, ceiling)
	default:
		b.estimate = max(b.estimate, min(b.estimate*math.Pow(increasePerSec, sinceLast), ceiling))
	}
	b.estimate = min(max(b.estimate, lowestEstimate), highestEstimate)
}

// due returns what is to be told now: each second, and at once when it is clearly less than what was told.
func (b *Bandwidth) due(now time.Duration) (bits float64, ok bool) {
	if !b.heard || b.estimate == 0 || now-b.toldAt < ReportInterval && b.estimate > 0.97*b.told {
		return 0, false
	}
	b.told, b.toldAt = b.estimate, now
	return b.estimate, true
}

// Conclude brings the estimate up to date, and returns what is to be told now.
func (b *Bandwidth) Conclude(expected, received uint32, now time.Duration) (bits float64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.heard {
		return 0, false
	}
	if now-b.updated >= ReportInterval-rateBucket {
		b.update(expected, received, now)
	}
	return b.due(now)
}
