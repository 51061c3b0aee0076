package rtcpool_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool"
)

// TestS9_InactiveAndBackIsTheSameStream pauses and resumes a camera and a microphone, with other negotiations between: consumers of the same
// media are told of each pause and of its end, in order, and frames go on.
func TestS9_InactiveAndBackIsTheSameStream(t *testing.T) {
	t.Parallel()
	for name, strip := range map[string]bool{"source lines kept": false, "source lines stripped": true} {
		t.Run(name, func(t *testing.T) {
			c := newLab(t).call("call", fewCodecs)
			mic, cam := c.track("alice", microphone, clips.AliceMicrophone()), c.track("bob", camera, clips.BobCamera())
			other := c.track("carol", microphone, clips.BobMicrophone())
			first := c.add(mic, cam, other)
			ears, eyes, steady := hearing(t, first[0].Track), looking(t, first[1].Track), encoded(t, first[2].Track)
			const rounds = 5
			for i := range rounds {
				must(t, c.sfu.Pause(c.lab.ctx, strip, mic, cam))
				for _, m := range first[:2] {
					c.seen.until(t, "the pause", func() bool { now := c.seen.media[m.ID]; return !now.Active })
				}
				for range i % 3 { // pauses outlive negotiations, and ICE restarts
					must(t, c.sfu.Renegotiate(c.lab.ctx, i%2 == 1))
				}
				steady.more(2)
				must(t, c.sfu.Resume(c.lab.ctx, mic, cam))
				for k, m := range first {
					now := c.seen.now(m.ID)
					if now.Track != m.Track || now.SSRC != m.SSRC || now.StreamID != m.StreamID || now.TrackID != m.TrackID || !now.Active {
						t.Fatalf("round %d: media %d was %+v, is %+v", i, k, m, now)
					}
				}
				ears.more(5)
				eyes.more(5)
			}
			for _, l := range []*listener{ears, eyes} {
				var kinds []media.EventKind
				l.mu.Lock()
				for _, e := range l.events {
					if e.Kind == media.EventPaused || e.Kind == media.EventResumed {
						kinds = append(kinds, e.Kind)
					}
				}
				l.mu.Unlock()
				want := slices.Repeat([]media.EventKind{media.EventPaused, media.EventResumed}, rounds)
				if !slices.Equal(kinds, want) {
					t.Errorf("told %v, want %v", kinds, want)
				}
			}
			ears.sees(mic.Clip.ToneHz)
			eyes.sees(cam.Clip.Watermark)
			ears.only(mic.Clip.ToneHz)
			eyes.only(cam.Clip.Watermark)
			for _, m := range first {
				if added, removed := c.seen.told(m.ID); added != 1 || removed != 0 {
					t.Errorf("%s: added %d times, removed %d times", m.StreamID, added, removed)
				}
			}
			c.account(mic, cam, other)
			steady.whole(960)
		})
	}
}

// TestS10_NoFrameCrossesOver gives one media description to publisher after publisher: each time the old media end with a reason,
// the new ones come, and every frame that is delivered is its own publisher's. Late packets of the old one are under way meanwhile.
func TestS10_NoFrameCrossesOver(t *testing.T) {
	late := sfutest.Link{Match: sfutest.IsRTP, Delay: 20 * time.Millisecond, Jitter: 30 * time.Millisecond, Stall: 100 * time.Millisecond}
	for name, c := range map[string]struct {
		sources sfutest.Sources
		link    sfutest.Link
		source  penstockv1.Source
		clips   [2]clips.Clip
	}{
		"video, new source":             {sfutest.NewSource, late, camera, [2]clips.Clip{clips.BobCamera(), clips.BobScreen()}},
		"video, same source":            {sfutest.SameSource, late, camera, [2]clips.Clip{clips.BobCamera(), clips.BobScreen()}},
		"video, same source, continued": {sfutest.SameSourceContinued, late, camera, [2]clips.Clip{clips.BobCamera(), clips.BobScreen()}},
		"video, same source, at once":   {sfutest.SameSourceContinued, sfutest.Link{}, camera, [2]clips.Clip{clips.BobCamera(), clips.BobScreen()}},
		"audio, new source":             {sfutest.NewSource, late, microphone, [2]clips.Clip{clips.AliceMicrophone(), clips.BobMicrophone()}},
		"audio, same source":            {sfutest.SameSource, late, microphone, [2]clips.Clip{clips.AliceMicrophone(), clips.BobMicrophone()}},
		"audio, same source, continued": {sfutest.SameSourceContinued, late, microphone, [2]clips.Clip{clips.AliceMicrophone(), clips.BobMicrophone()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handOver(t, c.sources, c.link, c.source, c.clips)
		})
	}
}

