package whip

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool"
)

func TestC1_PublishAndDelete(t *testing.T) {
	s := newServer(t, func(c *Config) {
		c.ICEServers = []rtcpool.ICEServer{{URLs: []string{"turn:turn.example.net"}, Username: `u"1`, Credential: "secret"}, {URLs: []string{"stun:stun.example.net"}}}
	})
	p := newPublisher(t)
	r := p.publish(s, "/whip/room-1?user=alice&participant=p1", p.offer(false, true))
	if r.header.Get("Content-Type") != typeSDP || r.header.Get("Accept-Patch") != typeFragment {
		t.Errorf("headers: %v", r.header)
	}
	if !strings.HasPrefix(p.location, "/whip/room-1/") || !strings.HasPrefix(p.tag, `"`) || strings.HasPrefix(p.tag, "W/") {
		t.Errorf("Location %q, ETag %q", p.location, p.tag)
	}
	links := strings.Join(r.header.Values("Link"), "\n")
	want := `<turn:turn.example.net>; rel="ice-server"; username="u\"1"; credential="secret"; credential-type="password"` + "\n" + `<stun:stun.example.net>; rel="ice-server"`
	if links != want {
		t.Errorf("Link: %s", links)
	}
	if s.gateway.last != (Publisher{UserID: "alice", ParticipantID: "p1"}) {
		t.Errorf("publisher: %+v", s.gateway.last)
	}
	if strings.Count(r.body, "a=recvonly") != 2 || !strings.Contains(r.body, "a=candidate:") {
		t.Errorf("answer:\n%s", r.body)
	}
	more(t, s.gateway.flowing(t, media.KindVideo))
	more(t, s.gateway.flowing(t, media.KindAudio))

	if r := s.call(t, "DELETE", p.location, ""); r.status != 200 {
		t.Errorf("DELETE: %d %s", r.status, r.body)
	}
	if s.gateway.pool.Session("room-1") != nil {
		t.Error("the session lives on")
	}
	if r := s.call(t, "DELETE", p.location, ""); r.status != 404 {
		t.Errorf("second DELETE: %d", r.status)
	}
}

func TestC1_StereoOpusIsAskedFor(t *testing.T) {
	s := newServer(t, nil)
	p := newPublisher(t)
	r := p.publish(s, "/whip/s", p.offer(false, true))
	for line := range strings.Lines(r.body) {
		if strings.HasPrefix(line, "a=fmtp:111 ") {
			if !strings.Contains(line, "stereo=1") || !strings.Contains(line, "useinbandfec=1") {
				t.Error(line)
			}
			return
		}
	}
	t.Errorf("no format parameters of Opus:\n%s", r.body)
}

