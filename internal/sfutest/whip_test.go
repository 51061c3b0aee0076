package sfutest_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

func TestWHIPPublisher(t *testing.T) {
	r := newReceiver(t)
	deleted := 0
	mux := http.NewServeMux()
	mux.HandleFunc("POST /whip/call", func(w http.ResponseWriter, request *http.Request) {
		offer, err := io.ReadAll(request.Body)
		if err != nil || request.Header.Get("Content-Type") != "application/sdp" || request.Header.Get("Authorization") != "Bearer secret" {
			http.Error(w, "not as RFC 9725 has it", http.StatusBadRequest)
			return
		}
		answer, err := r.answer(1, r.pc, string(offer))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/sdp")
		w.Header().Set("Location", "call/1")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, answer)
	})
	mux.HandleFunc("DELETE /whip/call/1", func(http.ResponseWriter, *http.Request) { deleted++ })
	server := httptest.NewServer(mux)
	defer server.Close()

	ctx := testContext(t)
	cfg := sfutest.WHIPConfig{URL: server.URL + "/whip/call", Token: "secret", Client: server.Client(), Clips: []clips.Clip{clips.BobCamera(), clips.BobMicrophone()}}
	publisher, err := sfutest.PublishWHIP(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	marks := map[int]bool{}
	for range 2 {
		found, err := mark(r.next(t))
		if err != nil {
			t.Fatal(err)
		}
		marks[found] = true
	}
	if !marks[clips.BobCamera().Watermark] || !marks[clips.BobMicrophone().ToneHz] {
		t.Errorf("marks %v", marks)
	}
	<-publisher.Connected()
	if publisher.Resource() != server.URL+"/whip/call/1" {
		t.Errorf("resource %s", publisher.Resource())
	}
	if err := publisher.Close(ctx); err != nil || deleted != 1 {
		t.Errorf("close: %v, %d DELETE", err, deleted)
	}

	cfg.Token = "wrong"
	if _, err := sfutest.PublishWHIP(ctx, cfg); !errors.Is(err, sfutest.ErrWHIP) {
		t.Errorf("wrong token: %v", err)
	}
	if _, err := sfutest.PublishWHIP(ctx, sfutest.WHIPConfig{}); !errors.Is(err, sfutest.ErrConfig) {
		t.Errorf("empty configuration: %v", err)
	}
}
