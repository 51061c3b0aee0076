// Package edges holds the test of who may import whom, and that every package says what it is for.
package edges
