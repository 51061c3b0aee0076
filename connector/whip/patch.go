package whip

import (
	"net/http"
	"strings"
)

// patch is trickle ICE or an ICE restart (RFC 9725 section 4.3): If-Match names the ICE session, or, as "*", asks for a
// new one.
func (h *Handler) patch(w http.ResponseWriter, r *http.Request) error {
	text, err := h.body(w, r, typeFragment)
	if err != nil {
		return err
	}
	match := strings.TrimSpace(r.Header.Get("If-Match"))
	if match == "" {
		return errNoIfMatch
	}
	f, err := parseFragment(text)
	if err != nil {
		return err
	}
	resource := r.PathValue("resource")
	// Tags are remembered by resource, whosever it is: who has no such publication learns nothing from them.
	if err := h.cfg.Sessions.Trickle(r.Context(), r.PathValue("session"), resource, nil, false); err != nil {
		return err
	}
	tag, known := h.known.get(resource)
	own := entityTag(resource, f.ufrag)
	if match == "*" || match == `"*"` {
		if known && f.ufrag != "" && own == tag {
			return h.trickle(w, r, f) // the credentials are the present ones: nothing restarts
		}
		return h.restart(w, r, f)
	}
	switch {
	case known && !matches(match, tag):
		return errStaleTag
	case f.ufrag != "" && !matches(match, own):
		if known {
			return errRestart
		}
		return errStaleTag
	}
	return h.trickle(w, r, f)
}

func (h *Handler) trickle(w http.ResponseWriter, r *http.Request, f fragment) error {
	resource := r.PathValue("resource")
	if err := h.cfg.Sessions.Trickle(r.Context(), r.PathValue("session"), resource, f.candidates, f.end); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h *Handler) restart(w http.ResponseWriter, r *http.Request, f fragment) error {
	if f.ufrag == "" || f.pwd == "" {
		return &problem{status: http.StatusBadRequest, detail: "an ICE restart needs a=ice-ufrag and a=ice-pwd in the fragment (RFC 8840)"}
	}
	resource := r.PathValue("resource")
	leave, err := h.known.enter(r.Context(), resource)
	if err != nil {
		return err
	}
	defer leave()
	answer, err := h.cfg.Sessions.RestartICE(r.Context(), r.PathValue("session"), resource, f.ufrag, f.pwd, f.candidates)
	if err != nil {
		return err
	}
	tag := entityTag(resource, f.ufrag)
	h.known.set(resource, tag)
	w.Header().Set("Content-Type", typeFragment)
	w.Header().Set("ETag", tag)
	w.WriteHeader(http.StatusOK)
	h.write(w, fragmentOf(answer))
	return nil
}

// matches compares an If-Match list (RFC 9110 section 13.1.1) with a strong entity tag.
func matches(list, tag string) bool {
	for _, item := range strings.Split(list, ",") {
		if strings.TrimSpace(item) == tag {
			return true
		}
	}
	return false
}
