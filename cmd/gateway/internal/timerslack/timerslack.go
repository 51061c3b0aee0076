// Package timerslack lets the kernel be less exact about the gateway's timers, which spares a tenth of its CPU.
//
// While any goroutine runs, Go's monitor thread wakes up every 20 µs, and as good as never rests in a process that often calls
// C. The kernel stretches such a sleep by the thread's timer slack: 50 µs by default, [Nanoseconds] here (prctl(2),
// PR_SET_TIMERSLACK; Linux only). All timers may be late by as much; the finest that matter are 5 ms.
//
// Threads inherit the slack, and the monitor thread starts before main: so a C constructor sets it, in any program that
// imports this package.
package timerslack

// Nanoseconds is the slack that is set.
const Nanoseconds = 500_000
