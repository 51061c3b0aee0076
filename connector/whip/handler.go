package whip

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/penstock-media/penstock/rtcpool"
)

// The media types of RFC 8866 and RFC 8840.
const (
	typeSDP      = "application/sdp"
	typeFragment = "application/trickle-ice-sdpfrag"
)

// The methods that a WHIP endpoint and a WHIP session (RFC 9725 section 4) have.
const (
	endpointMethods = "OPTIONS, POST"
	resourceMethods = "DELETE, OPTIONS, PATCH"
)

// defaultMaxBodyBytes is that of an offer, as the rest of the gateway has it.
const defaultMaxBodyBytes = 1 << 20

// Config is what a Handler needs.
type Config struct {
	// Sessions does the work. Required.
	Sessions Sessions
	// Authorize says whether a request may do what it asks with the session; nil allows everything. The context that it returns is what Sessions and
	// Elsewhere get, so that they know who asks. Its errors are answered as those of Sessions are; ErrUnauthorized, ErrForbidden and ErrTooMany are for it.
	// OPTIONS is not asked of it: browsers send no credentials with it, and its answer tells of no session.
	Authorize func(r *http.Request, sessionID string) (context.Context, error)
	// Elsewhere hands requests to other gateways, where their sessions are; nil is for a gateway that is alone.
	Elsewhere Elsewhere
	// ICEServers are told to publishers in Link headers (RFC 9725 section 4.6), credentials included.
	ICEServers []rtcpool.ICEServer
	// AllowedOrigins are the web origins whose pages may publish; empty is all. Nothing here relies on cookies.
	AllowedOrigins []string
	// Reason names the reason of an error of Sessions, Elsewhere or Authorize, and when trying again may help, for problem documents; nil leaves them out.
	Reason func(err error) (reason string, wait time.Duration)
	// MaxBodyBytes refuses larger requests. Default 1 MiB.
	MaxBodyBytes int64
	// Logger is told of internal errors; nil discards.
	Logger *slog.Logger
}

// ErrConfig means that a Config cannot be used.
var ErrConfig = errors.New("whip: Sessions is required")

// Handler serves POST, OPTIONS /whip/{session} and PATCH, DELETE, OPTIONS /whip/{session}/{resource}.
type Handler struct {
	cfg   Config
	mux   http.ServeMux
	known iceSessions
}

// New returns a handler. Errors: ErrConfig.
func New(cfg Config) (*Handler, error) {
	if cfg.Sessions == nil {
		return nil, ErrConfig
	}
	if cfg.MaxBodyBytes == 0 {
		cfg.MaxBodyBytes = defaultMaxBodyBytes
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Handler{cfg: cfg}
	h.mux.HandleFunc("/whip/{session}", h.serveEndpoint)
	h.mux.HandleFunc("/whip/{session}/{resource}", h.serveResource)
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { h.fail(w, r, errNoSuchPath) })
	return h, nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.allowOrigin(w, r)
	h.mux.ServeHTTP(w, r)
}

func (h *Handler) serveEndpoint(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodOptions:
		w.Header().Set("Accept-Post", typeSDP)
		h.preflight(w, endpointMethods)
	case http.MethodPost:
		h.run(w, r, h.publish)
	default:
		w.Header().Set("Allow", endpointMethods)
		h.fail(w, r, errMethod)
	}
}

func (h *Handler) serveResource(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodOptions:
		w.Header().Set("Accept-Patch", typeFragment)
		h.preflight(w, resourceMethods)
	case http.MethodPatch:
		h.run(w, r, h.patch)
	case http.MethodDelete:
		h.run(w, r, h.unpublish)
	default:
		w.Header().Set("Allow", resourceMethods)
		h.fail(w, r, errMethod)
	}
}

// run checks what all methods need, and answers errors.
func (h *Handler) run(w http.ResponseWriter, r *http.Request, f func(http.ResponseWriter, *http.Request) error) {
	r, err := h.authorize(r)
	if err == nil {
		var answered bool
		if answered, err = h.elsewhere(w, r); answered {
			return
		}
	}
	if err == nil {
		err = f(w, r)
	}
	if err != nil {
		h.fail(w, r, err)
	}
}

