package media

import (
	"log/slog"
	"sync"
	"time"
)

// faultLog logs the faults of a track's packets at most once a second, with how many there were and the last of them.
type faultLog struct {
	logger *slog.Logger

	mu     sync.Mutex
	last   time.Time
	missed int
}

func (l *faultLog) note(doing string, err error) {
	l.mu.Lock()
	now := time.Now()
	if now.Sub(l.last) < time.Second {
		l.missed++
		l.mu.Unlock()
		return
	}
	missed := l.missed
	l.last, l.missed = now, 0
	l.mu.Unlock()
	l.logger.Debug("media fault", "doing", doing, "error", err, "others_since_last", missed)
}
