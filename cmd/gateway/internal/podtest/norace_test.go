//go:build !race

package podtest

// raced says that the tests look for races, and so shall the pods.
const raced = false
