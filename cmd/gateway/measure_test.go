package main

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
	"github.com/penstock-media/penstock/service/metrics"
)

// TestO2_EachFigureIsItsOwn gives every counter of the parts another value, and finds each exactly once among what is told: none is left out, and no two are mixed up.
func TestO2_EachFigureIsItsOwn(t *testing.T) {
	next := 1000
	var network rtcpool.Stats
	var store resolverstore.Stats
	var pool media.PoolStats
	var totals media.Totals
	for _, v := range []any{&network, &store, &pool, &totals} {
		number(reflect.ValueOf(v).Elem(), &next)
	}
	totals.Consumers.Audio = map[media.SampleFormat]int{media.S16LE: 1, media.F32LE: 2}
	totals.Consumers.Video = map[media.PixelFormat]int{media.I420: 3, media.NV12: 4, media.RGB24: 5, media.RGBA: 6, media.JPEG: 7}
	totals.Decoded = map[media.Codec]media.DecodeTotals{media.CodecVP8: {Units: 8, Time: 9 * time.Second}, media.CodecOpus: {Units: 10, Time: 11 * time.Second}}
	told := map[float64][]string{}
	for series, figure := range collect(t, func(o *metrics.Observer) {
		measureNetwork(o, network)
		measureStore(o, store)
		measurePool(o, pool)
		measureMedia(o, totals)
	}) {
		told[figure] = append(told[figure], series)
	}
	// What the service or another figure tells, or nobody needs.
	elsewhere := map[string]bool{
		"Sessions": true, "TakenOver": true, "Deposed": true, "Breaks": true, "QueuedBytes": true, "QueueDropped": true, "Tracks": true, "Decoded": true, "Converted": true,
		"KeyFrameAsks": true, "Audio.KeyFrames": true,
	}
	for _, v := range []any{network, store, pool, totals} {
		each(reflect.ValueOf(v), "", func(name, full string, value float64) {
			if got := told[value]; len(got) != 1 && !elsewhere[name] && !elsewhere[full] {
				t.Errorf("%s is told as %v", full, got)
			}
		})
	}
	for value := 1.0; value <= 11; value++ {
		if len(told[value]) != 1 {
			t.Errorf("%v is told as %v", value, told[value])
		}
	}
}

// number gives each number of a struct another value.
func number(v reflect.Value, next *int) {
	for i := range v.NumField() {
		f := v.Field(i)
		switch *next++; f.Kind() {
		case reflect.Int, reflect.Int64:
			f.SetInt(int64(*next))
		case reflect.Uint64:
			f.SetUint(uint64(*next))
		case reflect.Float64:
			f.SetFloat(float64(*next))
		case reflect.Struct:
			if f.Type() != reflect.TypeFor[time.Time]() {
				number(f, next)
			}
		}
	}
}

// each calls f with each number of a struct, its name, and its path.
func each(v reflect.Value, path string, f func(name, full string, value float64)) {
	for i := range v.NumField() {
		field, name := v.Field(i), v.Type().Field(i).Name
		switch field.Kind() {
		case reflect.Int, reflect.Int64:
			f(name, path+name, float64(field.Int()))
		case reflect.Uint64:
			f(name, path+name, float64(field.Uint()))
		case reflect.Float64:
			f(name, path+name, field.Float())
		case reflect.Struct:
			if field.Type() != reflect.TypeFor[time.Time]() {
				each(field, path+name+".", f)
			}
		}
	}
}

// collect returns what a function tells, by name and labels.
func collect(t *testing.T, tell func(*metrics.Observer)) map[string]float64 {
	t.Helper()
	reader := metric.NewManualReader()
	set, err := metrics.New(metric.NewMeterProvider(metric.WithReader(reader)).Meter("test"))
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Register(tell); err != nil {
		t.Fatal(err)
	}
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			var points []metricdata.DataPoint[float64]
			switch d := m.Data.(type) {
			case metricdata.Sum[float64]:
				points = d.DataPoints
			case metricdata.Gauge[float64]:
				points = d.DataPoints
			}
			for _, p := range points {
				out[fmt.Sprint(m.Name, p.Attributes.ToSlice())] = p.Value
			}
		}
	}
	return out
}

// TestMetricsHaveAnAddressOfTheirOwn: with --metrics-addr they are there, and no longer where WHIP is; and nothing but them is there.
func TestMetricsHaveAnAddressOfTheirOwn(t *testing.T) {
	g := inProcess(t, func(c *config.Config) { c.MetricsAddr = "127.0.0.1:0" })
	if g.MetricsAddr() == g.HTTPAddr() {
		t.Fatal("they are on the HTTP address")
	}
	if e := scrape(t, g.MetricsAddr(), false); e.kinds["penstock_sessions"] != "gauge" {
		t.Errorf("%v", e.kinds)
	}
	for _, url := range []string{g.HTTPAddr() + "/metrics", g.MetricsAddr() + "/readyz"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+url, nil)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", url, answer.Status)
		}
	}
}

// TestScrapesAtOnce: many that ask at the same time are each told all, or to come again.
func TestScrapesAtOnce(t *testing.T) {
	g := inProcess(t, nil)
	var asking sync.WaitGroup
	var mu sync.Mutex
	codes := map[int]int{}
	for range 32 {
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), hang)
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.HTTPAddr()+"/metrics", nil)
			if err != nil {
				t.Error(err)
				return
			}
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			answer, err := client.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			_ = answer.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			codes[answer.StatusCode]++
		})
	}
	asking.Wait()
	if codes[http.StatusOK] == 0 || codes[http.StatusOK]+codes[http.StatusServiceUnavailable] != 32 {
		t.Errorf("%v", codes)
	}
}
