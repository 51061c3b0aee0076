package metrics

// processMetrics are of the process's memory and build.
func processMetrics() []Metric {
	bytes := func(name, help string) Metric { return Metric{Name: name, Kind: Gauge, Unit: "By", Help: help} }
	return []Metric{
		{Name: "penstock_build_info", Kind: Gauge, Labels: []Label{{Name: "version", Process: true}, {Name: "go_version", Process: true}}, Help: "1, with the version of the gateway and of Go."},
		{Name: "penstock_c_memory_objects", Kind: Gauge, Help: "Decoders, pictures and their buffers, encoders and resamplers that are held.", Do: "Without sessions it goes back to 0."},
		bytes("penstock_c_memory_bytes", "What those were asked for."),
		bytes("penstock_c_heap_used_bytes", "What is allocated from the C library's heap, by libraries for themselves too."),
		bytes("penstock_c_heap_free_bytes", "What was freed and the C library keeps; what it gave back to the system is among it."),
		bytes("penstock_go_heap_objects_bytes", "Objects that live, or were not yet found to be dead."),
		bytes("penstock_go_heap_unused_bytes", "What is reserved for objects and holds none."),
		bytes("penstock_go_heap_free_bytes", "What is free and could be given back to the system."),
		bytes("penstock_go_heap_released_bytes", "What was given back to the system."),
		bytes("penstock_go_stack_bytes", "Stacks of goroutines."),
		bytes("penstock_go_memory_bytes", "All that the Go runtime has mapped, also what was given back."),
	}
}
