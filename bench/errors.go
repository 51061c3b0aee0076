package main

import "errors"

var (
	// errUsage says that the command line is wrong.
	errUsage = errors.New("wrong command line")
	// errNotRun says that a part is not installed, so that what needs it was not run.
	errNotRun = errors.New("not run")
	// errUnreliable says that a measurement is not what it claims to be.
	errUnreliable = errors.New("the measurement is unreliable")
	// errGrows says that a gateway needs more and more memory.
	errGrows = errors.New("the gateway's memory grows")
	// errChild says that a process did not do its part.
	errChild = errors.New("a process failed")
	// errProc says that /proc holds what is not understood.
	errProc = errors.New("cannot read what a process has used")
)
