package resolverstore

// ring keeps the last few of what was added.
type ring[T any] struct {
	items []T
	next  int
	limit int
}

func newRing[T any](limit int) *ring[T] { return &ring[T]{limit: limit} }

// add adds an item, and returns the one that it pushed out.
func (r *ring[T]) add(v T) (old T, dropped bool) {
	if len(r.items) < r.limit {
		r.items = append(r.items, v)
		return old, false
	}
	old = r.items[r.next]
	r.items[r.next] = v
	r.next = (r.next + 1) % r.limit
	return old, true
}

// all calls f with each item, oldest first.
func (r *ring[T]) all(f func(T)) {
	for i := range r.items {
		f(r.items[(r.next+i)%len(r.items)])
	}
}
