//go:build e2e

package e2e

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

//go:embed publish.html
var publishPage []byte

// report is what the page tells.
type report struct {
	Event  string `json:"event"`
	Detail string `json:"detail"`
}

// browser is a Chromium that publishes by itself.
type browser struct {
	reports chan report
	seen    []report
	stop    chan struct{}
	stderr  *logBuffer
}

// publish starts Chromium on a page that publishes with the codecs to the WHIP endpoint.
func publish(t *testing.T, whip, audio, video string) *browser {
	t.Helper()
	b := &browser{reports: make(chan report, 256), stop: make(chan struct{}), stderr: &logBuffer{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write(publishPage)
	})
	mux.HandleFunc("POST /report", func(_ http.ResponseWriter, r *http.Request) {
		var said report
		if err := json.NewDecoder(r.Body).Decode(&said); err != nil {
			said = report{"failed", "unreadable report: " + err.Error()}
		}
		select {
		case b.reports <- said:
		default: // the test looks no more
		}
	})
	mux.HandleFunc("POST /stop", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-b.stop:
		case <-r.Context().Done():
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.CloseClientConnections)
	t.Cleanup(server.Close)

	page := fmt.Sprintf("%s/?%s", server.URL, url.Values{"whip": {whip}, "audio": {audio}, "video": {video}}.Encode())
	cmd := exec.Command(program(t, "CHROMIUM", "chromium", "google-chrome"),
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
		"--allow-loopback-in-peer-connection", "--user-data-dir="+t.TempDir(), page)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout, cmd.Stderr = b.stderr, b.stderr
	cmd.WaitDelay = 5 * time.Second // its children hold the pipes for a moment longer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the group, which is its own
		_ = cmd.Wait()
	})
	return b
}

// wait returns the detail of the first report of an event that fits, whether it has come already or comes.
func (b *browser) wait(t *testing.T, event string, fits func(detail string) bool) string {
	t.Helper()
	wanted := func(r report) bool { return r.Event == event && (fits == nil || fits(r.Detail)) }
	if i := slices.IndexFunc(b.seen, wanted); i >= 0 {
		return b.seen[i].Detail
	}
	limit := time.NewTimer(hang)
	defer limit.Stop()
	for {
		select {
		case r := <-b.reports:
			b.seen = append(b.seen, r)
			if wanted(r) {
				return r.Detail
			}
			if r.Event == "failed" {
				t.Fatalf("the page failed: %s\n%s", r.Detail, b.stderr)
			}
		case <-limit.C:
			t.Fatalf("the page did not report %q, only %v\n%s", event, b.seen, b.stderr)
		}
	}
}
