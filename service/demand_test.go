package service

import (
	"fmt"
	"testing"

	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
)

// toldDemand is a hub whose demand tells the test.
type toldDemand struct {
	*hub
	told []string
}

func newToldDemand() *toldDemand {
	d := &toldDemand{hub: newHub("call")}
	d.demand = newDemand(func(t resolverstore.Track, a asked) {
		d.told = append(d.told, fmt.Sprintf("%s %v %d×%d@%g", t.ID, a.wanted, a.width, a.height, a.fps))
	}, func(id string) { d.told = append(d.told, id+" ended") })
	return d
}

// wantTold checks what was told since the last time.
func (d *toldDemand) wantTold(t *testing.T, what string, want ...string) {
	t.Helper()
	if fmt.Sprint(d.told) != fmt.Sprint(want) {
		t.Errorf("%s: told %q, want %q", what, d.told, want)
	}
	d.told = nil
}

// cameraOf is a camera that a participant of a user has published.
func cameraOf(id, participant, user string) resolverstore.Track {
	return resolverstore.Track{ID: id, Kind: resolverstore.KindVideo, State: resolverstore.TrackPending, Publication: &resolverstore.Publication{
		Participant: resolverstore.Participant{ID: participant, UserID: user}, Source: resolverstore.Camera,
	}}
}

// TestS21_UserInTwice wants a user's camera: whichever may serve is wanted until one does, and again when that one is gone. Another
// session of the user, which the consumer has no need of, is not.
func TestS21_UserInTwice(t *testing.T) {
	d := newToldDemand()
	w := d.want(resolverstore.Selector{UserID: "u", Source: resolverstore.Camera}, shape{width: 640})
	d.tracksChanged([]resolverstore.Track{cameraOf("A", "a", "u"), cameraOf("B", "b", "u"), cameraOf("C", "c", "other")}, nil)
	d.wantTold(t, "published", "A true 640×0@0", "B true 640×0@0", "C false 0×0@0")
	w.found("A")
	d.wantTold(t, "A serves", "B false 0×0@0")
	d.tracksChanged(nil, []string{"A"})
	d.wantTold(t, "A has left", "A ended", "B true 640×0@0")
	w.seek()
	w.found("B")
	d.wantTold(t, "B serves")
	w.close()
	d.wantTold(t, "nobody is left", "B false 0×0@0")
	w.close()
	d.wantTold(t, "nobody is left twice")
	if len(d.demand.wants)+len(d.demand.holders) != 0 || len(d.demand.tracks) != 2 {
		t.Errorf("left are %v", d.demand)
	}
}

// TestS21_LargestWins has consumers that ask for boxes, for no limit, and for nothing in particular.
func TestS21_LargestWins(t *testing.T) {
	d := newToldDemand()
	d.tracksChanged([]resolverstore.Track{cameraOf("A", "a", "")}, nil)
	d.wantTold(t, "published", "A false 0×0@0")
	byPart := resolverstore.Selector{ParticipantID: "a", Source: resolverstore.Camera}
	resolve := d.want(byPart, shape{any: true})
	d.wantTold(t, "to resolve", "A true 0×0@0")
	wide := d.want(byPart, shapeOf(media.Request{Video: &media.VideoFormat{Width: 640, Height: 100, MaxFPS: 5}}))
	d.wantTold(t, "wide", "A true 640×100@5")
	high := d.want(resolverstore.Selector{TrackID: "A"}, shapeOf(media.Request{Video: &media.VideoFormat{Width: 100, Height: 480, MaxFPS: 2.5}}))
	d.wantTold(t, "high", "A true 640×480@5")
	encoded := d.want(byPart, shapeOf(media.Request{Encoded: true}))
	d.wantTold(t, "encoded", "A true 0×0@0")
	encoded.close()
	wide.close()
	d.wantTold(t, "two have left", "A true 640×480@5", "A true 100×480@2.5")
	high.close()
	d.wantTold(t, "three have left", "A true 0×0@0")
	resolve.close()
	d.wantTold(t, "all have left", "A false 0×0@0")
}

