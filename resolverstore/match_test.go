package resolverstore

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestMatch shows the rules one by one. A claim is "participant source [mid=…] [track=…] [with=media]", a media "id [stream] …".
func TestMatch(t *testing.T) {
	ann, bob := PublicationRef{"ann1", Camera}, PublicationRef{"bob1", Camera}
	share := PublicationRef{"ann1", ScreenShare}
	people := []Participant{user("ann1"), user("ann2"), user("bob1")}
	cand := func(m Media, change func(*candidate)) candidate {
		c := candidate{Media: m, current: true}
		if change != nil {
			change(&c)
		}
		return c
	}
	video := func(id string) candidate { return cand(anonymous(id, KindVideo), nil) }
	named := func(id, stream string) candidate {
		return cand(anonymous(id, KindVideo), func(c *candidate) { c.StreamID = stream })
	}
	claimOf := func(ref PublicationRef) claim { return claim{ref: ref, participant: user(ref.ParticipantID)} }
	withMID := claimOf(ann)
	withMID.mid = "mid-m1"
	withTrack := claimOf(bob)
	withTrack.trackID = "track-m1"

	for name, test := range map[string]struct {
		claims []claim
		media  []candidate
		want   string
	}{
		"mid":                            {[]claim{withMID}, []candidate{video("m2"), video("m1")}, "ann1/1=m1 by 1"},
		"track id":                       {[]claim{withTrack}, []candidate{video("m2"), video("m1")}, "bob1/1=m1 by 1"},
		"two explicit claims":            {[]claim{withMID, withTrack}, []candidate{video("m1")}, ""},
		"mid against the words":          {[]claim{withMID}, []candidate{named("m1", "bob1")}, ""},
		"mid that has not come":          {[]claim{withMID}, []candidate{video("m2")}, ""},
		"mid against kind":               {[]claim{withMID}, []candidate{cand(anonymous("m1", KindAudio), nil)}, ""},
		"words":                          {[]claim{claimOf(ann), claimOf(share)}, []candidate{named("m1", "ann1:TRACK_TYPE_SCREEN_SHARE")}, "ann1/3=m1 by 2"},
		"words twice":                    {[]claim{claimOf(ann)}, []candidate{named("m1", "ann1:TRACK_TYPE_VIDEO"), named("m2", "ann1:TRACK_TYPE_VIDEO")}, ""},
		"words of a source that is none": {[]claim{claimOf(ann)}, []candidate{named("m1", "ann1:TRACK_TYPE_THERMAL")}, ""},
		"words of nobody known":          {[]claim{claimOf(ann)}, []candidate{named("m1", "eve1:TRACK_TYPE_VIDEO")}, ""},
		"participant":                    {[]claim{claimOf(ann), claimOf(bob)}, []candidate{named("m1", "bob1"), named("m2", "random")}, "bob1/1=m1 by 3"},
		"participant, two publications":  {[]claim{claimOf(ann), claimOf(share)}, []candidate{named("m1", "ann1")}, ""},
		"participant, two media":         {[]claim{claimOf(ann)}, []candidate{named("m1", "ann1"), named("m2", "ann1")}, ""},
		"anonymous":                      {[]claim{claimOf(ann)}, []candidate{named("m1", "random")}, "ann1/1=m1 by 4"},
		"anonymous, two publications":    {[]claim{claimOf(ann), claimOf(bob)}, []candidate{video("m1")}, ""},
		"anonymous without a mid":        {[]claim{claimOf(ann)}, []candidate{cand(anonymous("m1", KindVideo), func(c *candidate) { c.MID = "" })}, ""},
		"older generation":               {[]claim{claimOf(ann)}, []candidate{cand(of("m1", "ann1", Camera), func(c *candidate) { c.current = false })}, ""},
		"held":                           {[]claim{claimOf(ann)}, []candidate{cand(of("m1", "ann1", Camera), func(c *candidate) { c.held = true })}, ""},
		"stale, by words":                {[]claim{claimOf(ann)}, []candidate{cand(of("m1", "ann1", Camera), func(c *candidate) { c.stale = true })}, "ann1/1=m1 by 2"},
		"stale, by elimination":          {[]claim{claimOf(ann)}, []candidate{cand(anonymous("m1", KindVideo), func(c *candidate) { c.stale = true })}, ""},
		"another's before":               {[]claim{claimOf(ann)}, []candidate{cand(anonymous("m1", KindVideo), func(c *candidate) { c.former = bob })}, ""},
		"its own before":                 {[]claim{claimOf(ann)}, []candidate{cand(anonymous("m1", KindVideo), func(c *candidate) { c.former = ann })}, "ann1/1=m1 by 2"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, p := range newMatcher(DefaultSchemes(), people, test.claims, test.media).decide() {
				got = append(got, fmt.Sprintf("%s/%d=%s by %d", p.ref.ParticipantID, p.ref.Source, p.media, p.rule))
			}
			if s := strings.Join(got, "; "); s != test.want {
				t.Errorf("decided %q, not %q", s, test.want)
			}
		})
	}
}

