package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// row is one line of the result: a budget, or with an empty ID a measurement beside it.
type row struct {
	ID        string  `json:"id,omitempty"`
	What      string  `json:"what"`
	Value     string  `json:"value,omitempty"`     // CPU time per frame
	Reference string  `json:"reference,omitempty"` // the same of the reference
	Ratio     float64 `json:"ratio,omitempty"`     // or, as What says, the figure itself
	Budget    float64 `json:"budget,omitempty"`
	Met       *bool   `json:"met,omitempty"`
	Delivered string  `json:"delivered,omitempty"` // of what was sent, in the measured window
	// Missing says why there is no figure to be trusted.
	Missing string `json:"missing,omitempty"`
}

// report is the whole result.
type report struct {
	Machine string `json:"machine"`
	Windows string `json:"windows"`
	Rows    []row  `json:"rows"`
	// Notes say what the figures are of.
	Notes []string `json:"notes"`
}

// outcome is a measurement, or why there is none.
type outcome struct {
	sample sample
	err    error
}

// usable is why the outcome cannot be used, or nil.
func (o outcome) usable() error {
	if o.err != nil {
		return o.err
	}
	return o.sample.reliable()
}

// compare makes the row of a budget from the gateway's measurement and the reference's.
func compare(id, what string, budget float64, value, reference outcome) row {
	r := row{ID: id, What: what, Budget: budget}
	if value.err == nil {
		r.Value, r.Delivered = perFrame(value.sample), delivered(value.sample)
	}
	if reference.err == nil {
		r.Reference = perFrame(reference.sample)
	}
	var missing []string
	if err := value.usable(); err != nil {
		missing = append(missing, "the gateway: "+err.Error())
	}
	if err := reference.usable(); err != nil {
		missing = append(missing, "the reference: "+err.Error())
	}
	r.Missing = strings.Join(missing, "; ")
	if r.Missing == "" {
		r.judge(float64(value.sample.perFrame()) / float64(reference.sample.perFrame()))
	}
	return r
}

// judge sets the figure that the budget is for.
func (r *row) judge(figure float64) {
	met := figure <= r.Budget
	r.Ratio, r.Met = figure, &met
}

// plain makes the row of a measurement without a budget.
func plain(what string, o outcome) row {
	r := row{What: what}
	if o.err != nil {
		r.Missing = o.err.Error()
		return r
	}
	r.Value, r.Delivered = perFrame(o.sample), delivered(o.sample)
	if err := o.sample.reliable(); err != nil {
		r.Missing = err.Error()
	}
	return r
}

func perFrame(s sample) string { return milliseconds(s.perFrame()) }

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.4f ms", float64(d)/float64(time.Millisecond))
}

func delivered(s sample) string { return fmt.Sprintf("%.1f %%", 100*s.share()) }

// write prints the table.
func (r report) write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	fmt.Fprintf(w, "CPU time per delivered frame, %s, %s\n\n", r.Machine, r.Windows)
	fmt.Fprintln(w, "id\twhat\tvalue\treference\tratio\tbudget\tmet\tdelivered")
	for _, row := range r.Rows {
		ratio, budget, met := "-", "-", "-"
		if row.Ratio > 0 {
			ratio = fmt.Sprintf("%.3f", row.Ratio)
		}
		if row.Budget > 0 {
			budget = fmt.Sprintf("%.2f", row.Budget)
		}
		if row.Met != nil {
			met = map[bool]string{true: "yes", false: "NO"}[*row.Met]
		} else if row.Missing != "" {
			met = "no figure"
		}
		fmt.Fprintln(w, strings.Join([]string{
			orDash(row.ID), row.What, orDash(row.Value), orDash(row.Reference), ratio, budget, met, orDash(row.Delivered),
		}, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return r.writeNotes(out)
}

func (r report) writeNotes(out io.Writer) error {
	fmt.Fprintln(out)
	for _, row := range r.Rows {
		if row.Missing != "" {
			fmt.Fprintf(out, "no figure: %s: %s\n", strings.TrimSpace(row.ID+" "+row.What), row.Missing)
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(out, "note: %s\n", n)
	}
	return nil
}

// writeJSON prints the same for programs.
func (r report) writeJSON(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
