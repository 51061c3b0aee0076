package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

// The picture of a trace, and what Jaeger told of it, which the end-to-end test of traces writes where PENSTOCK_TRACE_OUT says.
const (
	traceSource = "docs/trace.json"
	traceTarget = "docs/trace.svg"
)

// bar is one span of the trace.
type bar struct {
	ID       string `json:"spanID"`
	Parent   string `json:"parentSpanID"`
	Name     string `json:"operationName"`
	Pod      string `json:"pod"`
	Start    int64  `json:"startMicroseconds"`
	Duration int64  `json:"durationMicroseconds"`
	depth    int
}

// Measures of the picture, in pixels.
const (
	traceWidth  = 960
	traceLabels = 300 // of the names
	traceRow    = 24
	traceTop    = 56
	traceIndent = 14
	traceRight  = 84 // of the longest bar's length in words
)

// generateTrace draws the picture below a root directory.
func generateTrace(root string) error {
	text, err := os.ReadFile(root + "/" + traceSource)
	if err != nil {
		return err
	}
	picture, err := drawTrace(text)
	if err != nil {
		return fmt.Errorf("%s: %w", traceSource, err)
	}
	return os.WriteFile(root+"/"+traceTarget, picture, 0o644) //nolint:gosec // documentation
}

// drawTrace returns the trace as SVG: a line for each span, under its parent, with a bar where it lies in time.
func drawTrace(text []byte) ([]byte, error) {
	var spans []bar
	if err := json.Unmarshal(text, &spans); err != nil {
		return nil, err
	}
	ordered := arrange(spans)
	if len(ordered) == 0 || len(ordered) != len(spans) {
		return nil, fmt.Errorf("of %d spans %d hang together", len(spans), len(ordered))
	}
	var total int64 = 1
	for _, s := range ordered {
		total = max(total, s.Start+s.Duration)
	}
	height := traceTop + traceRow*len(ordered) + 16
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", traceWidth, height, traceWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", traceWidth, height)
	legend(&b)
	ruler(&b, total, height)
	for i, s := range ordered {
		s.draw(&b, traceTop+traceRow*i, total)
	}
	b.WriteString("</svg>\n")
	return b.Bytes(), nil
}

// arrange returns the spans in the order of a tree, each under its parent, siblings in that of their beginnings.
func arrange(spans []bar) []bar {
	known := make(map[string]bool)
	for _, s := range spans {
		known[s.ID] = true
	}
	children := make(map[string][]bar)
	for _, s := range spans {
		if !known[s.Parent] {
			s.Parent = "" // the caller's own span is not there
		}
		children[s.Parent] = append(children[s.Parent], s)
	}
	var out []bar
	var add func(parent string, depth int)
	add = func(parent string, depth int) {
		under := children[parent]
		slices.SortFunc(under, func(x, y bar) int {
			if x.Start != y.Start {
				return int(x.Start - y.Start)
			}
			return int(x.Duration - y.Duration)
		})
		for _, s := range under {
			s.depth = depth
			out = append(out, s)
			add(s.ID, depth+1)
		}
	}
	add("", 0)
	return out
}

// colour is that of a pod's bars.
func colour(pod string) string {
	if pod == "owner" {
		return "#d97b29"
	}
	return "#2f6f9f"
}

// legend says which colour is whose.
func legend(b *bytes.Buffer) {
	x := 12
	for _, pod := range []struct{ name, text string }{{"entry", "the pod that the worker called"}, {"owner", "the pod that has the session"}} {
		fmt.Fprintf(b, `<rect x="%d" y="10" width="12" height="12" rx="2" fill="%s"/><text x="%d" y="20" fill="#333333">%s</text>`+"\n", x, colour(pod.name), x+18, pod.text)
		x += 220
	}
}

// ruler draws the scale of time.
func ruler(b *bytes.Buffer, total int64, height int) {
	step := int64(1)
	for _, factor := 0, []int64{2, 5, 10}; total/step > 6; {
		for _, f := range factor {
			if total/(step*f) <= 6 || f == 10 {
				step *= f
				break
			}
		}
	}
	for at := int64(0); at <= total; at += step {
		x := traceX(at, total)
		fmt.Fprintf(b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#e4e4e4"/><text x="%d" y="%d" fill="#777777" text-anchor="middle">%v</text>`+"\n",
			x, traceTop-6, x, height-10, x, traceTop-12, time.Duration(at)*time.Microsecond)
	}
}

// traceX is where a moment lies.
func traceX(at, total int64) int {
	return traceLabels + int(at*(traceWidth-traceLabels-traceRight)/total)
}

// draw draws a span's line.
func (s bar) draw(b *bytes.Buffer, y int, total int64) {
	from, to := traceX(s.Start, total), traceX(s.Start+s.Duration, total)
	width := max(to-from, 2)
	fmt.Fprintf(b, `<text x="%d" y="%d" fill="#222222">%s</text>`, 12+traceIndent*s.depth, y+16, s.Name)
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="12" rx="2" fill="%s"/>`, from, y+6, width, colour(s.Pod))
	fmt.Fprintf(b, `<text x="%d" y="%d" fill="#555555">%s</text>`+"\n", from+width+5, y+16, milliseconds(s.Duration))
}

// milliseconds writes a length.
func milliseconds(microseconds int64) string {
	return fmt.Sprintf("%.2f ms", float64(microseconds)/1000)
}