func TestC1_TricklesCandidates(t *testing.T) {
	s := newServer(t, nil)
	p := newPublisher(t)
	offer := p.offer(false, false)
	if strings.Contains(offer, "a=candidate") {
		t.Fatal("the offer holds candidates already")
	}
	p.publish(s, "/whip/s", offer)
	r := s.call(t, "PATCH", p.location, p.fragment(), "Content-Type", typeFragment, "If-Match", p.tag)
	if r.status != 204 || r.body != "" {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if len(s.gateway.trickled) == 0 || !s.gateway.ended || *s.gateway.trickled[0].MID != "0" {
		t.Errorf("%+v, end %v", s.gateway.trickled, s.gateway.ended)
	}
	more(t, s.gateway.flowing(t, media.KindVideo))
}

func TestC1_RestartsICE(t *testing.T) {
	s := newServer(t, nil)
	p := newPublisher(t)
	p.publish(s, "/whip/s", p.offer(false, true))
	video := s.gateway.flowing(t, media.KindVideo)
	old, oldFragment, oldAnswer := p.tag, p.fragment(), readCredentials(p.answer)

	for _, match := range []string{"*", `"*"`} {
		p.offer(true, true)
		r := s.call(t, "PATCH", p.location, p.fragment(), "Content-Type", typeFragment, "If-Match", match)
		if r.status != 200 || r.header.Get("Content-Type") != typeFragment || r.header.Get("ETag") == p.tag {
			t.Fatalf("%d %v %s", r.status, r.header, r.body)
		}
		fresh := readCredentials(r.body)
		if fresh.ufrag == "" || fresh.ufrag == oldAnswer.ufrag || fresh.pwd == "" || !strings.Contains(r.body, "a=candidate:") {
			t.Fatalf("fragment:\n%s", r.body)
		}
		p.tag = r.header.Get("ETag")
		present := readCredentials(p.answer)
		p.accept(strings.NewReplacer(present.ufrag, fresh.ufrag, present.pwd, fresh.pwd).Replace(p.answer))
		more(t, video)
	}
	if r := s.call(t, "PATCH", p.location, oldFragment, "Content-Type", typeFragment, "If-Match", old); r.status != 412 {
		t.Errorf("the tag of the replaced ICE session: %d", r.status)
	}
	if r := s.call(t, "PATCH", p.location, p.fragment(), "Content-Type", typeFragment, "If-Match", "*"); r.status != 204 {
		t.Errorf("the present credentials restart nothing: %d", r.status)
	}
	if m := s.gateway.flowing(t, media.KindVideo); m.ID != video.ID {
		t.Errorf("was %+v, is %+v", video, m)
	}
}

func TestC1_PatchNeedsItsPreconditions(t *testing.T) {
	s := newServer(t, nil)
	p := newPublisher(t)
	p.publish(s, "/whip/s", p.offer(false, true))
	good := p.fragment()
	other := "a=ice-ufrag:other\r\na=ice-pwd:0123456789012345678901\r\n"
	elsewhere := "/whip/t" + strings.TrimPrefix(p.location, "/whip/s")
	for _, c := range []struct {
		name, path, body, contentType, match string
		want                                 int
	}{
		{"no If-Match", p.location, good, typeFragment, "", 428},
		{"another tag", p.location, good, typeFragment, `"else"`, 412},
		{"a list with the tag", p.location, good, typeFragment, `"else", ` + p.tag, 204},
		{"new credentials, old tag", p.location, other, typeFragment, p.tag, 422},
		{"wrong content type", p.location, good, typeSDP, p.tag, 415},
		{"no content type", p.location, good, "", p.tag, 415},
		{"not a fragment", p.location, "hello\r\n", typeFragment, p.tag, 400},
		{"restart without password", p.location, "a=ice-ufrag:abcd\r\n", typeFragment, "*", 400},
		{"restart with bad credentials", p.location, "a=ice-ufrag:ab\r\na=ice-pwd:c\r\n", typeFragment, "*", 400},
		{"another resource", "/whip/s/other", "a=end-of-candidates\r\n", typeFragment, `"x"`, 404},
		{"another session", "/whip/t/other", other, typeFragment, "*", 404},
		{"the resource in another session", elsewhere, good, typeFragment, `"else"`, 404},
		{"new credentials for it", elsewhere, other, typeFragment, p.tag, 404},
		{"a restart of it", elsewhere, good, typeFragment, "*", 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := s.call(t, "PATCH", c.path, c.body, "Content-Type", c.contentType, "If-Match", c.match)
			if r.status != c.want {
				t.Errorf("%d, want %d: %s", r.status, c.want, r.body)
			}
			if c.want >= 400 {
				checkProblem(t, r)
			}
		})
	}
}

// A gateway that never saw the publication's tag checks it by the credentials of the fragment.
func TestC1_TagOfAnotherGateway(t *testing.T) {
	s := newServer(t, nil)
	p := newPublisher(t)
	p.publish(s, "/whip/s", p.offer(false, true))
	h, err := New(Config{Sessions: s.gateway})
	if err != nil {
		t.Fatal(err)
	}
	other := &server{Server: httptest.NewServer(h), gateway: s.gateway}
	t.Cleanup(other.Close)
	for tag, want := range map[string]int{p.tag: 204, `"else"`: 412, "": 428} {
		r := other.call(t, "PATCH", p.location, p.fragment(), "Content-Type", typeFragment, "If-Match", tag)
		if r.status != want {
			t.Errorf("%s: %d, want %d: %s", tag, r.status, want, r.body)
		}
	}
}

