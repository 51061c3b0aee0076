package rtcpool_test

import (
	"slices"
	"testing"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/rtcpool"
)

func withoutSources(c *sfutest.Config) { c.WithoutSources = true }

// undeclared makes the packets of tracks tell their mid.
func undeclared(tracks ...*sfutest.Track) []*sfutest.Track {
	for _, track := range tracks {
		track.SetPackets(sfutest.Packets{MID: true})
	}
	return tracks
}

func markOf(track *sfutest.Track) int { return track.Clip.Watermark + track.Clip.ToneHz }

// TestS18_SourcesThatNoOfferDeclares offers media descriptions that name no source: each is delivered whole to its own media,
// sound and picture show whose it is, and a new source on a known mid goes on with the same media.
func TestS18_SourcesThatNoOfferDeclares(t *testing.T) {
	t.Parallel()
	c := newLab(t).call("call", withoutSources)
	tracks := undeclared(
		c.track("alice", microphone, clips.AliceMicrophone()), c.track("alice", camera, clips.AliceCamera()),
		c.track("bob", microphone, clips.BobMicrophone()), c.track("bob", camera, clips.BobCamera()),
	)
	before := c.add(tracks...)
	var watchers []*listener
	for i, m := range before {
		watchers = append(watchers, watching(t, tracks[i], m.Track))
	}
	for i, w := range watchers {
		w.sees(markOf(tracks[i]))
	}
	c.account(tracks...)
	c.goOn(tracks...)

	later := undeclared(c.track("carol", microphone, clips.BobMicrophone()), c.track("carol", screen, clips.BobScreen()))
	c.add(later...)
	c.account(slices.Concat(tracks, later)...)
	c.goOn(slices.Concat(tracks, later)...)

	fresh := func(i int) uint32 { return 0x51500000 + uint32(i) } //nolint:gosec // small
	for i, track := range tracks {
		track.SetSSRC(fresh(i))
	}
	for i, m := range before {
		c.seen.until(t, "the new source", func() bool { return c.seen.media[m.ID].SSRC == fresh(i) })
		if now := c.seen.now(m.ID); now.Track != m.Track {
			t.Errorf("was %+v, is %+v", m, now)
		}
		watchers[i].more(20)
	}
	c.account(tracks...)
	for i, w := range watchers {
		w.only(markOf(tracks[i]))
		if added, removed := c.seen.told(before[i].ID); added != 1 || removed != 0 {
			t.Errorf("%s: added %d times, removed %d times", before[i].StreamID, added, removed)
		}
	}
}

// TestS18_PayloadTypesTellWhenMIDsDoNot offers media descriptions without sources to packets without a mid: a payload type that
// one description alone has decides, and one that two have decides nothing.
func TestS18_PayloadTypesTellWhenMIDsDoNot(t *testing.T) {
	t.Parallel()
	c := newLab(t).call("call", withoutSources)
	mic, cam := c.track("alice", microphone, clips.AliceMicrophone()), c.track("alice", camera, clips.AliceCamera())
	first := c.add(mic, cam)
	audio, video := watching(t, mic, first[0].Track), watching(t, cam, first[1].Track)
	audio.sees(markOf(mic))
	video.sees(markOf(cam))
	c.account(mic, cam)
	c.goOn(mic, cam)

	other := c.track("bob", camera, clips.BobCamera())
	unbound := c.lab.pool.Stats().UnboundPackets
	must(t, c.sfu.Add(c.lab.ctx, other))
	poll(t, "packets that are nobody's", func() string {
		if n := c.lab.pool.Stats().UnboundPackets; n < unbound+50 {
			return "too few"
		}
		return ""
	})
	streamID, _ := other.MSID()
	m := c.seen.find(t, "the other camera", func(m rtcpool.Media) bool { return m.StreamID == streamID })
	if s := m.Track.Stats(); m.SSRC != 0 || s.Packets != 0 {
		t.Errorf("guessed: %+v, %+v", m, s)
	}
	video.more(20)
	audio.more(20)
	c.account(mic, cam)
	audio.only(markOf(mic))
	video.only(markOf(cam))
}

// TestS18_MediaDescriptionGivenToAnother gives a media description without sources to another publisher: late packets of the
// one before reach nobody, those of the next only its own media.
func TestS18_MediaDescriptionGivenToAnother(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		packets sfutest.Packets
		sources sfutest.Sources
	}{
		{"by mid", sfutest.Packets{MID: true}, sfutest.NewSource},
		{"the only one", sfutest.Packets{}, sfutest.NewSource},
		{"the same source", sfutest.Packets{MID: true}, sfutest.SameSourceContinued},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := newLab(t).call("call", withoutSources)
			alice, bob := c.track("alice", camera, clips.AliceCamera()), c.track("bob", camera, clips.BobCamera())
			alice.SetPackets(row.packets)
			bob.SetPackets(row.packets)
			old := c.add(alice)[0]
			video := watching(t, alice, old.Track)
			video.sees(markOf(alice))
			unbound := c.lab.pool.Stats().UnboundPackets
			must(t, c.sfu.Replace(c.lab.ctx, alice, bob, row.sources))
			c.seen.gone(t, old)
			next := watching(t, bob, c.flowing(bob).Track)
			// What comes on the source of alice at first may still be hers.
			if n := c.lab.pool.Stats().UnboundPackets - unbound; row.sources == sfutest.SameSourceContinued && n < 20 {
				t.Errorf("only %d packets were held back", n)
			}
			next.sees(markOf(bob))
			next.more(30)
			next.only(markOf(bob))
			video.only(markOf(alice))
		})
	}
}

// TestS18_LostPacketsOfUndeclaredSourcesAreRepaired loses packets of sources, and of streams of repairs, that no offer names.
func TestS18_LostPacketsOfUndeclaredSourcesAreRepaired(t *testing.T) {
	t.Parallel()
	c := newLab(t).call("call", withoutSources)
	cam, other := c.track("alice", camera, clips.AliceCamera()), c.track("bob", camera, clips.BobCamera())
	media := c.add(undeclared(cam, other)...)
	c.sfu.Network().SetOut(sfutest.Link{Match: sfutest.IsRTP, Loss: 0.05})
	poll(t, "repairs", func() string {
		if n := c.lab.pool.Stats().RepairedPackets; n < 20 {
			return "too few"
		}
		return ""
	})
	c.sfu.Network().SetOut(sfutest.Link{})
	for i, track := range []*sfutest.Track{cam, other} {
		w := watching(t, track, media[i].Track)
		w.sees(markOf(track))
		w.more(10)
		w.only(markOf(track))
	}
}
