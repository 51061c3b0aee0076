// Package identity says who a caller is and what it may do.
//
// An [Identity] has a tenant, whose sessions are all that it can know of, the sessions among them that it may use, the [Action]s that it may take, and
// an end. It comes from a token or from a client certificate, and travels in a call's context: [With] puts it there, [From] gets it.
// A call that another pod has forwarded has the identity that this pod has proved, whole.
//
// The package knows neither gRPC nor HTTP.
package identity
