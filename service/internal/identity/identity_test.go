package identity

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestO3_SessionPatterns: a pattern allows the ids that it fits, whole, and no others; without any, all are allowed.
func TestO3_SessionPatterns(t *testing.T) {
	for _, c := range []struct {
		patterns []string
		id       string
		want     bool
	}{
		{nil, "call", true}, {[]string{"call"}, "call", true}, {[]string{"call"}, "call2", false}, {[]string{"call"}, "acall", false},
		{[]string{"call"}, "", false}, {[]string{"room-*"}, "room-1", true}, {[]string{"room-*"}, "room-", true}, {[]string{"room-*"}, "xroom-1", false},
		{[]string{"*-1"}, "room-1", true}, {[]string{"*-1"}, "room-11", false}, {[]string{"a*b*c"}, "a-b-c", true}, {[]string{"a*b*c"}, "abc", true},
		{[]string{"a*b*c"}, "ab", false}, {[]string{"a*bb*b"}, "abbb", true}, {[]string{"ab*b"}, "ab", false}, {[]string{"a*a"}, "a", false},
		{[]string{"*"}, "", true}, {[]string{"**"}, "x", true}, {[]string{"x", "y*"}, "yes", true}, {[]string{"x", "y*"}, "no", false},
		{[]string{"CALL"}, "call", false}, {[]string{"."}, "a", false}, {[]string{"[a]"}, "a", false}, {[]string{""}, "a", false},
	} {
		if got := (Identity{Sessions: c.patterns}).MaySession(c.id); got != c.want {
			t.Errorf("%q allows %q: %v", c.patterns, c.id, got)
		}
	}
	// What tried all ways to place the parts would not end before the test's own time.
	if match(strings.Repeat("*a", 64)+"b", strings.Repeat("a", 1<<16)) {
		t.Error("a hostile pattern fits what has no b")
	}
}

// TestO3_Actions: an identity may do what is in its set, and the zero one nothing; nobody needs permission for nothing.
func TestO3_Actions(t *testing.T) {
	for _, a := range []Action{Signal, Stream, Admin} {
		if back, ok := ParseAction(a.String()); !ok || back != a {
			t.Errorf("%v is read back as %v", a, back)
		}
		if (Identity{}).May(a) || !Anybody().May(a) || !(Identity{Actions: a}).May(a) || (Identity{Actions: All &^ a}).May(a) || !(Identity{Actions: a}).May(All) {
			t.Errorf("%v is not judged by itself", a)
		}
	}
	if _, ok := ParseAction("signal,stream"); ok || !(Identity{}).May(None) || All.String() != "signal,stream,admin" {
		t.Error("sets are not what they should be")
	}
}

// TestIdentityOfAContext: what was put into a context is found there, and nothing else.
func TestIdentityOfAContext(t *testing.T) {
	if _, ok := From(context.Background()); ok || Tenant(context.Background()) != "" {
		t.Error("somebody is known of nobody")
	}
	ctx := With(context.Background(), Identity{Tenant: "acme", Subject: "anna"})
	if i, ok := From(ctx); !ok || i.Subject != "anna" || Tenant(ctx) != "acme" {
		t.Errorf("got %+v, %v", i, ok)
	}
	now := time.Now()
	if (Identity{}).Expired(now) || !(Identity{Expires: now}).Expired(now) || (Identity{Expires: now.Add(1)}).Expired(now) {
		t.Error("the end is not where it should be")
	}
}
