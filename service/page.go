package service

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"

	"github.com/penstock-media/penstock/service/internal/relay"
)

// listName names a list of a tenant with all that decides what is in it.
func listName(tenant, what string, labels map[string]string) string {
	name := fmt.Sprintf("%q%q", tenant, what)
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		name += fmt.Sprintf("%q=%q", k, labels[k])
	}
	return name
}

// newPageToken returns the token of the page after an id. It is sealed: the id may be that of a session that the caller may not use.
func (s *Service) newPageToken(list, after string) (string, error) {
	b, err := s.keys.Seal(relay.ForPage, []byte(after), []byte(list))
	if err != nil {
		return "", fmt.Errorf("making a page token: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// openPageToken returns the id after which a page starts.
func (s *Service) openPageToken(list, token string) (after string, err error) {
	if token == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		b, err = s.keys.Open(relay.ForPage, b, []byte(list))
	}
	if err != nil || len(b) == 0 {
		return "", invalid("page_token", "is not a token of this list; use next_page_token as it was given, with the same request, or leave it empty")
	}
	return string(b), nil
}

// pageSize returns how many entries a page has. The request has been validated.
func pageSize(n uint32) int {
	return int(orDefault(n, defaultPage))
}
