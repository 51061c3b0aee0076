package cmem

import (
	"slices"
	"sync"
	"testing"
)

func TestLiveShowsWhatIsHeld(t *testing.T) {
	if live := Live(); len(live) != 0 {
		t.Fatalf("at the start: %+v", live)
	}
	Add(Encoder, 2, 100)
	Add(Picture, 1, 7)
	want := []Usage{{Picture, 1, 7}, {Encoder, 2, 100}}
	if live := Live(); !slices.Equal(live, want) {
		t.Errorf("%+v, want %+v", live, want)
	}
	Add(Encoder, -2, -100)
	Add(Picture, -1, -7)
	if live := Live(); len(live) != 0 {
		t.Errorf("at the end: %+v", live)
	}
}

func TestAddConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				Add(Decoder, 1, 3)
				Add(Decoder, -1, -3)
			}
		})
	}
	wg.Wait()
	if live := Live(); len(live) != 0 {
		t.Errorf("left: %+v", live)
	}
}

func TestKindNames(t *testing.T) {
	for k := range kinds {
		if names[k] == "" || k.String() != names[k] || Counter(k) == nil {
			t.Errorf("kind %d: %q", k, k)
		}
	}
	if got := Kind(99).String(); got != "kind(99)" {
		t.Error(got)
	}
}