func handOver(t *testing.T, sources sfutest.Sources, link sfutest.Link, source penstockv1.Source, marked [2]clips.Clip) {
	const owners = 6
	call := newLab(t).call("call", fewCodecs)
	call.sfu.Network().SetOut(link)
	old := call.track("owner-0", source, marked[0])
	of := call.add(old)[0]
	watcher, packets := watching(t, old, of.Track), encoded(t, of.Track)
	for i := 1; i <= owners; i++ {
		watcher.sees(mark(old))
		next := call.track(fmt.Sprint("owner-", i), source, marked[i%2])
		must(t, call.sfu.Replace(call.lab.ctx, old, next, sources))
		streamID, _ := next.MSID()
		m := call.seen.find(t, streamID, func(m rtcpool.Media) bool { return m.StreamID == streamID })
		nextWatcher, nextPackets := watching(t, next, m.Track), encoded(t, m.Track) // while late packets of the old one come
		m = call.flowing(next)
		if reason := watcher.ended(); reason != media.EndMediaGone {
			t.Errorf("owner %d ended with %v", i-1, reason)
		}
		watcher.only(mark(old))
		packets.ended()
		packets.within(old)
		if m.ID == of.ID || m.Track == of.Track || m.MID != of.MID || (m.SSRC == of.SSRC) != (sources != sfutest.NewSource) {
			t.Fatalf("owner %d: %+v after %+v", i, m, of)
		}
		call.seen.gone(t, of)
		old, of, watcher, packets = next, m, nextWatcher, nextPackets
	}
	watcher.sees(mark(old))
	watcher.only(mark(old))
	if n := len(call.seen.record().removed); n != owners {
		t.Errorf("%d media removed, want %d", n, owners)
	}
}

// within checks that every frame lies between the first packet of a track and its last: none is of another owner.
func (l *listener) within(track *sfutest.Track) {
	l.t.Helper()
	first, _ := track.FirstTimestamp()
	end := track.NextTimestamp()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, f := range l.frames {
		if f.timestamp-first >= end-first {
			l.t.Errorf("frame %d of %d has timestamp %d, which is not of %v: %d to %d", i, len(l.frames), f.timestamp, track, first, end)
		}
	}
}

// TestS11_RenamedMSIDFollowsWithoutAGap renames the msid of running media in each of 10 negotiations: the facts follow as an update of the same
// media, and nothing is lost.
func TestS11_RenamedMSIDFollowsWithoutAGap(t *testing.T) {
	t.Parallel()
	c := newLab(t).call("call", fewCodecs)
	mic, cam := c.track("alice", microphone, clips.AliceMicrophone()), c.track("bob", camera, clips.BobCamera())
	first := c.add(mic, cam)
	audio, video := encoded(t, first[0].Track), encoded(t, first[1].Track)
	for i := range 10 {
		for k, track := range []*sfutest.Track{mic, cam} {
			_, trackID := track.MSID()
			name := fmt.Sprintf("name-%d-%d:TRACK_TYPE_VIDEO", k, i)
			must(t, c.sfu.Rename(c.lab.ctx, track, name, trackID))
			now := c.seen.now(first[k].ID)
			want := first[k]
			want.StreamID = name
			if now != want {
				t.Fatalf("round %d: got %+v, want %+v", i, now, want)
			}
		}
		audio.more(1)
	}
	for _, track := range []*sfutest.Track{mic, cam} { // back to its own name, by which account finds it
		streamID, trackID := track.MSID()
		must(t, c.sfu.Rename(c.lab.ctx, track, streamID, trackID))
	}
	if len(c.seen.record().added) != 2 || len(c.seen.record().removed) != 0 || len(c.seen.record().updated) < 22 {
		t.Errorf("%d added, %d removed, %d updated", len(c.seen.record().added), len(c.seen.record().removed), len(c.seen.record().updated))
	}
	c.account(mic, cam)
	audio.whole(960)
	video.whole(0)
}

