package service

import (
	"sync"
	"time"

	"github.com/penstock-media/penstock/resolverstore"
)

// maxHolders is how many media are remembered before those that are gone are forgotten.
const maxHolders = 256

// holders knows since when each media of a session has belonged to the track that it belongs to, so that nobody hears or sees of a track
// what was received while the media were another's. It is safe for concurrent use.
type holders struct {
	exists func(media string) bool

	mu sync.Mutex
	of map[string]holder // by media id
}

// holder is the track that media belong to.
type holder struct {
	track string
	since time.Time // zero when they have never been another's
}

// newHolders returns one that knows nothing. exists tells whether media are still received.
func newHolders(exists func(media string) bool) *holders {
	return &holders{exists: exists, of: make(map[string]holder)}
}

// note takes note of what the store says of a track.
func (h *holders) note(tracks []resolverstore.Track, now time.Time) {
	for _, t := range tracks {
		if t.Media != nil && (t.State == resolverstore.TrackLive || t.State == resolverstore.TrackPaused) {
			h.since(t.Media.ID, t.ID, now)
		}
	}
}

// since returns since when media belong to a track, to which they belong now; zero for ever.
func (h *holders) since(media, track string, now time.Time) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	known, ok := h.of[media]
	switch {
	case !ok:
		h.forgetLocked()
		known = holder{track: track}
	case known.track != track:
		known = holder{track: track, since: now}
	}
	h.of[media] = known
	return known.since
}

// forgetLocked makes room.
func (h *holders) forgetLocked() {
	if len(h.of) < maxHolders {
		return
	}
	for media := range h.of {
		if !h.exists(media) {
			delete(h.of, media)
		}
	}
}
