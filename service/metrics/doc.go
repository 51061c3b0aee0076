// Package metrics says what the gateway measures: a table of metrics, from which docs/metrics.md is generated, and the OpenTelemetry
// instruments that are made from it, all in one place.
//
// To add a metric, add a row to the table, in the file of its section. Then, of what happens, count each by a [Counter]:
//
//	refused := set.Counter("penstock_logins_refused_total") // once, at construction
//	refused.Add(1, "expired")                               // the values of the labels, in the order of the row
//
// of how long something takes, record each in a [Histogram]; and of what is already counted or held somewhere, tell the figure at each
// collection, for which nothing is to be kept up to date meanwhile:
//
//	set.Register(func(o *metrics.Observer) { o.Observe("penstock_logins", float64(s.logins())) })
//
// Then run make generate, and add a panel or an alert to the chart where an operator should look at it. A test fails while a metric of the table
// is not told by a running gateway, or is not on the page.
//
// Labels come from closed sets, which the table lists. A value that is not listed counts as [Other]: what callers send never makes a series.
// No label may tell a session, a participant, a track, a tenant or an address.
package metrics
