package resolverstore

import (
	"slices"
	"time"
)

// history keeps the last few of what was added, numbered, with the time at which each was. Its clone shares what both have.
type history[T any] struct {
	items []past[T]
	first uint64 // number of items[0]
	limit int
}

type past[T any] struct {
	value T
	at    time.Time
}

func newHistory[T any](limit int) *history[T] { return &history[T]{limit: limit} }

// add adds an item, and returns the one that it pushed out.
func (h *history[T]) add(v T, now time.Time) (old T, dropped bool) {
	h.items = append(h.items, past[T]{v, now})
	if len(h.items) <= h.limit {
		return old, false
	}
	return h.drop(), true
}

// drop forgets the oldest item.
func (h *history[T]) drop() T {
	old := h.items[0].value
	h.items = h.items[1:]
	h.first++
	return old
}

// next is the number that the next item gets.
func (h *history[T]) next() uint64 { return h.first + uint64(len(h.items)) }

// all calls f with each item, oldest first.
func (h *history[T]) all(f func(T)) {
	for i := range h.items {
		f(h.items[i].value)
	}
}

// oldest returns the time of the oldest item, false if there is none.
func (h *history[T]) oldest() (time.Time, bool) {
	if len(h.items) == 0 {
		return time.Time{}, false
	}
	return h.items[0].at, true
}

func (h *history[T]) clone() *history[T] {
	return &history[T]{items: slices.Clip(h.items), first: h.first, limit: h.limit}
}
