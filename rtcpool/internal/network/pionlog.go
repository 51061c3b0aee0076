package network

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/penstock-media/penstock/rtcpool/internal/sparing"
	"github.com/pion/logging"
)

// pionLogs gives pion's log lines to slog. All are debug: pion warns of things that any peer can cause at will, and
// what matters here is reported by the session itself.
type pionLogs struct{ log *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (f *pionLogs) NewLogger(scope string) logging.LeveledLogger {
	return &pionLog{log: f.log.With("pion", scope)}
}

// pionLog is one of pion's loggers. Much of what they say they would say with every packet.
type pionLog struct {
	log    *slog.Logger
	faults sparing.Log
}

func (l *pionLog) write(level, format string, args ...any) {
	ctx := context.Background()
	if !l.log.Enabled(ctx, slog.LevelDebug) {
		return // formatting would read pion's state while it changes
	}
	leftOut, ok := l.faults.Admit(format, time.Now())
	if !ok {
		return
	}
	l.log.LogAttrs(ctx, slog.LevelDebug, fmt.Sprintf(format, args...), slog.String("pion_level", level), slog.Int("left_out", leftOut))
}

func (l *pionLog) Trace(string)              {}
func (l *pionLog) Tracef(string, ...any)     {}
func (l *pionLog) Debug(string)              {}
func (l *pionLog) Debugf(string, ...any)     {}
func (l *pionLog) Info(m string)             { l.write("info", "%s", m) }
func (l *pionLog) Infof(f string, a ...any)  { l.write("info", f, a...) }
func (l *pionLog) Warn(m string)             { l.write("warn", "%s", m) }
func (l *pionLog) Warnf(f string, a ...any)  { l.write("warn", f, a...) }
func (l *pionLog) Error(m string)            { l.write("error", "%s", m) }
func (l *pionLog) Errorf(f string, a ...any) { l.write("error", f, a...) }
