package whip

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
)

// Request is a publisher's request as one gateway hands it to another: all that a Handler looks at.
type Request struct {
	Method      string // POST, PATCH or DELETE
	SessionID   string
	ResourceID  string // empty for POST
	Query       string // as it was written
	ContentType string
	IfMatch     string
	Body        []byte
}

// Response is the answer to a Request.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Elsewhere serves a request where its session is, or is to be. served is false where that is here.
type Elsewhere func(ctx context.Context, r Request) (answer Response, served bool, err error)

// handedOver is the context key of requests that come from another gateway.
type handedOver struct{}

// Serve serves a request that another gateway has authorized and handed over. It never hands it on.
func (h *Handler) Serve(ctx context.Context, q Request) Response {
	r := (&http.Request{
		Method: q.Method, URL: &url.URL{Path: "/whip/" + q.SessionID, RawQuery: q.Query}, Header: http.Header{},
		Body: io.NopCloser(bytes.NewReader(q.Body)),
	}).WithContext(context.WithValue(ctx, handedOver{}, true))
	r.SetPathValue("session", q.SessionID)
	r.Header.Set("Content-Type", q.ContentType)
	if q.IfMatch != "" {
		r.Header.Set("If-Match", q.IfMatch)
	}
	w := &recorder{header: http.Header{}, status: http.StatusOK}
	if q.ResourceID == "" {
		h.serveEndpoint(w, r)
	} else {
		r.SetPathValue("resource", q.ResourceID)
		h.serveResource(w, r)
	}
	return Response{Status: w.status, Header: w.header, Body: w.body.Bytes()}
}

// elsewhere hands a request over, and tells whether it is answered. Where it is not, its body can be read as if nothing had been.
func (h *Handler) elsewhere(w http.ResponseWriter, r *http.Request) (answered bool, err error) {
	if h.cfg.Elsewhere == nil || isHandedOver(r) {
		return false, nil
	}
	q := Request{
		Method: r.Method, SessionID: r.PathValue("session"), ResourceID: r.PathValue("resource"), Query: r.URL.RawQuery,
		ContentType: r.Header.Get("Content-Type"), IfMatch: r.Header.Get("If-Match"),
	}
	if wanted, ok := map[string]string{http.MethodPost: typeSDP, http.MethodPatch: typeFragment}[r.Method]; ok {
		text, err := h.body(w, r, wanted)
		if err != nil {
			return false, err
		}
		q.Body = []byte(text)
		r.Body = io.NopCloser(bytes.NewReader(q.Body))
	}
	a, served, err := h.cfg.Elsewhere(r.Context(), q)
	if err != nil || !served {
		return false, err
	}
	for name, values := range a.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.Status)
	h.write(w, string(a.Body))
	return true, nil
}

// isHandedOver tells whether another gateway has authorized a request.
func isHandedOver(r *http.Request) bool {
	yes, _ := r.Context().Value(handedOver{}).(bool)
	return yes
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (w *recorder) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) { w.status = status }

// Write implements http.ResponseWriter.
func (w *recorder) Write(b []byte) (int, error) { return w.body.Write(b) }