// TestS21_UnpublishedIsNotTold takes a publication away and brings it back, and ends it: nothing is told in between, and all again after.
func TestS21_UnpublishedIsNotTold(t *testing.T) {
	d := newToldDemand()
	sel := resolverstore.Selector{ParticipantID: "a", Source: resolverstore.Camera}
	w := d.want(sel, shape{})
	d.tracksChanged([]resolverstore.Track{cameraOf("A", "a", "u")}, nil)
	w.found("A")
	d.wantTold(t, "published", "A true 0×0@0")
	away := cameraOf("A", "a", "u")
	away.Publication = nil
	d.tracksChanged([]resolverstore.Track{away}, nil)
	w.seek()
	d.wantTold(t, "unpublished")
	d.tracksChanged([]resolverstore.Track{cameraOf("A", "a", "u")}, nil)
	d.wantTold(t, "published again", "A true 0×0@0")
	// Another track of the publication, of which the consumer does not know yet, is wanted from the first moment.
	d.tracksChanged([]resolverstore.Track{away, cameraOf("B", "a", "u")}, nil)
	d.wantTold(t, "with another track", "B true 0×0@0")
	w.found("B")
	w.close()
	d.wantTold(t, "nobody is left", "B false 0×0@0")
	// Media that nobody announced are told of only while somebody wants them.
	media := resolverstore.Track{ID: "M", Kind: resolverstore.KindVideo, State: resolverstore.TrackPending}
	d.tracksChanged([]resolverstore.Track{media}, nil)
	d.wantTold(t, "media of nobody")
	byID := d.want(resolverstore.Selector{TrackID: "M"}, shape{})
	byID.close()
	d.wantTold(t, "wanted by their id", "M true 0×0@0", "M false 0×0@0")
	d.reported([]resolverstore.Event{{Snapshot: &resolverstore.Snapshot{Publications: []resolverstore.Publication{*cameraOf("", "a", "").Publication}}}})
	d.wantTold(t, "published in a snapshot", "B false 0×0@0")
}

// TestS21_WhatCanBeDecodedIsWanted limits consumers to what the process can decode: the largest of what is asked within the limit is told, and all of it
// when there is room again.
func TestS21_WhatCanBeDecodedIsWanted(t *testing.T) {
	d := newToldDemand()
	camera := resolverstore.Selector{ParticipantID: "a", Source: resolverstore.Camera}
	d.tracksChanged([]resolverstore.Track{cameraOf("A", "a", "u")}, nil)
	whole, some := d.want(camera, shape{}), d.want(camera, shape{width: 320})
	whole.found("A")
	some.found("A")
	d.told = nil
	whole.limit(640, 360)
	d.wantTold(t, "one is limited", "A true 640×0@0")
	some.limit(640, 360)
	d.wantTold(t, "who asks for less is too", "A true 640×360@0")
	whole.limit(640, 360)
	d.wantTold(t, "said again")
	whole.limit(0, 0)
	d.wantTold(t, "room again", "A true 0×0@0")
	some.limit(0, 0)
	d.wantTold(t, "for all")
}

// TestLimitsAreToldInTheContractsWords tells a limit, a suspension, and the end of both.
func TestLimitsAreToldInTheContractsWords(t *testing.T) {
	for _, c := range []struct {
		in   media.QualityLimit
		want string
	}{
		{media.QualityLimit{}, "false false 0 0 0 QUALITY_LIMIT_REASON_UNSPECIFIED"},
		{media.QualityLimit{MaxFPS: 7.5, Width: 640, Height: 360}, "true false 7.5 640 360 QUALITY_LIMIT_REASON_CPU"},
		{media.QualityLimit{Suspended: true}, "true true 0 0 0 QUALITY_LIMIT_REASON_CPU"},
	} {
		q := protoLimit(c.in)
		if got := fmt.Sprint(q.GetLimited(), q.GetSuspended(), q.GetMaxFps(), q.GetMaxWidth(), q.GetMaxHeight(), q.GetReason()); got != c.want {
			t.Errorf("%+v is told as %s", c.in, got)
		}
	}
}
