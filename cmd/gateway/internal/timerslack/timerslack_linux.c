#include <pthread.h>
#include <stdatomic.h>
#include <sys/prctl.h>

// The same as Nanoseconds and MonitorNanoseconds in timerslack.go.
static const unsigned long slack = 500000, monitor_slack = 5000000;

// What the first thread has taken over, in nanoseconds; 0 before.
long penstock_monitor_has;

__attribute__((constructor)) static void set_timerslack(void)
{
	prctl(PR_SET_TIMERSLACK, slack, 0, 0, 0); // where it is not allowed, the timers stay as exact as they were
}

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg);

// The linker puts this between Go and pthread_create. The first thread that Go starts, while there is but one, is its monitor.
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	static atomic_flag begun = ATOMIC_FLAG_INIT;
	if (atomic_flag_test_and_set(&begun))
		return __real_pthread_create(thread, attr, start, arg);
	prctl(PR_SET_TIMERSLACK, monitor_slack, 0, 0, 0);
	penstock_monitor_has = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
	int ret = __real_pthread_create(thread, attr, start, arg);
	prctl(PR_SET_TIMERSLACK, slack, 0, 0, 0);
	return ret;
}
