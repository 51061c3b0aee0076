package main

import (
	"errors"
	"io"
	"testing"
	"time"
)

func TestGrown(t *testing.T) {
	samples := func(quarters ...int64) (all []int64) {
		for _, q := range quarters {
			all = append(all, q-1, 10*q, q, q, 0) // the median bears what is far out
		}
		return all
	}
	for name, test := range map[string]struct {
		resident []int64
		length   time.Duration
		err      error
	}{
		"flat":             {samples(10, 1000, 1000, 1000), time.Hour, nil},
		"less":             {samples(10, 1000, 1000, 100), time.Hour, nil},
		"within the bound": {samples(10, 1000, 1030, 1050), time.Hour, nil},
		"grows":            {samples(1000, 1000, 1030, 1051), time.Hour, errGrows},
		"short":            {samples(10, 1000, 1030, 1250), time.Minute, nil},
		"short, and grows": {samples(10, 1000, 1030, 1600), time.Minute, errGrows},
		"no samples":       {nil, time.Hour, errUnreliable},
	} {
		t.Run(name, func(t *testing.T) {
			second, last, err := grown(test.resident, test.length)
			if !errors.Is(err, test.err) {
				t.Errorf("%d %d %v", second, last, err)
			}
			if err == nil && second != 1000 {
				t.Errorf("the second quarter is %d", second)
			}
		})
	}
}

func TestSoakIsLongEnoughForAStall(t *testing.T) {
	for _, args := range [][]string{{"soak", "-for", "1s"}, {"soak", "more"}, {"soak", "-for", "long"}} {
		if err := dispatch(testContext(t), args, nil, io.Discard); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}
