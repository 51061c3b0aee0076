package main

import (
	"errors"
	"strings"
	"testing"
)

// gauges are a gateway's metrics, with others between them.
const gauges = `# HELP penstock_go_heap_objects_bytes Objects.
# TYPE penstock_go_heap_objects_bytes gauge
penstock_go_heap_objects_bytes 1e+07
penstock_go_heap_unused_bytes 2000000
penstock_go_heap_free_bytes 3000000
another_bytes{of="something"} 7
penstock_go_stack_bytes 4000000
penstock_c_memory_objects 5
penstock_c_memory_bytes 6000000
penstock_c_heap_used_bytes 7000000
penstock_c_heap_free_bytes 8000000
`

func TestMemoryIsRead(t *testing.T) {
	var m memory
	if err := m.parse(gauges); err != nil {
		t.Fatal(err)
	}
	m.resident = 50_000_000
	want := "resident 50.0 MB; Go objects 10.0, unused 2.0, free 3.0, stacks 4.0; C heap used 7.0 (6.0 in 5 counted objects), free or given back 8.0"
	if got := m.String(); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	for _, bad := range []string{"", strings.Replace(gauges, "7000000", "many", 1), strings.Replace(gauges, "penstock_go_stack_bytes", "stacks", 1)} {
		if err := new(memory).parse(bad); !errors.Is(err, errChild) {
			t.Errorf("%v of\n%s", err, bad)
		}
	}
}
