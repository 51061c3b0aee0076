#include <sys/prctl.h>

// The same as Nanoseconds in timerslack.go.
static const unsigned long slack = 500000;

__attribute__((constructor)) static void set_timerslack(void)
{
	prctl(PR_SET_TIMERSLACK, slack, 0, 0, 0); // where it is not allowed, the timers stay as exact as they were
}
