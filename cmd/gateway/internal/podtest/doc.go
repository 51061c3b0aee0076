// Package podtest holds tests of many pods as they are run: processes of the built binary that share one redis-server, through a proxy
// that fails as networks do, with an SFU and workers on every pod. Processes are ended by signals. The package has no code but tests.
package podtest
