package timerslack

// timerslack_linux.c has the constructor, and what is put before pthread_create.

// #cgo LDFLAGS: -Wl,--wrap=pthread_create
// extern long penstock_monitor_has;
import "C"

// monitorHas returns the slack with which Go's monitor thread was started, in nanoseconds.
func monitorHas() int64 { return int64(C.penstock_monitor_has) }
