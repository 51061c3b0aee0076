package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// memory is what a gateway's memory consists of, in bytes.
type memory struct {
	resident                         int64 // in RAM, all of it
	goObjects, goUnused, goFree      int64 // Go's heap: objects, room between them, and what could be given back
	goStacks                         int64
	cCounted, cObjects, cUsed, cFree int64 // what our bindings count, and the whole of the C library's heap
}

// memoryOf asks a gateway, and the system about it.
func (s *setting) memoryOf(ctx context.Context) (m memory, err error) {
	if m.resident, err = residentBytes(s.gateway.cmd.Process.Pid); err != nil {
		return m, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+"/metrics", nil)
	if err != nil {
		return m, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return m, fmt.Errorf("%w: the gateway tells no metrics: %w", errChild, err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return m, fmt.Errorf("%w: the gateway's metrics: %w", errChild, err)
	}
	return m, m.parse(string(text))
}

// parse reads the gauges of Prometheus' text format that are of interest.
func (m *memory) parse(text string) error {
	wanted := map[string]*int64{
		"penstock_go_heap_objects_bytes": &m.goObjects, "penstock_go_heap_unused_bytes": &m.goUnused,
		"penstock_go_heap_free_bytes": &m.goFree, "penstock_go_stack_bytes": &m.goStacks,
		"penstock_c_memory_bytes": &m.cCounted, "penstock_c_memory_objects": &m.cObjects,
		"penstock_c_heap_used_bytes": &m.cUsed, "penstock_c_heap_free_bytes": &m.cFree,
	}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		to, ok := wanted[name]
		if !ok {
			continue
		}
		var figure float64
		if _, err := fmt.Sscan(value, &figure); err != nil {
			return fmt.Errorf("%w: %q in the gateway's metrics: %w", errChild, line, err)
		}
		*to = int64(figure)
		delete(wanted, name)
	}
	for name := range wanted {
		return fmt.Errorf("%w: the gateway's metrics lack %s", errChild, name)
	}
	return nil
}

func (m memory) String() string {
	mb := func(n int64) float64 { return float64(n) / 1e6 }
	return fmt.Sprintf("resident %.1f MB; Go objects %.1f, unused %.1f, free %.1f, stacks %.1f; C heap used %.1f (%.1f in %d counted objects), free or given back %.1f",
		mb(m.resident), mb(m.goObjects), mb(m.goUnused), mb(m.goFree), mb(m.goStacks), mb(m.cUsed), mb(m.cCounted), m.cObjects, mb(m.cFree))
}