func TestMatchOfJoined(t *testing.T) {
	camera := claim{ref: PublicationRef{"ann1", Camera}, participant: user("ann1"), media: "m1", order: 1}
	newer := claim{ref: PublicationRef{"ann2", Camera}, participant: user("ann2"), trackID: "track-m1", order: 2}
	other := newer
	other.ref.ParticipantID, other.participant = "bob1", user("bob1")
	m1 := candidate{Media: anonymous("m1", KindVideo), current: true}
	next := candidate{Media: of("m2", "ann1", Camera), current: true}
	people := []Participant{user("ann1"), user("ann2"), user("bob1")}
	decide := func(media []candidate, claims ...claim) []pair {
		return newMatcher(DefaultSchemes(), people, claims, media).decide()
	}
	if got := decide([]candidate{m1}, camera, other); len(got) != 0 {
		t.Errorf("another user took it over: %+v", got)
	}
	if got := decide([]candidate{m1}, camera, newer); len(got) != 1 || !slices.Equal(got[0].superseded, []PublicationRef{camera.ref}) {
		t.Errorf("the same user's newer claim: %+v", got)
	}
	weak := camera
	weak.weak = true
	if got := decide([]candidate{m1}, weak, other); len(got) != 1 || got[0].ref != other.ref {
		t.Errorf("evidence against elimination: %+v", got)
	}
	if got := decide([]candidate{m1, next}, camera); len(got) != 0 {
		t.Errorf("active media was replaced: %+v", got)
	}
	m1.Active = false
	if got := decide([]candidate{m1, next}, camera); len(got) != 1 || got[0].media != "m2" {
		t.Errorf("inactive media was not replaced: %+v", got)
	}
}

func FuzzSchemes(f *testing.F) {
	for _, s := range []string{
		"", "-", "p:TRACK_TYPE_VIDEO", "a:b:TRACK_TYPE_SCREEN_SHARE_AUDIO", ":TRACK_TYPE_AUDIO", "PA_x|TR_y", "PA_", "|", "\xff:TRACK_TYPE_",
	} {
		f.Add(s, "track")
	}
	f.Fuzz(func(t *testing.T, stream, track string) {
		w := readWords(DefaultSchemes(), stream, track)
		if w.Participant != "" && !strings.HasPrefix(stream, w.Participant) {
			t.Errorf("%q names %q, which is not in it", stream, w.Participant)
		}
		if w.Source != SourceUnknown && !strings.Contains(stream, ":TRACK_TYPE_") {
			t.Errorf("%q has source %d", stream, w.Source)
		}
		if utf8.ValidString(stream) && !utf8.ValidString(w.Participant+w.TrackID) {
			t.Errorf("%q was cut within a character", stream)
		}
	})
}