// TestS12_PhantomHasNoNameUntilItIsIdentified offers media without an msid, whose packets flow: they are told without ids, under which nobody
// can take them for anybody's, and get their ids in place.
func TestS12_PhantomHasNoNameUntilItIsIdentified(t *testing.T) {
	t.Parallel()
	c := newLab(t).call("call", fewCodecs)
	mic, ghost := c.track("alice", microphone, clips.AliceMicrophone()), c.track("bob", camera, clips.BobCamera())
	ghost.SetMSID("", "")
	must(t, c.sfu.Add(c.lab.ctx, mic, ghost))
	known := c.flowing(mic)
	phantom := c.seen.find(t, "the phantom's packets", func(m rtcpool.Media) bool { return m.Kind == media.KindVideo && m.SSRC != 0 })
	video := encoded(t, phantom.Track)
	for range 3 {
		must(t, c.sfu.Renegotiate(c.lab.ctx, false))
		if now := c.seen.now(phantom.ID); now != phantom || now.StreamID != "" || now.TrackID != "" {
			t.Fatalf("was %+v, is %+v", phantom, now)
		}
	}
	streamID, trackID := ghost.MSID()
	must(t, c.sfu.Rename(c.lab.ctx, ghost, streamID, trackID))
	want := phantom
	want.StreamID, want.TrackID = streamID, trackID
	if now := c.seen.now(phantom.ID); now != want {
		t.Errorf("got %+v, want %+v", now, want)
	}
	if now := c.seen.now(known.ID); now != known {
		t.Errorf("the other was %+v, is %+v", known, now)
	}
	video.more(10)
	c.account(mic, ghost)
	video.whole(0)
}

// TestS13_FirstFramesAfterUnmuteAreNotMissed offers publishers that are silent: their media are told of at once, before any packet, and who
// subscribes meanwhile gets the very first audio packet and the first picture, a key frame, when they speak.
func TestS13_FirstFramesAfterUnmuteAreNotMissed(t *testing.T) {
	t.Parallel()
	c := newLab(t).call("call", fewCodecs)
	other := c.track("carol", microphone, clips.BobMicrophone())
	steady := encoded(t, c.add(other)[0].Track)
	for round := range 5 {
		mic := c.track(fmt.Sprint("alice-", round), microphone, clips.AliceMicrophone())
		cam := c.track(fmt.Sprint("bob-", round), camera, clips.BobCamera())
		mic.Hold(true)
		cam.Hold(true)
		must(t, c.sfu.Add(c.lab.ctx, mic, cam))
		var raw, decoded []*listener
		for _, track := range []*sfutest.Track{mic, cam} {
			streamID, trackID := track.MSID()
			m := c.seen.find(t, streamID, func(m rtcpool.Media) bool { return m.StreamID == streamID })
			if m.TrackID != trackID || m.SSRC != 0 || m.Codec != media.CodecUnknown || !m.Active {
				t.Errorf("a silent publisher: %+v", m)
			}
			raw, decoded = append(raw, encoded(t, m.Track)), append(decoded, watching(t, track, m.Track))
		}
		steady.more(10 * round) // the silence is longer each time
		if mic.Packets()+cam.Packets() != 0 {
			t.Fatal("they are not silent")
		}
		mic.Hold(false)
		cam.Hold(false)
		for i, track := range []*sfutest.Track{mic, cam} {
			raw[i].more(5)
			first, _ := track.FirstTimestamp()
			raw[i].mu.Lock()
			if f := raw[i].frames[0]; f.timestamp != first || !f.key || f.lost != (media.Loss{}) {
				t.Errorf("round %d: %v begins with %+v, its first packet is at %d", round, track, f, first)
			}
			raw[i].mu.Unlock()
			decoded[i].sees(mark(track))
			decoded[i].mu.Lock()
			if f := decoded[i].frames[0]; f.timestamp != first || f.lost != (media.Loss{}) {
				t.Errorf("round %d: %v is decoded from %+v, its first packet is at %d", round, track, f, first)
			}
			decoded[i].mu.Unlock()
		}
		c.account(mic, cam)
		must(t, c.sfu.Remove(c.lab.ctx, mic, cam))
	}
}
