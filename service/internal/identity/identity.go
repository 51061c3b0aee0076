package identity

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Action is a set of what a caller may do with the sessions that it may use.
type Action uint8

// The actions.
const (
	// Signal is to create, feed and delete sessions, and to publish into them by WHIP.
	Signal Action = 1 << iota
	// Stream is to look for tracks and to take media.
	Stream
	// Admin is to list the tenant's sessions.
	Admin

	// None is what a caller needs no permission for, once it is known who it is.
	None Action = 0
	// All is every action.
	All = Signal | Stream | Admin
)

// actionNames are the actions' names in claims, and in what callers are told.
var actionNames = []struct {
	action Action
	name   string
}{{Signal, "signal"}, {Stream, "stream"}, {Admin, "admin"}}

// ParseAction returns the action of a name; false if there is none.
func ParseAction(name string) (Action, bool) {
	for _, a := range actionNames {
		if a.name == name {
			return a.action, true
		}
	}
	return None, false
}

// String returns the names of the actions in the set, with commas.
func (a Action) String() string {
	var names []string
	for _, n := range actionNames {
		if a&n.action != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, ",")
}

// Identity is who a caller is, and what it may do. The zero Identity may do nothing.
type Identity struct {
	// Subject is who it is, within its tenant: unique as far as the issuer makes it so. Empty where nobody is asked.
	Subject string `json:"subject,omitempty"`
	// Tenant is whose sessions it sees; those of other tenants do not exist for it. Empty is a tenant as any other: the only one where there are none.
	Tenant string `json:"tenant,omitempty"`
	// Actions is what it may do.
	Actions Action `json:"actions,omitempty"`
	// Sessions are patterns of the ids of sessions that it may use; none is all of its tenant. "*" stands for any characters, also none.
	Sessions []string `json:"sessions,omitempty"`
	// Expires is when it is good for nothing any more; zero is never.
	Expires time.Time `json:"expires,omitzero"`
}

// Anybody is every caller where nobody is asked who it is: of the tenant "", with all actions.
func Anybody() Identity { return Identity{Actions: All} }

// May tells whether it may do one of the actions in a set, at any time. Nobody needs permission for None.
func (i Identity) May(one Action) bool { return one == None || i.Actions&one != 0 }

// MaySession tells whether it may use a session of its tenant, or create it.
func (i Identity) MaySession(id string) bool {
	return len(i.Sessions) == 0 || slices.ContainsFunc(i.Sessions, func(p string) bool { return match(p, id) })
}

// Expired tells whether it is over.
func (i Identity) Expired(now time.Time) bool { return !i.Expires.IsZero() && !now.Before(i.Expires) }

// match tells whether an id fits a pattern. It takes no longer than the product of their lengths.
func match(pattern, id string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == id
	}
	id, ok := strings.CutPrefix(id, head)
	if !ok {
		return false
	}
	for {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(id, part)
		}
		at := strings.Index(id, part) // The first place leaves most for what follows.
		if at < 0 {
			return false
		}
		id, rest = id[at+len(part):], next
	}
}

// contextKey is the context key of an Identity.
type contextKey struct{}

// With returns a context of a call of who is known.
func With(ctx context.Context, i Identity) context.Context {
	return context.WithValue(ctx, contextKey{}, i)
}

// From returns who made a call, and whether that is known.
func From(ctx context.Context) (Identity, bool) {
	i, ok := ctx.Value(contextKey{}).(Identity)
	return i, ok
}

// Tenant returns the tenant of who made a call; "" where that is not known.
func Tenant(ctx context.Context) string {
	i, _ := From(ctx)
	return i.Tenant
}
