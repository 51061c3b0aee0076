package whip

import (
	"net/http"
	"slices"
)

// allowOrigin lets a page of an allowed origin read the response, the headers of RFC 9725 included (Fetch standard, CORS).
func (h *Handler) allowOrigin(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	switch origin := r.Header.Get("Origin"); {
	case len(h.cfg.AllowedOrigins) == 0:
		header.Set("Access-Control-Allow-Origin", "*")
	case slices.Contains(h.cfg.AllowedOrigins, origin):
		header.Set("Access-Control-Allow-Origin", origin)
		header.Add("Vary", "Origin")
	default:
		header.Add("Vary", "Origin")
		return
	}
	header.Set("Access-Control-Expose-Headers", "Location, ETag, Link, Accept-Patch, Accept-Post, Retry-After, WWW-Authenticate")
}

// preflight answers OPTIONS, of a page or of anybody who asks what is served.
func (h *Handler) preflight(w http.ResponseWriter, methods string) {
	header := w.Header()
	header.Set("Allow", methods)
	header.Set("Access-Control-Allow-Methods", methods)
	header.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match")
	header.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}
