// Package timerslack lets the kernel be less exact about the gateway's timers, which spares a fifth of its CPU.
//
// While any goroutine runs, Go's monitor thread wakes up every 20 µs, and as good as never rests in a process that often calls
// C. The kernel stretches such a sleep by the thread's timer slack: 50 µs by default, [MonitorNanoseconds] here (prctl(2),
// PR_SET_TIMERSLACK; Linux only). What waits for the monitor may wait that much longer: the preemption of a goroutine that runs for
// more than 10 ms, and taking the place of one that is in C away from it.
//
// All other threads get [Nanoseconds], by which all timers may be late; the finest that matter are 5 ms.
//
// Threads inherit the slack, and the monitor is the first thread that Go starts, before main: so a C constructor and what the linker
// puts before pthread_create set them, in any program that imports this package.
package timerslack

const (
	// Nanoseconds is the slack of all threads but the monitor.
	Nanoseconds = 500_000
	// MonitorNanoseconds is the slack of Go's monitor thread.
	MonitorNanoseconds = 5_000_000
)
