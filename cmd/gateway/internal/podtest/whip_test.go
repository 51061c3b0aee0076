package podtest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// recorder notes what a publisher's POST said and was answered.
type recorder struct {
	offer, etag string
}

// RoundTrip implements http.RoundTripper.
func (r *recorder) RoundTrip(q *http.Request) (*http.Response, error) {
	if q.Method == http.MethodPost {
		b, err := io.ReadAll(q.Body)
		if err != nil {
			return nil, err
		}
		r.offer, q.Body = string(b), io.NopCloser(bytes.NewReader(b))
	}
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := transport.RoundTrip(q)
	if err == nil && q.Method == http.MethodPost {
		r.etag = response.Header.Get("ETag")
	}
	return response, err
}

// TestP1_WHIPWorksOnEveryPod: a publisher's POST comes to another pod than the owner, its PATCH (candidates, and a restart of ICE) to a
// third, workers read from each, and DELETE comes to the first.
func TestP1_WHIPWorksOnEveryPod(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	id := c.createAt(c.pods[0], "studio")
	record := &recorder{}
	publisher, err := sfutest.PublishWHIP(c.ctx, sfutest.WHIPConfig{
		URL: "http://" + c.pods[1].http + "/whip/" + id, Clips: []clips.Clip{camera()}, Client: &http.Client{Transport: record},
	})
	must(t, err)
	closed := false
	defer func() {
		if !closed {
			_ = publisher.Close(context.Background())
		}
	}()
	var workers []*worker
	for _, p := range c.pods {
		workers = append(workers, c.work("at "+p.name, p.clients, id, "whip", penstockv1.Source_SOURCE_CAMERA))
	}
	for _, w := range workers {
		w.awaitFrames(5)
	}
	elsewhere := strings.Replace(publisher.Resource(), c.pods[1].http, c.pods[2].http, 1)
	credentials := regexp.MustCompile(`a=ice-(ufrag|pwd):.*`).FindAllString(record.offer, 2)
	trickle := strings.Join(credentials, "\n") + "\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=end-of-candidates\r\n"
	if code, _, body := patch(c.ctx, t, elsewhere, record.etag, trickle); code != http.StatusNoContent {
		t.Errorf("candidates at another pod: %d %s", code, body)
	}
	const restart = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
	code, etag, body := patch(c.ctx, t, elsewhere, "*", restart)
	if code != http.StatusOK || !strings.Contains(body, "a=ice-ufrag:") || etag == "" || etag == record.etag {
		t.Errorf("a restart at another pod: %d %q %s", code, etag, body)
	}
	if code, _, body := patch(c.ctx, t, publisher.Resource(), record.etag, trickle); code != http.StatusPreconditionFailed {
		t.Errorf("candidates of before the restart, at the pod that was asked for the publication: %d %s", code, body)
	}
	closed = true
	must(t, publisher.Close(c.ctx))
	for _, w := range workers {
		if err := w.end(); err != nil {
			t.Errorf("worker %s: after the publication the stream ends with %v", w.name, err)
		}
		w.judge(camera().Watermark)
	}
	if code, _, body := patch(c.ctx, t, elsewhere, "*", restart); code != http.StatusNotFound {
		t.Errorf("after the publication: %d %s", code, body)
	}
}