func TestC1_OptionsAndCORS(t *testing.T) {
	s := newServer(t, nil)
	r := s.call(t, "OPTIONS", "/whip/s", "", "Origin", "https://page.example", "Access-Control-Request-Method", "POST")
	if r.status != 204 || r.header.Get("Accept-Post") != typeSDP || r.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%d %v", r.status, r.header)
	}
	if m := r.header.Get("Access-Control-Allow-Methods"); !strings.Contains(m, "POST") {
		t.Errorf("methods %q", m)
	}
	if h := r.header.Get("Access-Control-Allow-Headers"); !strings.Contains(h, "Authorization") || !strings.Contains(h, "If-Match") {
		t.Errorf("headers %q", h)
	}
	r = s.call(t, "OPTIONS", "/whip/s/r", "", "Origin", "https://page.example")
	if m := r.header.Get("Access-Control-Allow-Methods"); !strings.Contains(m, "PATCH") || !strings.Contains(m, "DELETE") || r.header.Get("Accept-Patch") != typeFragment {
		t.Errorf("%d %v", r.status, r.header)
	}
	r = s.call(t, "POST", "/whip/s", "", "Origin", "https://page.example")
	for _, name := range []string{"Location", "ETag", "Link"} {
		if !strings.Contains(r.header.Get("Access-Control-Expose-Headers"), name) {
			t.Errorf("%s is not exposed: %v", name, r.header)
		}
	}
}

func TestC1_OriginsCanBeLimited(t *testing.T) {
	s := newServer(t, func(c *Config) { c.AllowedOrigins = []string{"https://good.example"} })
	for origin, want := range map[string]string{"https://good.example": "https://good.example", "https://bad.example": "", "": ""} {
		r := s.call(t, "OPTIONS", "/whip/s", "", "Origin", origin)
		if got := r.header.Get("Access-Control-Allow-Origin"); got != want || r.header.Get("Vary") != "Origin" {
			t.Errorf("%q: %q, %v", origin, got, r.header)
		}
	}
}

func TestC1_OtherMethodsAreRefused(t *testing.T) {
	s := newServer(t, nil)
	for path, methods := range map[string][]string{
		"/whip/s":   {"GET", "HEAD", "PUT", "PATCH", "DELETE"},
		"/whip/s/r": {"GET", "HEAD", "PUT", "POST"},
	} {
		for _, method := range methods {
			r := s.call(t, method, path, "")
			if r.status != 405 || r.header.Get("Allow") == "" {
				t.Errorf("%s %s: %d %v", method, path, r.status, r.header)
			}
			if method != "HEAD" {
				checkProblem(t, r)
			}
		}
	}
	if r := s.call(t, "GET", "/elsewhere", ""); r.status != 404 {
		t.Errorf("%d", r.status)
	}
}

func TestC1_Bearer(t *testing.T) {
	s := newServer(t, func(c *Config) {
		c.Authorize = func(r *http.Request, session string) (context.Context, error) {
			switch r.Header.Get("Authorization") {
			case "Bearer for-" + session:
				return r.Context(), nil
			case "":
				return nil, fmt.Errorf("checking the token: %w", ErrUnauthorized)
			}
			return nil, ErrForbidden
		}
	})
	p := newPublisher(t)
	offer := p.offer(false, true)
	r := s.call(t, "POST", "/whip/s", offer, "Content-Type", typeSDP)
	if r.status != 401 || !strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Bearer") {
		t.Errorf("%d %v", r.status, r.header)
	}
	checkProblem(t, r)
	if r := s.call(t, "POST", "/whip/s", offer, "Content-Type", typeSDP, "Authorization", "Bearer for-t"); r.status != 403 {
		t.Errorf("%d", r.status)
	}
	p.publish(s, "/whip/s", offer, "Authorization", "Bearer for-s")
	for _, method := range []string{"PATCH", "DELETE"} {
		if r := s.call(t, method, p.location, ""); r.status != 401 {
			t.Errorf("%s: %d", method, r.status)
		}
	}
}

