package network

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

const hang = 30 * time.Second // within which every wait of these tests ends

// testNetwork opens a network on loopback that is closed with the test.
func testNetwork(t *testing.T, cfg Config) *Network {
	t.Helper()
	cfg.Logger, cfg.Loopback, cfg.ConsentTimeout = slog.New(slog.DiscardHandler), true, 15*time.Second
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func TestNothingIsSharedUnlessConfigured(t *testing.T) {
	w := testNetwork(t, Config{})
	if w.names != nil || w.tcp != nil || len(w.ports) > 0 {
		t.Errorf("a socket is open: names %v, TCP %v, %d UDP ports", w.names, w.tcp, len(w.ports))
	}
	n := w.NewPeer(t.Context(), nil)
	n.Join(nil)
	defer n.Leave()
	if n.shared != nil || w.Stats() != (Stats{}) {
		t.Errorf("shared %v, counted %+v", n.shared, w.Stats())
	}
}
