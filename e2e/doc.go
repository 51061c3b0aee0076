// Package e2e holds the tests against the built binary with heavy real parts: Chromium publishes, ffprobe and ffmpeg open
// what was written, grpcurl calls. They are behind the build tag e2e; `make e2e` runs them.
package e2e
