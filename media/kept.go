package media

import "time"

// Bounds of what is kept of audio.
const (
	// MaxReplay is the longest Request.Replay.
	MaxReplay = 5 * time.Second
	// maxKeptBytes is beyond 5 s of the best Opus.
	maxKeptBytes = 400 << 10
	// maxKeptUnits bounds packets that are a byte long; 5 s in the usual 20 ms are 250.
	maxKeptUnits = 1024
)

// keptAudio holds the packets of the last seconds as received, for consumers that want to hear what was said just before
// they came. It is used under the track's lock.
type keptAudio struct {
	units []*unit
	head  int
	bytes int
}

// add keeps one more, with a reference of its own, and lets go of what is too old or too much.
func (k *keptAudio) add(u *unit) {
	if k.head > 0 && len(k.units) == cap(k.units) {
		n := copy(k.units, k.units[k.head:])
		clear(k.units[n:])
		k.units, k.head = k.units[:n], 0
	}
	u.retain()
	k.units = append(k.units, u)
	k.bytes += len(u.data)
	for k.bytes > maxKeptBytes || len(k.units)-k.head > maxKeptUnits || u.received.Sub(k.units[k.head].received) > MaxReplay {
		k.drop()
	}
}

func (k *keptAudio) drop() {
	u := k.units[k.head]
	k.units[k.head] = nil
	k.head++
	k.bytes -= len(u.data)
	u.release()
}

// since returns the packets that came at a time or after, without references.
func (k *keptAudio) since(t time.Time) []*unit {
	for i, u := range k.units[k.head:] {
		if !u.received.Before(t) {
			return k.units[k.head+i:]
		}
	}
	return nil
}

func (k *keptAudio) clear() {
	for k.head < len(k.units) {
		k.drop()
	}
	k.units, k.head = nil, 0
}
