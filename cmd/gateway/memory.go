package main

import (
	"fmt"
	"net/http"
	"runtime/metrics"
	"strings"

	"github.com/penstock-media/penstock/media"
)

// gauge is one figure of /metrics. One whose name ends with _total only grows.
type gauge struct {
	name, help string
	value      int64
}

// kind is its type in Prometheus' text format.
func (g gauge) kind() string {
	if strings.HasSuffix(g.name, "_total") {
		return "counter"
	}
	return "gauge"
}

// memoryGauges are what the process's memory consists of, in bytes.
func memoryGauges() []gauge {
	c, heap := media.CMemoryInUse(), media.CHeapNow()
	return append(goMemory(),
		gauge{"penstock_c_memory_objects", "Decoders, pictures and their buffers, encoders and resamplers that are held.", c.Objects},
		gauge{"penstock_c_memory_bytes", "What those were asked for.", c.Bytes},
		gauge{"penstock_c_heap_used_bytes", "What is allocated from the C library's heap, by libraries for themselves too.", heap.Used},
		gauge{"penstock_c_heap_free_bytes", "What was freed and the C library keeps; what it gave back to the system is among it.", heap.Free},
	)
}

// goMemory is what the Go runtime has of the system.
func goMemory() (gauges []gauge) {
	classes := []struct{ metric, name, help string }{
		{"/memory/classes/heap/objects:bytes", "penstock_go_heap_objects_bytes", "Objects that live, or were not yet found to be dead."},
		{"/memory/classes/heap/unused:bytes", "penstock_go_heap_unused_bytes", "What is reserved for objects and holds none."},
		{"/memory/classes/heap/free:bytes", "penstock_go_heap_free_bytes", "What is free and could be given back to the system."},
		{"/memory/classes/heap/released:bytes", "penstock_go_heap_released_bytes", "What was given back to the system."},
		{"/memory/classes/heap/stacks:bytes", "penstock_go_stack_bytes", "Stacks of goroutines."},
		{"/memory/classes/total:bytes", "penstock_go_memory_bytes", "All that the Go runtime has mapped, also what was given back."},
	}
	samples := make([]metrics.Sample, len(classes))
	for i, c := range classes {
		samples[i].Name = c.metric
	}
	metrics.Read(samples)
	for i, c := range classes {
		if v := samples[i].Value; v.Kind() == metrics.KindUint64 {
			gauges = append(gauges, gauge{c.name, c.help, int64(v.Uint64())})
		}
	}
	return gauges
}

// serveMetrics returns what writes the gauges in Prometheus' text format: of memory, and those that sharing gives.
func serveMetrics(sharing func() []gauge) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		for _, g := range append(memoryGauges(), sharing()...) {
			fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s %d\n", g.name, g.help, g.name, g.kind(), g.name, g.value)
		}
	}
}