// authorize returns the request of somebody who may make it, or the one given with an error.
func (h *Handler) authorize(r *http.Request) (*http.Request, error) {
	id := r.PathValue("session")
	if !validID(id) {
		return r, errSessionID
	}
	if h.cfg.Authorize == nil || isHandedOver(r) {
		return r, nil
	}
	ctx, err := h.cfg.Authorize(r, id)
	if err != nil {
		return r, err
	}
	return r.WithContext(ctx), nil
}

// validID holds ids to the characters that the contract gives them: 1 to 128 of [A-Za-z0-9._~-].
func validID(id string) bool {
	return id != "" && len(id) <= 128 && strings.IndexFunc(id, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._~-", c)
	}) < 0
}

// body reads a request of the wanted media type.
func (h *Handler) body(w http.ResponseWriter, r *http.Request, mediaType string) (string, error) {
	got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || got != mediaType {
		return "", &problem{status: http.StatusUnsupportedMediaType, detail: "send Content-Type: " + mediaType}
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.cfg.MaxBodyBytes))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return "", errTooLarge
	case err != nil:
		return "", &problem{status: http.StatusBadRequest, detail: "the body could not be read to its end; send it again", err: err}
	}
	return string(b), nil
}

// publish is the POST of an offer (RFC 9725 section 4.2).
func (h *Handler) publish(w http.ResponseWriter, r *http.Request) error {
	offer, err := h.body(w, r, typeSDP)
	if err != nil {
		return err
	}
	session, query := r.PathValue("session"), r.URL.Query()
	who := Publisher{UserID: query.Get("user"), ParticipantID: query.Get("participant")}
	if who.UserID == "" {
		who.UserID = defaultUser
	}
	if !validID(who.UserID) || (who.ParticipantID != "" && !validID(who.ParticipantID)) {
		return errPublisher
	}
	p, err := h.cfg.Sessions.Publish(r.Context(), session, who, offer)
	if err != nil {
		return err
	}
	tag := entityTag(p.ResourceID, readCredentials(offer).ufrag)
	h.known.set(p.ResourceID, tag)
	header := w.Header()
	header.Set("Content-Type", typeSDP)
	header.Set("Location", "/whip/"+session+"/"+p.ResourceID)
	header.Set("ETag", tag)
	header.Set("Accept-Patch", typeFragment)
	for _, link := range iceLinks(h.cfg.ICEServers) {
		header.Add("Link", link)
	}
	w.WriteHeader(http.StatusCreated)
	h.write(w, p.AnswerSDP)
	return nil
}

// defaultUser publishes when the query names nobody.
const defaultUser = "whip"

// unpublish is the DELETE that ends a publication (RFC 9725 section 4.2).
func (h *Handler) unpublish(w http.ResponseWriter, r *http.Request) error {
	resource := r.PathValue("resource")
	if err := h.cfg.Sessions.Unpublish(r.Context(), r.PathValue("session"), resource); err != nil {
		return err
	}
	h.known.forget(resource)
	w.WriteHeader(http.StatusOK)
	return nil
}

func (h *Handler) write(w io.Writer, text string) {
	if _, err := io.WriteString(w, text); err != nil {
		h.cfg.Logger.Debug("writing an answer", "error", err) // the publisher is gone; ICE will tell
	}
}

// iceLinks writes servers as Link headers, one for each URL.
func iceLinks(servers []rtcpool.ICEServer) []string {
	var links []string
	for _, s := range servers {
		for _, u := range s.URLs {
			link := "<" + u + `>; rel="ice-server"`
			if s.Username != "" {
				link += "; username=" + quoted(s.Username) + "; credential=" + quoted(s.Credential) + `; credential-type="password"`
			}
			links = append(links, link)
		}
	}
	return links
}

// quoted writes a quoted-string (RFC 9110 section 5.6.4).
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
