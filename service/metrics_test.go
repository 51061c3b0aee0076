package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/internal/relay"
	"github.com/penstock-media/penstock/service/metrics"
)

// TestO2_LabelsAreThoseOfTheContract compares what the table lists with the methods that are served and the reasons that there are: a new one must be listed, or it counts as other.
func TestO2_LabelsAreThoseOfTheContract(t *testing.T) {
	g := startGateway(t)
	server := g.svc.NewServer()
	defer server.Stop()
	var methods []string
	for service, info := range server.GetServiceInfo() {
		for _, m := range info.Methods {
			methods = append(methods, methodName("/"+service+"/"+m.Name))
		}
	}
	same(t, "methods", strings.Fields(metrics.Methods), methods)
	var reasons []string
	for number := range penstockv1.ErrorReason_name {
		if number != 0 {
			reasons = append(reasons, reasonName(penstockv1.ErrorReason(number)))
		}
	}
	causes := relay.CauseNames()
	same(t, "causes", strings.Fields(metrics.RefusalCauses), causes[:])
	same(t, "reasons", strings.Fields(metrics.ErrorReasons), reasons)
}

// same compares two lists as sets.
func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if want = slices.Compact(want); !slices.Equal(got, want) {
		t.Errorf("%s are listed as\n%v, and there are\n%v", what, got, want)
	}
}

// gauge is a set and what reads it.
type gauge struct {
	set    *metrics.Set
	reader *metric.ManualReader
}

func newGauge(t *testing.T) gauge {
	t.Helper()
	reader := metric.NewManualReader()
	set, err := metrics.New(metric.NewMeterProvider(metric.WithReader(reader)).Meter("test"))
	must(t, err)
	return gauge{set, reader}
}

// figures returns what is told: of histograms how many there were.
func (m gauge) figures(t *testing.T) map[string]float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	must(t, m.reader.Collect(t.Context(), &all))
	out := map[string]float64{}
	for _, scope := range all.ScopeMetrics {
		for _, one := range scope.Metrics {
			switch d := one.Data.(type) {
			case metricdata.Sum[float64]:
				for _, p := range d.DataPoints {
					out[one.Name+"{"+p.Attributes.Encoded(attribute.DefaultEncoder())+"}"] = p.Value
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					out[one.Name+"{"+p.Attributes.Encoded(attribute.DefaultEncoder())+"}"] = p.Value
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					out[one.Name+"{"+p.Attributes.Encoded(attribute.DefaultEncoder())+"}"] = float64(p.Count)
				}
			}
		}
	}
	return out
}

// TestO2_TheServiceTellsWhatIsOpenAndHowItEnded follows one session and one stream from their beginning to their end, by the figures.
func TestO2_TheServiceTellsWhatIsOpenAndHowItEnded(t *testing.T) {
	m := newGauge(t)
	g := startGateway(t, func(c *Config) { c.Metrics = m.set })
	is := func(when string, want map[string]float64) {
		t.Helper()
		var wrong []string
		defer func() {
			if len(wrong) > 0 {
				t.Errorf("%s: %v", when, wrong)
			}
		}()
		g.await(func() bool {
			got := m.figures(t)
			wrong = nil
			for name, figure := range want {
				if got[name] != figure {
					wrong = append(wrong, fmt.Sprintf("%s is %v, want %v", name, got[name], figure))
				}
			}
			return len(wrong) == 0
		})
	}
	g.call("call")
	ctx, cancel := context.WithCancel(g.ctx)
	defer cancel()
	s, err := g.tracks.StreamTrack(ctx, &penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera)})
	must(t, err)
	r := &reader{t, s, cancel}
	r.video()
	is("while it runs", map[string]float64{
		"penstock_sessions{source=offers,state=connected}": 1,
		"penstock_tracks{codec=vp8,kind=video,state=live}": 1,
		"penstock_streams{}":                                                     1,
		"penstock_grpc_calls_open{type=stream}":                                  1,
		"penstock_resolve_seconds{result=live}":                                  1,
		"penstock_resolve_waiting{}":                                             0,
		"penstock_stream_open_seconds{}":                                         1,
		"penstock_stream_first_frame_seconds{kind=video}":                        1,
		"penstock_grpc_calls_total{code=ok,method=SessionService/CreateSession}": 1,
		"penstock_draining{}":                                                    0,
	})
	waits, stop := context.WithCancel(g.ctx)
	waited := make(chan error, 1)
	go func() {
		_, err := g.tracks.ResolveTrack(waits, &penstockv1.ResolveTrackRequest{SessionId: "call", Selector: byParticipant("nobody", camera)})
		waited <- err
	}()
	is("while somebody waits", map[string]float64{"penstock_resolve_waiting{}": 1, "penstock_grpc_calls_open{type=unary}": 1})
	stop()
	<-waited
	_, err = g.sessions.GetSession(g.ctx, &penstockv1.GetSessionRequest{SessionId: "nothing"})
	wantStatus(t, err, 5, "SESSION_NOT_FOUND")
	_, err = g.sessions.DeleteSession(g.ctx, &penstockv1.DeleteSessionRequest{SessionId: "call"})
	must(t, err)
	for err == nil {
		_, err = s.Recv()
	}
	is("after its end", map[string]float64{
		"penstock_sessions{source=offers,state=connected}": 0,
		"penstock_tracks{codec=vp8,kind=video,state=live}": 0,
		"penstock_streams{}":                              0,
		"penstock_streams_ended_total{reason=ok}":         1,
		"penstock_sessions_ended_total{reason=deleted}":   1,
		"penstock_resolve_seconds{result=cancelled}":      1,
		"penstock_errors_total{reason=session_not_found}": 1,
	})
	g.svc.Drain(g.ctx, 0)
	is("in a drain", map[string]float64{"penstock_draining{}": 1})
}

// TestResolveResults: each way in which a wait ends has its name.
func TestResolveResults(t *testing.T) {
	for want, err := range map[string]error{
		"live": nil, "timeout": errTrackNotLive, "cancelled": context.Canceled, "gone": fmt.Errorf("so: %w", resolverstore.ErrParticipantLeft), "failed": errors.New("else"),
	} {
		if got := resolveResult(err); got != want {
			t.Errorf("%v is %s, want %s", err, got, want)
		}
	}
}

// BenchmarkObserve tells the figures of 10,000 sessions without media.
func BenchmarkObserve(b *testing.B) {
	s := &Service{sessions: make(map[resolverstore.SessionKey]*session), cfg: Config{}}
	for i := range 10_000 {
		id := fmt.Sprint(i)
		v := &session{mirror: newMirror(0, time.Time{}), hub: newHub(id)}
		v.hub.demand.tracks["a"], v.hub.demand.tracks["b"] = &wantable{}, &wantable{}
		s.sessions[resolverstore.SessionKey{ID: id}] = v
	}
	b.ReportAllocs()
	for b.Loop() {
		tracks := make(map[trackKind]int)
		for _, v := range s.all() {
			v.mirror.stateNow()
			v.hub.count(tracks)
		}
	}
}
