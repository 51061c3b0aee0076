package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// fetch returns what an address answers.
func fetch(t *testing.T, url string) (int, http.Header, string) {
	t.Helper()
	return fetchBy(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: hang}, url)
}

// fetchBy does the same by a client.
func fetchBy(t *testing.T, client *http.Client, url string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

// TestLivePage shows a call on the page of --debug-addr: what is received, escaped, without a script; and profiles beside it, nowhere else.
func TestLivePage(t *testing.T) {
	const token = "s3cr3t-s3cr3t-s3cr3t"
	g := inProcess(t, func(c *config.Config) { c.DebugAddr, c.AuthToken = "127.0.0.1:0", token })
	conn, err := grpc.NewClient(g.GRPCAddr(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(bearer(token)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sessions, tracks := penstockv1.NewSessionServiceClient(conn), penstockv1.NewTrackServiceClient(conn)
	if _, err := sessions.CreateSession(t.Context(), &penstockv1.CreateSessionRequest{SessionId: "standup"}); err != nil {
		t.Fatal(err)
	}
	sfu, err := sfutest.New(sfutest.Config{Signaller: sfutest.GRPCSignaller{Client: sessions, SessionID: "standup"}, MSID: sfutest.MSIDStream})
	if err != nil {
		t.Fatal(err)
	}
	defer sfu.Close()
	camera := penstockv1.Source_SOURCE_CAMERA
	track, err := sfu.NewTrack(sfutest.Participant{ParticipantID: "alice", UserID: "alice"}, camera, clips.AliceCamera())
	if err != nil {
		t.Fatal(err)
	}
	if err := sfu.Publish(t.Context(), track); err != nil {
		t.Fatal(err)
	}
	hostile := `<script>alert("x")</script>`
	_, err = sessions.ReportEvents(t.Context(), &penstockv1.ReportEventsRequest{SessionId: "standup", Events: []*penstockv1.CallEvent{
		{Event: &penstockv1.CallEvent_TrackPublished{TrackPublished: &penstockv1.TrackPublished{Publication: &penstockv1.Publication{
			Participant: &penstockv1.Participant{ParticipantId: hostile, UserId: "u"}, Source: camera,
		}}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := tracks.StreamTrack(t.Context(), &penstockv1.StreamTrackRequest{SessionId: "standup", Selector: &penstockv1.TrackSelector{
		Selector: &penstockv1.TrackSelector_Participant{Participant: &penstockv1.ParticipantTrack{ParticipantId: "alice", Source: camera}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for frames := 0; frames < 3; {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetVideo() != nil {
			frames++
		}
	}
	code, header, page := fetch(t, "http://"+g.debugAddr+"/")
	for _, want := range []string{"standup", "<td>alice<td>camera<td>live<td>VP8", "&lt;script&gt;alert", "<td class=\"n\">1\n", "connections (gRPC, HTTP)</dt><dd>1, 0", "generation 1"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in the page", want)
		}
	}
	if code != http.StatusOK || strings.Contains(page, "<script") || strings.Contains(page, token) || !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%d %v\n%s", code, header, page)
	}
	if name := os.Getenv("PENSTOCK_TEST_PAGE"); name != "" { // to be looked at
		if err := os.WriteFile(name, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]int{"/debug/pprof/goroutine?debug=1": 200, "/debug/pprof/profile?seconds=1": 200, "/debug/pprof/heap": 200, "/other": 404} {
		if code, _, _ := fetch(t, "http://"+g.debugAddr+path); code != want {
			t.Errorf("%s answers %d, want %d", path, code, want)
		}
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap"} {
		if code, _, _ := fetch(t, "http://"+g.HTTPAddr()+path); code != http.StatusNotFound {
			t.Errorf("the HTTP address answers %s with %d", path, code)
		}
	}
}

// TestLivePageIsAskedForByAddress: by another name, to which a page of the web could have itself resolved, nothing is told.
func TestLivePageIsAskedForByAddress(t *testing.T) {
	reached := addressed(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for host, want := range map[string]int{
		"localhost": 204, "localhost:6060": 204, "127.0.0.1:6060": 204, "10.1.2.3": 204, "[::1]:6060": 204, "[::1]": 204,
		"evil.example": 421, "evil.example:6060": 421, "localhost.evil.example:6060": 421, "127.0.0.1.evil.example": 421, "": 421,
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		if reached.ServeHTTP(w, r); w.Code != want {
			t.Errorf("asked for as %q it answers %d, want %d", host, w.Code, want)
		}
	}
}

// TestNoLivePageUnlessAskedFor: by default there is no such listener.
func TestNoLivePageUnlessAskedFor(t *testing.T) {
	if g := inProcess(t, nil); g.debugAddr != "" {
		t.Errorf("it listens on %s", g.debugAddr)
	}
}

// bearer sends a token with each call.
type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (bearer) RequireTransportSecurity() bool { return false }
