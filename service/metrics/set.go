package metrics

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Set is the instruments of all metrics of the table. All methods are safe for concurrent use, and those of a nil Set and of what it returns do nothing.
type Set struct {
	meter       metric.Meter
	rows        map[string]*row
	observables []metric.Observable
}

// row is a metric with its instrument.
type row struct {
	Metric
	observed  metric.Float64Observable // of Count and Gauge
	histogram *Histogram
	counter   *Counter

	mu      sync.Mutex
	options map[values]metric.MeasurementOption
	last    map[values]float64 // of a Count that is observed
}

// New makes the instruments of every metric of the table.
func New(meter metric.Meter) (*Set, error) {
	s := &Set{meter: meter, rows: make(map[string]*row)}
	for _, section := range Table() {
		for _, m := range section.Metrics {
			r := &row{Metric: m, options: make(map[values]metric.MeasurementOption), last: make(map[values]float64)}
			if err := r.make(meter); err != nil {
				return nil, fmt.Errorf("metric %s: %w", m.Name, err)
			}
			if r.observed != nil {
				s.observables = append(s.observables, r.observed)
			}
			s.rows[m.Name] = r
		}
	}
	return s, s.Register(s.tellCounters)
}

// make makes the instrument.
func (r *row) make(meter metric.Meter) (err error) {
	switch r.Kind {
	case Count:
		r.counter = newCounter(r.Metric)
		r.observed, err = meter.Float64ObservableCounter(r.Name, metric.WithDescription(r.Help), metric.WithUnit(r.unit()))
	case Gauge:
		r.observed, err = meter.Float64ObservableGauge(r.Name, metric.WithDescription(r.Help), metric.WithUnit(r.unit()))
	case Durations:
		var h metric.Float64Histogram
		h, err = meter.Float64Histogram(r.Name, metric.WithDescription(r.Help), metric.WithUnit(r.unit()), metric.WithExplicitBucketBoundaries(r.Buckets...))
		r.histogram = &Histogram{row: r, histogram: h}
	default:
		err = errKind
	}
	return err
}

func (r *row) unit() string {
	if r.Unit == "" {
		return "1"
	}
	return r.Unit
}

// option returns the attributes of label values, which are made once.
func (r *row) option(v values) metric.MeasurementOption {
	r.mu.Lock()
	defer r.mu.Unlock()
	o, ok := r.options[v]
	if !ok {
		attributes := make([]attribute.KeyValue, len(r.Labels))
		for i, l := range r.Labels {
			attributes[i] = attribute.String(l.Name, v[i])
		}
		o = metric.WithAttributeSet(attribute.NewSet(attributes...))
		r.options[v] = o // as many as Series tells
	}
	return o
}

// Register has a function called at each collection, by one goroutine at a time, to tell figures. It must return soon and not wait for anything.
func (s *Set) Register(collect func(*Observer)) error {
	if s == nil {
		return nil
	}
	_, err := s.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		collect(&Observer{set: s, to: o})
		return nil
	}, s.observables...)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

// tellCounters tells what was counted. What never happened is told too, unless there is much of it.
func (s *Set) tellCounters(o *Observer) {
	for _, r := range s.rows {
		if r.counter != nil && r.counter.used.Load() {
			r.counter.each(func(v values, n uint64) { o.to.ObserveFloat64(r.observed, float64(n), r.option(v)) })
		}
	}
}

// Observer takes figures at a collection. It must not be used later.
type Observer struct {
	set *Set
	to  metric.Observer
}

// Observe tells a figure of a metric, with the values of its labels in the order of the table. What the table does not list is ignored.
func (o *Observer) Observe(name string, figure float64, labels ...string) {
	r := o.set.rows[name]
	if r == nil || r.observed == nil {
		return
	}
	v := r.bounded(labels)
	if r.Kind == Count {
		figure = r.grown(v, figure)
	}
	o.to.ObserveFloat64(r.observed, figure, r.option(v))
}

// grown returns the figure of a Count, or the one before where that was more: what is summed up while it changes may come out a little less, which Prometheus would
// take for a process that has begun anew.
func (r *row) grown(v values, figure float64) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last[v] = max(r.last[v], figure)
	return r.last[v]
}

// Flag tells a gauge that is 1 or 0.
func (o *Observer) Flag(name string, on bool) {
	figure := 0.0
	if on {
		figure = 1
	}
	o.Observe(name, figure)
}

// Counter returns what counts for a metric of the table; nil, which counts nothing, for one that is not there or no Count. It is told from then on.
func (s *Set) Counter(name string) *Counter {
	if s == nil || s.rows[name] == nil || s.rows[name].counter == nil {
		return nil
	}
	c := s.rows[name].counter
	c.used.Store(true)
	return c
}

// Histogram returns what records for a metric of the table; nil, which records nothing, for one that is not there or no Durations.
func (s *Set) Histogram(name string) *Histogram {
	if s == nil || s.rows[name] == nil {
		return nil
	}
	return s.rows[name].histogram
}

// Counter counts what happens. Counting costs one atomic addition and allocates nothing. All methods are safe for concurrent use.
type Counter struct {
	metric Metric
	counts map[values]*atomic.Uint64 // never changed
	many   bool
	used   atomic.Bool // somebody counts
}

// manySeries is from how many series on those are left out that are 0.
const manySeries = 64

func newCounter(m Metric) *Counter {
	c := &Counter{metric: m, counts: make(map[values]*atomic.Uint64)}
	if m.Series() <= maxSeries {
		for _, v := range m.withOther() {
			c.counts[v] = new(atomic.Uint64)
		}
	}
	c.many = len(c.counts) > manySeries
	return c
}

// maxSeries bounds what one metric may have. A test holds the table to it.
const maxSeries = 1000

// withOther returns every set of values, Other among them.
func (m Metric) withOther() []values {
	all := m
	all.Labels = make([]Label, len(m.Labels))
	for i, l := range m.Labels {
		all.Labels[i] = Label{Name: l.Name, Values: append(append([]string{}, l.Values...), Other)}
	}
	return all.combinations()
}

// Add counts n more, with the values of the metric's labels in the order of the table.
func (c *Counter) Add(n uint64, labels ...string) {
	if c == nil {
		return
	}
	var v values
	copy(v[:len(c.metric.Labels)], labels)
	at := c.counts[v]
	if at == nil {
		at = c.counts[c.metric.bounded(labels)]
	}
	if at != nil {
		at.Add(n)
	}
}

// each calls f with every count to be told.
func (c *Counter) each(f func(values, uint64)) {
	for v, at := range c.counts {
		if n := at.Load(); n > 0 || !c.many && !v.other() {
			f(v, n)
		}
	}
}

// other tells whether a value is Other.
func (v values) other() bool {
	for _, one := range v {
		if one == Other {
			return true
		}
	}
	return false
}

// Histogram records how long things take. All methods are safe for concurrent use.
type Histogram struct {
	row       *row
	histogram metric.Float64Histogram
}

// Record records seconds, with the values of the metric's labels in the order of the table. If ctx has a span that is sampled, its trace is the exemplar.
func (h *Histogram) Record(ctx context.Context, seconds float64, labels ...string) {
	if h != nil {
		h.histogram.Record(ctx, seconds, h.row.option(h.row.bounded(labels)))
	}
}