func TestC1_SecondPublisherConflicts(t *testing.T) {
	s := newServer(t, nil)
	first, second := newPublisher(t), newPublisher(t)
	first.publish(s, "/whip/s", first.offer(false, true))
	offer := second.offer(false, true)
	r := s.call(t, "POST", "/whip/s", offer, "Content-Type", typeSDP)
	if r.status != 409 {
		t.Errorf("%d %s", r.status, r.body)
	}
	checkProblem(t, r)
	more(t, s.gateway.flowing(t, media.KindVideo))
	s.call(t, "DELETE", first.location, "")
	second.publish(s, "/whip/s", offer)
}

func TestC1_BadRequests(t *testing.T) {
	s := newServer(t, func(c *Config) { c.MaxBodyBytes = 20_000 })
	noMedia := "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
	for _, c := range []struct {
		name, path, body, contentType string
		want                          int
	}{
		{"not an SDP", "/whip/s", "hello", typeSDP, 400},
		{"empty", "/whip/s", "", typeSDP, 400},
		{"no media", "/whip/s", noMedia, typeSDP, 422},
		{"wrong content type", "/whip/s", noMedia, "text/plain", 415},
		{"no content type", "/whip/s", noMedia, "", 415},
		{"bad content type", "/whip/s", noMedia, "a/b/c;;", 415},
		{"too large", "/whip/s", strings.Repeat("a", 20_001), typeSDP, 413},
		{"bad session id", "/whip/a%20b", noMedia, typeSDP, 400},
		{"bad user", "/whip/s?user=a%2Fb", noMedia, typeSDP, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := s.call(t, "POST", c.path, c.body, "Content-Type", c.contentType)
			if r.status != c.want {
				t.Errorf("%d, want %d: %s", r.status, c.want, r.body)
			}
			checkProblem(t, r)
		})
	}
	if n := s.gateway.pool.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions left", n)
	}
}

func TestC1_ErrorsOfTheGateway(t *testing.T) {
	s := newServer(t, nil)
	for err, want := range map[error]int{
		ErrNotFound: 404, ErrConflict: 409, ErrUnauthorized: 401, ErrForbidden: 403, ErrUnavailable: 503, ErrTooMany: 429,
		io.ErrUnexpectedEOF: 500, &InvalidOfferError{Detail: "send other media"}: 422,
	} {
		s.gateway.fault = fmt.Errorf("doing it: %w", err)
		r := s.call(t, "POST", "/whip/s", "v=0", "Content-Type", typeSDP+"; charset=utf-8")
		if r.status != want {
			t.Errorf("%v: %d, want %d", err, r.status, want)
		}
		if (want == 503 || want == 429) && r.header.Get("Retry-After") == "" {
			t.Errorf("no Retry-After: %v", r.header)
		}
		if d := checkProblem(t, r); want == 500 && strings.Contains(d.Detail, "EOF") {
			t.Errorf("an internal error's text is told: %q", d.Detail)
		}
	}
}

func TestNewNeedsSessions(t *testing.T) {
	if _, err := New(Config{}); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
}

// checkProblem checks that a response is a problem document (RFC 9457) that says what to do.
func checkProblem(t *testing.T, r reply) document {
	t.Helper()
	var d document
	if err := json.Unmarshal([]byte(r.body), &d); err != nil {
		t.Fatalf("%v: %q", err, r.body)
	}
	if r.header.Get("Content-Type") != "application/problem+json" || d.Status != r.status || d.Title == "" || len(d.Detail) < 10 {
		t.Errorf("%v: %+v", r.header, d)
	}
	return d
}
