package service

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/connector/whip"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// whipOfPod serves a pod's WHIP endpoint over real HTTP, and returns its address.
func (p *pod) whipOfPod() string {
	p.t.Helper()
	h, err := whip.New(whip.Config{
		Sessions: p.svc.WHIP(), Elsewhere: p.svc.WHIPElsewhere, Logger: p.svc.cfg.Logger, MaxBodyBytes: 64 << 10,
		Authorize: func(r *http.Request, session string) (context.Context, error) {
			if r.Header.Get("Authorization") == "Bearer wrong" {
				return nil, whip.ErrUnauthorized
			}
			return p.svc.AuthorizeWHIP(r, session)
		},
	})
	must(p.t, err)
	p.svc.HandleWHIP(h)
	s := httptest.NewServer(h)
	p.t.Cleanup(s.Close)
	return s.URL + "/whip/"
}

// answered makes a request, and returns all of the answer but what tells the time and the server.
func (p *pod) answered(method, url, contentType, ifMatch, body string) string {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.ctx, method, url, strings.NewReader(body))
	must(p.t, err)
	r.Header.Set("Content-Type", contentType)
	if ifMatch != "" {
		r.Header.Set("If-Match", ifMatch)
	}
	if contentType == "wrong token" {
		r.Header.Set("Authorization", "Bearer wrong")
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	a, err := (&http.Client{Transport: transport}).Do(r)
	must(p.t, err)
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	must(p.t, err)
	a.Header.Del("Date")
	return fmt.Sprint(a.StatusCode, " ", a.Header, " ", string(text))
}

// between sends a publisher's requests to the pod that is its turn, and keeps what it is told.
type between struct {
	*http.Transport
	host          string
	location, tag string
}

// RoundTrip implements http.RoundTripper.
func (b *between) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Host, r.Host = b.host, b.host
	a, err := b.Transport.RoundTrip(r)
	if err == nil && a.StatusCode == http.StatusCreated {
		b.location, b.tag = a.Header.Get("Location"), a.Header.Get("ETag")
	}
	return a, err
}

// hostOf returns the host of a URL.
func hostOf(t *testing.T, s string) string {
	t.Helper()
	u, err := url.Parse(s)
	must(t, err)
	return u.Host
}

// TestP1_WHIPOnEveryPod publishes by one pod into a session of another, and has each pod serve what a publisher can ask: pictures come on every pod, what is refused is refused in the same words and
// header fields as by the owner, an ICE session that was replaced by way of one pod is known to be so on every other, and a publication ends by the third.
func TestP1_WHIPOnEveryPod(t *testing.T) {
	pods := startSteadyPods(t, 3, func(c *Config) { c.WHIPCreate = true })
	known(pods)
	var urls []string
	for _, p := range pods {
		urls = append(urls, p.whipOfPod())
	}
	way := &between{Transport: &http.Transport{}, host: hostOf(t, urls[1])}
	defer way.CloseIdleConnections()
	pods[0].create("studio")
	publisher, err := sfutest.PublishWHIP(pods[0].ctx, sfutest.WHIPConfig{URL: urls[0] + "studio?user=bob", Clips: []clips.Clip{clips.BobCamera()}, Client: &http.Client{Transport: way}})
	must(t, err)
	if n := pods[1].svc.Sessions(); n != 0 {
		t.Fatal("the session is not where it was created")
	}
	const fragment = "application/trickle-ice-sdpfrag"
	resource := strings.TrimPrefix(way.location, "/whip/")
	var wanted []string
	for i, at := range pods {
		r := at.open(&penstockv1.StreamTrackRequest{SessionId: "studio", Selector: byParticipant("bob", camera)})
		wantVideo(t, r, clips.BobCamera())
		r.cancel()
		for j, got := range []string{
			at.answered("POST", urls[i]+"studio", "application/sdp", "", "v=0\r\n"),
			at.answered("POST", urls[i]+"studio", "text/plain", "", "v=0\r\n"),
			at.answered("POST", urls[i]+"studio", "application/sdp", "", strings.Repeat("v", 100<<10)),
			at.answered("POST", urls[i]+"studio?user=!", "application/sdp", "", "v=0\r\n"),
			at.answered("POST", urls[i]+"studio", "wrong token", "", "v=0\r\n"),
			at.answered("POST", urls[i]+"other", "application/sdp", "", "no SDP"),
			at.answered("PATCH", urls[i]+resource, fragment, "", "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n"),
			at.answered("PATCH", urls[i]+resource, fragment, `"stale"`, "a=end-of-candidates\r\n"),
			at.answered("PATCH", urls[i]+resource, fragment, "*", "a=ice-ufrag:x\r\n"),
			at.answered("PATCH", urls[i]+resource+"x", fragment, "*", "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"),
			at.answered("DELETE", urls[i]+resource+"x", "", "", ""),
			at.answered("DELETE", urls[i]+"nowhere/x", "", "", ""),
			at.answered("PUT", urls[i]+resource, "", "", ""),
		} {
			switch {
			case got[0] != '4' || !strings.Contains(got, `"detail":"`):
				t.Errorf("request %d at pod %d is not refused: %s", j, i, got)
			case i == 0:
				wanted = append(wanted, got)
			case got != wanted[j]:
				t.Errorf("request %d: pod %d answers\n%s\nthe owner\n%s", j, i, got, wanted[j])
			}
		}
		if got := at.answered("PATCH", urls[i]+resource, fragment, way.tag, "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n"); !strings.HasPrefix(got, "204 ") {
			t.Errorf("pod %d takes no candidate: %s", i, got)
		}
	}
	if got := pods[1].answered("PATCH", urls[1]+resource, fragment, "*", "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"); !strings.HasPrefix(got, "200 ") || !strings.Contains(got, "a=ice-ufrag:") {
		t.Errorf("ICE does not restart by way of another pod: %s", got)
	}
	for i, at := range pods {
		if got := at.answered("PATCH", urls[i]+resource, fragment, way.tag, "a=end-of-candidates\r\n"); !strings.HasPrefix(got, "412 ") {
			t.Errorf("pod %d takes what is of the ICE session before: %s", i, got)
		}
	}
	way.host = hostOf(t, urls[2])
	must(t, publisher.Close(pods[0].ctx))
	for i, at := range pods {
		if got := at.answered("DELETE", urls[i]+resource, "", "", ""); !strings.HasPrefix(got, "404 ") {
			t.Errorf("ended twice at pod %d: %s", i, got)
		}
	}
}

// TestP1_APublishersSessionIsPlaced: a pod that is full, or drains, has another one create the session that a publisher asks for there.
func TestP1_APublishersSessionIsPlaced(t *testing.T) {
	full := 0
	pods := startSteadyPods(t, 2, func(c *Config) {
		c.WHIPCreate, c.Limits.Sessions = true, []int{1, 10}[full]
		full++
	})
	endpoint := pods[0].whipOfPod()
	pods[1].whipOfPod()
	known(pods)
	pods[0].create("first")
	for _, id := range []string{"a", "b"} {
		_, err := pods[0].publishWHIP(endpoint+id, clips.BobCamera())
		must(t, err)
	}
	if here, there := pods[0].svc.Sessions(), pods[1].svc.Sessions(); here != 1 || there != 2 {
		t.Errorf("%d sessions are here, %d there", here, there)
	}
	if got := pods[1].answered("POST", endpoint+"a", "application/sdp", "", "v=0\r\n"); !strings.HasPrefix(got, "409 ") {
		t.Errorf("a second publisher: %s", got)
	}
}
