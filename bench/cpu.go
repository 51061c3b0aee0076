package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of times in /proc (proc(5), sysconf(_SC_CLK_TCK)): 100 a second on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// cpuTime returns the user and system time of a process and all its threads so far.
func cpuTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errProc, err)
	}
	return parseStat(string(stat))
}

// parseStat returns utime + stime of a line of /proc/<pid>/stat. The program's name may hold blanks and parentheses.
func parseStat(stat string) (time.Duration, error) {
	const utime, stime = 11, 12 // counted from the field after the name
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, fmt.Errorf("%w: %q", errProc, stat)
	}
	fields := strings.Fields(stat[end+1:])
	if len(fields) <= stime {
		return 0, fmt.Errorf("%w: %q", errProc, stat)
	}
	var ticks int64
	for _, f := range fields[utime : stime+1] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errProc, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// residentBytes returns the memory of a process that is in RAM.
func residentBytes(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errProc, err)
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int64
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kilobytes); err == nil {
			return kilobytes << 10, nil
		}
	}
	return 0, fmt.Errorf("%w: no VmRSS of process %d", errProc, pid)
}
