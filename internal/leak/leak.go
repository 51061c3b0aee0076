// Package leak finds goroutines that outlive the tests of a package. It waits longer than goleak does of itself, which is half a second: a busy
// machine may need it, and so does what ends only a second after it was closed, such as go-redis's probe of a server that it cannot reach.
package leak

import (
	"fmt"
	"os"
	"time"

	"go.uber.org/goleak"
)

// patience bounds how long goroutines may take to end.
const patience = 10 * time.Second

// Run runs the tests of a package, which are a *testing.M, and returns the code to exit with. If the tests pass and goroutines are left
// after 10 s, it says on standard error which these are, and the code is 1.
func Run(tests interface{ Run() int }) int { return run(tests, patience) }

func run(tests interface{ Run() int }, patience time.Duration) int {
	code := tests.Run()
	if code != 0 {
		return code
	}
	if err := find(patience); err != nil {
		fmt.Fprintln(os.Stderr, "goroutines are left by tests that passed:", err)
		return 1
	}
	return 0
}

// Find returns nil as soon as no goroutine is left but the caller and those that the options ignore, or after 10 s an error that tells
// the others.
func Find(options ...goleak.Option) error { return find(patience, options...) }

func find(patience time.Duration, options ...goleak.Option) error {
	until := time.Now().Add(patience)
	for {
		// It waits for half a second itself.
		if err := goleak.Find(options...); err == nil || time.Now().After(until) {
			return err
		}
	}
}
