package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// sessionServer answers what the generator asks of the gateway, and keeps it.
type sessionServer struct {
	penstockv1.UnimplementedSessionServiceServer
	mu     sync.Mutex
	events []*penstockv1.CallEvent
	drop   bool
}

func (s *sessionServer) CreateSession(context.Context, *penstockv1.CreateSessionRequest) (*penstockv1.CreateSessionResponse, error) {
	return &penstockv1.CreateSessionResponse{}, nil
}

func (s *sessionServer) ReportEvents(_ context.Context, r *penstockv1.ReportEventsRequest) (*penstockv1.ReportEventsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = r.GetEvents()
	return &penstockv1.ReportEventsResponse{}, nil
}

func (s *sessionServer) Negotiate(_ context.Context, r *penstockv1.NegotiateRequest) (*penstockv1.NegotiateResponse, error) {
	if s.drop {
		dropped := &penstockv1.Dropped{Message: "too late"}
		return &penstockv1.NegotiateResponse{Result: &penstockv1.NegotiateResponse_Dropped{Dropped: dropped}}, nil
	}
	answer := &penstockv1.Answer{Sdp: "answer to " + r.GetSdp()}
	return &penstockv1.NegotiateResponse{Result: &penstockv1.NegotiateResponse_Answer{Answer: answer}}, nil
}

func TestOfferSession(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sessions := &sessionServer{}
	server := grpc.NewServer()
	penstockv1.RegisterSessionServiceServer(server, sessions)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	defer serving.Wait()
	defer server.Stop()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	s, err := newSender(load{kind: "audio", sessions: 1, tracks: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.close() }()
	offer := offerSession(penstockv1.NewSessionServiceClient(conn), s.load, "bench-0")
	answer, err := offer(testContext(t), "offer", s.tracks)
	if err != nil || answer != "answer to offer" {
		t.Fatalf("%q %v", answer, err)
	}
	if n := len(sessions.events); n != 2 {
		t.Fatalf("%d events", n)
	}
	if p := sessions.events[1].GetTrackPublished().GetPublication(); p.GetParticipant().GetParticipantId() != "publisher-1" ||
		p.GetSource() != penstockv1.Source_SOURCE_MICROPHONE || p.GetTrackId() != "track-1" {
		t.Errorf("published: %v", p)
	}
	sessions.drop = true
	if _, err := offer(testContext(t), "offer", s.tracks); !errors.Is(err, errChild) || !strings.Contains(err.Error(), "too late") {
		t.Errorf("a dropped offer: %v", err)
	}
}

func TestPostOffer(t *testing.T) {
	answer := `{"sdp":"answer","type":"answer"}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s of %s", r.Method, r.Header.Get("Content-Type"))
		}
		_, _ = w.Write([]byte(answer))
	}))
	defer server.Close()
	defer http.DefaultClient.CloseIdleConnections()
	if got, err := postOffer(server.URL)(testContext(t), "offer", nil); err != nil || got != "answer" {
		t.Errorf("%q %v", got, err)
	}
	answer = "500: internal error"
	if _, err := postOffer(server.URL)(testContext(t), "offer", nil); !errors.Is(err, errChild) {
		t.Errorf("no answer: %v", err)
	}
}

// TestKept: a decoder that did not keep its pace is no reference.
func TestKept(t *testing.T) {
	for script, want := range map[string]error{
		"head -c 1 >/dev/null; echo frame=10; echo frame= 600": nil,
		"head -c 1 >/dev/null; echo frame=300":                 errUnreliable,
		"head -c 1 >/dev/null; echo nothing":                   errUnreliable,
	} {
		d, err := start("decoder", "/bin/sh", "-c", script)
		if err != nil {
			t.Fatal(err)
		}
		if err := kept(d, 610, 30); !errors.Is(err, want) {
			t.Errorf("%q: %v", script, err)
		}
		d.stop()
	}
}

// TestAbsentReference: what is not installed is said plainly, and is no failure of the rest.
func TestAbsentReference(t *testing.T) {
	b := &bench{python: "/no/such/python", log: io.Discard, rounds: 2, window: window{0, time.Second}}
	t.Setenv("PATH", t.TempDir())
	one, there := load{kind: "video", sessions: 1, tracks: 1}, sample{cpu: time.Second, frames: 30, wall: time.Second, rate: 30}
	o := b.inTurn([]measurement{
		{"aiortc", func() (sample, error) { return b.throughAiortc(testContext(t), one) }},
		{"ffmpeg", func() (sample, error) { return b.pacedDecode(testContext(t), one) }},
		{"what is there", func() (sample, error) { return there, nil }},
	})
	if !errors.Is(o[0].err, errNotRun) {
		t.Errorf("no Python: %v", o[0].err)
	}
	if s := o[2].sample; o[2].err != nil || s.frames != 60 || s.perFrame() != time.Second/30 || s.share() != 1 {
		t.Errorf("two rounds of what is there: %+v", o[2])
	}
	if r := plain("decode", o[1]); !errors.Is(o[1].err, errNotRun) || !strings.Contains(r.Missing, "no ffmpeg") {
		t.Errorf("no ffmpeg: %+v", r)
	}
	if notes := strings.Join(b.notes(), "\n"); !strings.Contains(notes, "rows are tight") || !strings.Contains(notes, "kbit/s") {
		t.Errorf("notes: %s", notes)
	}
	if machine() == "" || lastLine([]byte("a\nb\n")) != "b" {
		t.Error("the machine has no name, or the last line is not found")
	}
}
