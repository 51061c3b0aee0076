package metrics

import (
	"slices"
	"strings"
)

// Kind is what a metric's figure is.
type Kind uint8

// The kinds.
const (
	Count     Kind = iota + 1 // only grows while the process lives
	Gauge                     // as it is now
	Durations                 // a histogram of seconds
)

// String returns the kind as Prometheus names it.
func (k Kind) String() string {
	switch k {
	case Count:
		return "counter"
	case Gauge:
		return "gauge"
	case Durations:
		return "histogram"
	default:
		return "unknown"
	}
}

// Other is the label value that stands for all that are not listed.
const Other = "other"

// Label is a label and all the values that it can have, but for [Other].
type Label struct {
	Name   string
	Values []string
	// Process says that the label has one value in each process, which is not listed: its version.
	Process bool
}

// Metric is a row of the table.
type Metric struct {
	Name    string // as Prometheus shows it
	Kind    Kind
	Unit    string // of the Unified Code for Units of Measure (UCUM), which OpenTelemetry uses; empty for a number of things
	Labels  []Label
	Buckets []float64 // of Durations: the upper bounds, in seconds
	Help    string    // what it is
	Do      string    // what an operator does about it; empty where nothing is to be done
}

// Section is a group of metrics that belong together.
type Section struct {
	Title   string
	Metrics []Metric
}

// Table returns all metrics of the gateway, but for those of the Go runtime and of the process.
func Table() []Section {
	return []Section{
		{"Sessions and tracks", sessionMetrics()},
		{"Streams and consumers", streamMetrics()},
		{"Media received", mediaMetrics()},
		{"Decoding", decodeMetrics()},
		{"Negotiation and network", networkMetrics()},
		{"Calls", callMetrics()},
		{"Pods", podMetrics()},
		{"Store", storeMetrics()},
		{"Security", securityMetrics()},
		{"Process", processMetrics()},
	}
}

// Find returns a row of the table.
func Find(name string) (Metric, bool) {
	for _, s := range Table() {
		if i := slices.IndexFunc(s.Metrics, func(m Metric) bool { return m.Name == name }); i >= 0 {
			return s.Metrics[i], true
		}
	}
	return Metric{}, false
}

// Series returns how many series the metric has at most: the product of what its labels can be, for each bucket of a histogram.
func (m Metric) Series() int {
	n := 1
	for _, l := range m.Labels {
		if !l.Process {
			n *= len(l.Values) + 1
		}
	}
	if m.Kind == Durations {
		n *= len(m.Buckets) + 3 // +Inf, sum and count
	}
	return n
}

// combinations returns every set of values of the labels that are listed, in their order.
func (m Metric) combinations() []values {
	all := []values{{}}
	for i, l := range m.Labels {
		var longer []values
		for _, v := range all {
			for _, one := range l.Values {
				v[i] = one
				longer = append(longer, v)
			}
		}
		all = longer
	}
	return all
}

// values are the values of a metric's labels; what it has fewer are empty.
type values [maxLabels]string

// maxLabels is how many labels a metric can have.
const maxLabels = 3

// bounded returns the values that are given, each that is not listed as Other.
func (m Metric) bounded(given []string) (v values) {
	for i, l := range m.Labels {
		switch {
		case i < len(given) && (l.Process || slices.Contains(l.Values, given[i])):
			v[i] = given[i]
		default:
			v[i] = Other
		}
	}
	return v
}

// label returns a label of the values that are named in one string.
func label(name, valuesOf string) Label { return Label{Name: name, Values: strings.Fields(valuesOf)} }
