package service

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// pageSum is the length of the sum in a page token, in bytes. It is there to notice mistakes, such as a token
// of another list; a forged token opens nothing that the caller may not list anyway.
const pageSum = 8

// listName names a list of a tenant with all that decides what is in it.
func listName(tenant, what string, labels map[string]string) string {
	name := fmt.Sprintf("%q%q", tenant, what)
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		name += fmt.Sprintf("%q=%q", k, labels[k])
	}
	return name
}

// newPageToken returns the token of the page after an id.
func newPageToken(list, after string) string {
	return base64.RawURLEncoding.EncodeToString(append(pageTokenSum(list, after), after...))
}

// openPageToken returns the id after which a page starts.
func openPageToken(list, token string) (after string, err error) {
	if token == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) <= pageSum || hex.EncodeToString(b[:pageSum]) != hex.EncodeToString(pageTokenSum(list, string(b[pageSum:]))) {
		return "", invalid("page_token", "is not a token of this list; use next_page_token as it was given, with the same request, or leave it empty")
	}
	return string(b[pageSum:]), nil
}

// pageTokenSum binds an id to its list.
func pageTokenSum(list, after string) []byte {
	sum := sha256.Sum256([]byte(list + "\x00" + after))
	return sum[:pageSum]
}

// pageSize returns how many entries a page has. The request has been validated.
func pageSize(n uint32) int {
	return int(orDefault(n, defaultPage))
}
