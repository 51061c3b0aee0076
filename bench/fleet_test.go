package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFleet: a fleet's Redis counts its commands, its certificate is good for a connection, and nothing is left of it.
func TestFleet(t *testing.T) {
	ctx := testContext(t)
	f, err := (&bench{}).fleet(ctx, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.stop()
	before, err := f.commands(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := f.store.Ping(ctx).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if after, err := f.commands(ctx); err != nil || after < before+10 || after > before+12 {
		t.Errorf("from %d to %d commands, %v", before, after, err)
	}
	if _, err := tls.LoadX509KeyPair(f.ca, filepath.Join(f.dir, "key.pem")); err != nil {
		t.Error(err)
	}
	if creds, err := credentialsOf(f.ca); err != nil || creds.Info().SecurityProtocol != "tls" {
		t.Errorf("%v", err)
	}
	if creds, err := credentialsOf(""); err != nil || creds.Info().SecurityProtocol != "insecure" {
		t.Errorf("%v", err)
	}
	if _, err := credentialsOf(filepath.Join(f.dir, "key.pem")); !errors.Is(err, errUsage) {
		t.Errorf("a key for a certificate gives %v", err)
	}
	f.stop()
	if _, err := os.Stat(f.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", f.dir, err)
	}
}

func TestDifference(t *testing.T) {
	of := func(cpu time.Duration) outcome {
		return outcome{sample: sample{cpu: cpu, frames: 1000, wall: 10 * time.Second, rate: 100}}
	}
	if r := difference("X11", "w", 0.5, of(2500*time.Millisecond), of(2*time.Second)); r.Met == nil || !*r.Met || r.Ratio != 0.5 {
		t.Errorf("on the budget: %+v", r)
	}
	if r := difference("X11", "w", 0.5, of(2501*time.Millisecond), of(2*time.Second)); r.Met == nil || *r.Met {
		t.Errorf("over the budget: %+v", r)
	}
	if r := difference("X11", "w", 0.5, of(time.Second), outcome{err: errNotRun}); r.Met != nil || r.Missing == "" {
		t.Errorf("without the reference: %+v", r)
	}
}

func TestWriteAtRest(t *testing.T) {
	var out bytes.Buffer
	before := resting{commands: 60, podCPU: 300 * time.Millisecond, redisCPU: 100 * time.Millisecond, podRSS: 90e6, redisRSS: 10e6}
	after := before
	after.commands, after.podRSS = 90, 300e6
	if err := writeAtRest(&out, 10_000, 3, 10*time.Second, before, after); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"3 pods at rest for 10s", "with 10000", "2.00", "3.00", "1.00", "30.0", "100.0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
	for _, args := range [][]string{{"sessions", "-sessions", "0"}, {"sessions", "-pods", "0"}, {"sessions", "x"}} {
		if err := dispatch(t.Context(), args, nil, &out); !errors.Is(err, errUsage) {
			t.Errorf("%v gives %v", args, err)
		}
	}
}
