package metrics

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// collected is a set and what reads it.
type collected struct {
	*Set
	reader *sdkmetric.ManualReader
}

func newCollected(t *testing.T) collected {
	t.Helper()
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	set, err := New(provider.Meter("test"))
	if err != nil {
		t.Fatal(err)
	}
	return collected{set, reader}
}

// series returns the figures of a metric by their labels; of a histogram how many there were.
func (c collected) series(t *testing.T, name string) map[string]float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := c.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != name {
				continue
			}
			switch d := m.Data.(type) {
			case metricdata.Sum[float64]:
				for _, p := range d.DataPoints {
					out[p.Attributes.Encoded(encoder{})] = p.Value
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					out[p.Attributes.Encoded(encoder{})] = p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					out[p.Attributes.Encoded(encoder{})] = float64(p.Count)
				}
			}
		}
	}
	return out
}

// TestO2_TableIsSound holds every row to the conventions of Prometheus and to what labels may be.
func TestO2_TableIsSound(t *testing.T) {
	name, value := regexp.MustCompile(`^penstock_[a-z][a-z0-9_]*[a-z0-9]$`), regexp.MustCompile(`^[A-Za-z0-9_/]+$`)
	seen, series := map[string]bool{}, 0
	for _, s := range Table() {
		for _, m := range s.Metrics {
			series += m.Series()
			switch {
			case !name.MatchString(m.Name), seen[m.Name]:
				t.Errorf("%s is no name, or there twice", m.Name)
			case (m.Kind == Count) != strings.HasSuffix(m.Name, "_total"):
				t.Errorf("%s is a %v", m.Name, m.Kind)
			case (m.Unit == "s") != strings.Contains(m.Name, "_seconds"), (m.Unit == "By") != strings.Contains(m.Name, "_bytes"):
				t.Errorf("%s has the unit %q", m.Name, m.Unit)
			case (m.Kind == Durations) != (len(m.Buckets) > 0):
				t.Errorf("%s is a %v of %d buckets", m.Name, m.Kind, len(m.Buckets))
			case len(m.Labels) > maxLabels, m.Series() > maxSeries:
				t.Errorf("%s has %d labels and %d series", m.Name, len(m.Labels), m.Series())
			case !strings.HasSuffix(m.Help, ".") || m.Do != "" && !strings.HasSuffix(m.Do, "."):
				t.Errorf("%s says %q, %q", m.Name, m.Help, m.Do)
			}
			seen[m.Name] = true
			for _, l := range m.Labels {
				if l.Process != (len(l.Values) == 0) {
					t.Errorf("%s has a label %s of %d values", m.Name, l.Name, len(l.Values))
				}
				for _, v := range l.Values {
					if !value.MatchString(v) || v == Other {
						t.Errorf("%s{%s=%q}", m.Name, l.Name, v)
					}
				}
			}
		}
	}
	if series > 6000 {
		t.Errorf("a gateway can have %d series", series)
	}
	t.Logf("%d metrics, %d series at the most", len(seen), series)
}

// TestO2_LabelsAreBounded counts, tells and records 10,000 label values that nobody knows: they are one series.
func TestO2_LabelsAreBounded(t *testing.T) {
	c := newCollected(t)
	calls, seconds := c.Counter("penstock_grpc_calls_total"), c.Histogram("penstock_http_request_seconds")
	if err := c.Register(func(o *Observer) {
		for i := range 100 {
			o.Observe("penstock_tracks", 1, "audio", fmt.Sprintf("codec-%d", i), "live")
		}
		o.Observe("penstock_no_such_metric", 1)
	}); err != nil {
		t.Fatal(err)
	}
	calls.Add(2, "Health/Check", "ok")
	for i := range 10_000 {
		calls.Add(1, fmt.Sprintf("Service%d/Method", i), fmt.Sprintf("code%d", i))
		seconds.Record(t.Context(), 1, fmt.Sprintf("path-%d", i))
	}
	for name, want := range map[string]map[string]float64{
		"penstock_grpc_calls_total":     {"code=ok,method=Health/Check": 2, "code=other,method=other": 10_000},
		"penstock_http_request_seconds": {"route=other": 10_000},
		"penstock_tracks":               {"codec=other,kind=audio,state=live": 1},
	} {
		if got := c.series(t, name); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// TestCountersTellWhatNeverHappened, unless there is much of it; a rate needs the 0 before the first time.
func TestCountersTellWhatNeverHappened(t *testing.T) {
	c := newCollected(t)
	if got := c.series(t, "penstock_sessions_ended_total"); len(got) != 0 {
		t.Errorf("nobody counts them, but there are %v", got)
	}
	c.Counter("penstock_sessions_ended_total").Add(3, "deleted")
	c.Counter("penstock_grpc_calls_total")
	row, _ := Find("penstock_sessions_ended_total")
	if got := c.series(t, row.Name); len(got) != len(row.Labels[0].Values) || got["reason=deleted"] != 3 || got["reason=drained"] != 0 {
		t.Errorf("%v", got)
	}
	if got := c.series(t, "penstock_grpc_calls_total"); len(got) != 0 {
		t.Errorf("none was made, but there are %v", got)
	}
}

// TestCountersNeverGrowLess: a figure of a counter that is told smaller than before stays where it was.
func TestCountersNeverGrowLess(t *testing.T) {
	c := newCollected(t)
	figure := 7.0
	if err := c.Register(func(o *Observer) {
		o.Observe("penstock_byes_total", figure)
		o.Observe("penstock_conversations", figure)
	}); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][3]float64{{7, 7, 7}, {3, 7, 3}, {8, 8, 8}} {
		figure = want[0]
		count, gauge := c.series(t, "penstock_byes_total"), c.series(t, "penstock_conversations")
		if count[""] != want[1] || gauge[""] != want[2] {
			t.Errorf("told %v: %v and %v", figure, count, gauge)
		}
	}
}

// TestNothingIsMeasuredWithoutASet: the instruments of no set can be used, and do nothing; nor do those of the wrong kind.
func TestNothingIsMeasuredWithoutASet(t *testing.T) {
	var none *Set
	if err := none.Register(nil); err != nil {
		t.Error(err)
	}
	none.Counter("penstock_byes_total").Add(1)
	none.Histogram("penstock_resolve_seconds").Record(t.Context(), 1, "live")
	c := newCollected(t)
	if c.Counter("penstock_resolve_seconds") != nil || c.Histogram("penstock_byes_total") != nil || c.Counter("penstock_nothing_total") != nil {
		t.Error("an instrument of a metric that is of another kind")
	}
}

// BenchmarkCount counts a call: an addition and a look-up, and nothing allocated.
func BenchmarkCount(b *testing.B) {
	set, err := New(sdkmetric.NewMeterProvider().Meter("test"))
	if err != nil {
		b.Fatal(err)
	}
	calls := set.Counter("penstock_grpc_calls_total")
	b.ReportAllocs()
	for b.Loop() {
		calls.Add(1, "TrackService/GetFrame", "ok")
	}
}
