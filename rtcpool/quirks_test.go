package rtcpool_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool"
)

// mangling changes every offer.
func mangling(pattern, by string) func(*sfutest.Config) {
	return func(c *sfutest.Config) {
		c.Mangle = func(offer string) string { return regexp.MustCompile(pattern).ReplaceAllString(offer, by) }
	}
}

// TestS6_QuirksCarryMedia connects to real peers with each habit of real SFUs: sound and picture come whole.
func TestS6_QuirksCarryMedia(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		change  func(*sfutest.Config)
		packets sfutest.Packets
	}{
		{name: "DTLS active", change: func(c *sfutest.Config) { c.Setup = "active" }},
		{name: "DTLS passive", change: func(c *sfutest.Config) { c.Setup = "passive" }},
		{name: "DTLS actpass", change: func(c *sfutest.Config) { c.Setup = "actpass" }},
		{name: "ICE lite", change: func(c *sfutest.Config) { c.ICELite = true }},
		{name: "ICE lite and DTLS passive", change: func(c *sfutest.Config) { c.ICELite, c.Setup = true, "passive" }},
		{name: "WMS without a blank", change: mangling(`a=msid-semantic:[^\r]*`, "a=msid-semantic:WMS*")},
		{name: "blanks after feedback", change: mangling(`(a=rtcp-fb:[^\r]*)\r`, "$1 \t \r")},
		{name: "line feeds only", change: mangling(`\r\n`, "\n")},
		{name: "bundle-only", change: mangling(`m=video 9 ([^\r]*\r\n)`, "m=video 0 ${1}a=bundle-only\r\n")},
		{
			name: "extmap-allow-mixed", change: mangling(`(t=0 0\r\n)`, "${1}a=extmap-allow-mixed\r\n"),
			packets: sfutest.Packets{MID: true, TwoByte: true},
		},
		{name: "the fingerprint once", change: func(c *sfutest.Config) {
			c.Mangle = func(offer string) string {
				line := regexp.MustCompile(`a=fingerprint:[^\r]*\r\n`).FindString(offer)
				return strings.Replace(strings.ReplaceAll(offer, line, ""), "a=group:", line+"a=group:", 1)
			}
		}},
		{name: "no feedback but what RFC 3550 has", change: func(c *sfutest.Config) {
			c.WithoutRTX, c.WithoutNACK, c.WithoutTransportCC, c.WithoutREMB = true, true, true, true
		}},
		{name: "no msid", change: func(c *sfutest.Config) { c.MSID = sfutest.MSIDNone }},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := newLab(t).call("call", row.change)
			tracks := []*sfutest.Track{c.track("alice", microphone, clips.AliceMicrophone()), c.track("alice", camera, clips.AliceCamera())}
			for _, track := range tracks {
				track.SetPackets(row.packets)
			}
			must(t, c.sfu.Add(c.lab.ctx, tracks...))
			for _, track := range tracks {
				m := c.seen.find(t, "packets", func(m rtcpool.Media) bool {
					return m.SSRC != 0 && (m.Kind == media.KindAudio) == track.Clip.IsAudio()
				})
				w := watching(t, track, m.Track)
				w.sees(markOf(track))
				w.only(markOf(track))
				track.Hold(true)
				poll(t, "every packet", func() string {
					if s := m.Track.Stats(); s.Packets < track.Packets() || s.Lost > 0 {
						return "some are missing"
					}
					return ""
				})
			}
		})
	}
}

// TestS6_MediaDescriptionsAreRecycled gives the place of tracks that end to others, many times: the offer does not grow, what
// goes on is left alone, and nobody is heard for another.
func TestS6_MediaDescriptionsAreRecycled(t *testing.T) {
	t.Parallel()
	c := newLab(t).call("call")
	stays := c.track("alice", camera, clips.AliceCamera())
	before := c.add(stays)[0]
	eyes := watching(t, stays, before.Track)
	eyes.sees(markOf(stays))
	guests := []clips.Clip{clips.BobMicrophone(), clips.AliceMicrophone()}
	var left *listener // of the guest before, whose media is paused until its place is taken
	for i := range 12 {
		guest := c.track("guest", microphone, guests[i%2])
		ears := watching(t, guest, c.add(guest)[0].Track)
		ears.sees(markOf(guest))
		if left != nil {
			left.ended()
			left.only(guests[(i+1)%2].ToneHz)
		}
		left = ears
		offer, err := c.sfu.Offer(c.lab.ctx)
		must(t, err)
		if n := strings.Count(offer, "m="); n != 2 {
			t.Fatalf("round %d: %d media descriptions", i, n)
		}
		must(t, c.sfu.Remove(c.lab.ctx, guest))
	}
	c.account(stays)
	eyes.only(markOf(stays))
	if now := c.seen.now(before.ID); now != before || !slices.ContainsFunc(c.seen.record().removed, func(m rtcpool.Media) bool { return m.MID == "1" }) {
		t.Errorf("was %+v, is %+v", before, now)
	}
}
