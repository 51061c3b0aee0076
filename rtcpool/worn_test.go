package rtcpool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
)

// Offers that have ever new mids come to an end: a new generation is asked for, and what was offered last holds until then.
func TestMIDsWithoutEnd(t *testing.T) {
	t.Parallel()
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	const offered = 512 // as many as an offer may have
	var sections []string
	for range offered {
		sections = append(sections, offertest.Audio)
	}
	text := offertest.Of(sections...)
	next := func(round int) string {
		prefix := fmt.Sprintf("r%d-", round)
		head, rest, _ := strings.Cut(text, "a=group:BUNDLE ")
		group, rest, _ := strings.Cut(rest, "\r\n")
		group = prefix + strings.ReplaceAll(group, " ", " "+prefix)
		named := head + "a=group:BUNDLE " + group + "\r\n" + strings.ReplaceAll(rest, "a=mid:", "a=mid:"+prefix)
		return withVersion(t, named, uint64(round)+100) //nolint:gosec // small
	}
	for round := range maxTransceivers / offered {
		mustAnswer(t, s, next(round))
	}
	var failed *NegotiationError
	if _, err := s.Negotiate(context.Background(), Offer{SDP: next(100)}); !errors.As(err, &failed) || !errors.Is(err, errWorn) {
		t.Errorf("%v", err)
	}
	told := r.told()
	// Nobody is at the other end, which a slow machine has time to notice.
	again := slices.DeleteFunc(slices.Clone(told.restarts), func(r Restart) bool { return r.ICE })
	if len(again) == 0 || again[0].MinGeneration != 2 || len(told.media) != offered {
		t.Errorf("restarts %+v, %d media", told.restarts, len(told.media))
	}
	mustAnswer(t, s, withVersion(t, next(maxTransceivers/offered-1), 300)) // No mid is new.
	if res, err := s.Negotiate(context.Background(), Offer{Generation: 2, SDP: next(101)}); err != nil || res.Answer == nil {
		t.Errorf("%+v, %v", res, err)
	}
}
