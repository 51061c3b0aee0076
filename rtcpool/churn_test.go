package rtcpool_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/rtcpool"
)

// TestS7_RunningStreamsGoOnWhileTracksAreAdded adds a track in each of 50 negotiations: the streams before lose no sequence
// number, keep media object and ssrc, and are told of once; each new one arrives.
func TestS7_RunningStreamsGoOnWhileTracksAreAdded(t *testing.T) {
	t.Parallel()
	c := newLab(t).call("call", fewCodecs)
	mic, cam := c.track("alice", microphone, clips.AliceMicrophone()), c.track("bob", camera, clips.BobCamera())
	running := []*sfutest.Track{mic, cam}
	first := c.add(running...)
	audio, video := encoded(t, first[0].Track), encoded(t, first[1].Track)
	const rounds = 50
	for i := range rounds {
		name := fmt.Sprint("guest-", i)
		next := c.track(name, microphone, clips.BobMicrophone())
		m := c.add(next)[0]
		if m.SSRC == first[0].SSRC || m.Track == first[0].Track {
			t.Fatalf("round %d: the new media is the old one: %+v", i, m)
		}
		for k, was := range first {
			if now := c.seen.now(was.ID); now != was {
				t.Fatalf("round %d: %v was %+v, is %+v", i, running[k], was, now)
			}
		}
		running = append(running, next)
		if i%10 != 0 {
			next.Hold(true) // fifty voices at once would only be work
		}
	}
	audio.more(10)
	video.more(10)
	for _, m := range first {
		if added, removed := c.seen.told(m.ID); added != 1 || removed != 0 {
			t.Errorf("%s: added %d times, removed %d times", m.StreamID, added, removed)
		}
	}
	if n := len(c.seen.record().added); n != rounds+2 {
		t.Errorf("%d media added, want %d", n, rounds+2)
	}
	c.account(running[:2]...)
	audio.whole(960)
	video.whole(0)
}

// TestS8_RunningStreamsGoOnAcrossICERestarts restarts ICE in each of 50 negotiations, while other tracks are added and removed: no sequence
// number is lost.
func TestS8_RunningStreamsGoOnAcrossICERestarts(t *testing.T) {
	t.Parallel()
	c := newLab(t).call("call", fewCodecs)
	mic, cam := c.track("alice", microphone, clips.AliceMicrophone()), c.track("bob", camera, clips.BobCamera())
	first := c.add(mic, cam)
	audio, video := encoded(t, first[0].Track), encoded(t, first[1].Track)
	var guest *sfutest.Track
	for i := range 50 {
		must(t, c.sfu.Renegotiate(c.lab.ctx, true))
		switch {
		case i%5 == 1:
			guest = c.track(fmt.Sprint("guest-", i), microphone, clips.BobMicrophone())
			c.add(guest)
		case i%5 == 3:
			must(t, c.sfu.Remove(c.lab.ctx, guest))
		}
		audio.more(1)
	}
	audio.more(25)
	video.more(25)
	for i, was := range first {
		added, removed := c.seen.told(was.ID)
		if now := c.seen.now(was.ID); now != was || added != 1 || removed != 0 {
			t.Errorf("media %d was %+v, is %+v, added %d times, removed %d times", i, was, now, added, removed)
		}
	}
	c.account(mic, cam)
	audio.whole(960)
	video.whole(0)
	if s := c.seen.record().states[1]; s[len(s)-1] != rtcpool.StateConnected {
		t.Errorf("states %v", s)
	}
}

// TestS8_EveryPacketArrivesOverSeveralPaths restarts ICE where the SFU can send to each of several sockets, and does until it has chosen.
func TestS8_EveryPacketArrivesOverSeveralPaths(t *testing.T) {
	t.Parallel()
	c := newLab(t, severalPaths).call("call", fewCodecs)
	mic, cam := c.track("alice", microphone, clips.AliceMicrophone()), c.track("bob", camera, clips.BobCamera())
	first := c.add(mic, cam)
	audio := encoded(t, first[0].Track)
	for range 20 {
		must(t, c.sfu.Renegotiate(c.lab.ctx, true))
		audio.more(1)
	}
	c.arrived(mic, cam)
}

// TestS8_MeshOfPublishersThatJoinAndLeave lets publishers join and leave by chance for 50 rounds, four at least at most times, and ICE
// restart between: two streams go on throughout without a loss, every publisher's own media arrive and nobody else's.
func TestS8_MeshOfPublishersThatJoinAndLeave(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	newMesh(l.call("call", fewCodecs), 8).churn(func(round int) bool { return round < 50 })
}

// TestS8_Soak is the same for as long as PENSTOCK_SOAK says (a Go duration), on two sessions at a time, with a pause and a new
// source now and then, over several paths.
func TestS8_Soak(t *testing.T) {
	length := 5 * time.Second
	if text := os.Getenv("PENSTOCK_SOAK"); text != "" {
		var err error
		length, err = time.ParseDuration(text)
		must(t, err)
	}
	l := newLab(t, severalPaths)
	for i := range 2 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			own := *l
			own.t = t
			m := newMesh(own.call(fmt.Sprint("call-", i), fewCodecs), uint64(i+1)) //nolint:gosec // a small number
			m.wild = true
			end := time.Now().Add(length)
			m.churn(func(int) bool { return time.Now().Before(end) })
		})
	}
}

// mesh is a call whose publishers come and go.
type mesh struct {
	*call
	random  *rand.Rand
	wild    bool // pauses and new sources too
	present []*guest
	joined  int
}

// guest is a publisher with a microphone and a camera.
type guest struct {
	tracks    []*sfutest.Track
	media     []rtcpool.Media
	listeners []*listener
	paused    bool
}

func newMesh(c *call, seed uint64) *mesh {
	return &mesh{call: c, random: rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // it is to be repeatable
}

// churn goes on for as long as it is told to, and then checks what never stopped.
func (m *mesh) churn(goOn func(round int) bool) {
	t := m.lab.t
	t.Helper()
	mic, cam := m.track("host", microphone, clips.AliceMicrophone()), m.track("host", camera, clips.BobCamera())
	first := m.add(mic, cam)
	audio, video := encoded(t, first[0].Track), encoded(t, first[1].Track)
	for round := 0; goOn(round); round++ {
		m.step()
	}
	for len(m.present) > 0 {
		m.leave(0)
	}
	audio.more(10)
	video.more(10)
	for _, was := range first {
		added, removed := m.seen.told(was.ID)
		if now := m.seen.now(was.ID); now != was || added != 1 || removed != 0 {
			t.Errorf("%s was %+v, is %+v, added %d times, removed %d times", was.StreamID, was, now, added, removed)
		}
	}
	if m.wild {
		m.arrived(mic, cam)
		return
	}
	m.account(mic, cam)
	audio.whole(960)
	video.whole(0)
}

// step lets one thing happen.
func (m *mesh) step() {
	m.lab.t.Helper()
	roll := m.random.IntN(100)
	switch {
	case len(m.present) < 3 || roll < 40 && len(m.present) < 7:
		m.join()
	case roll < 75:
		m.leave(m.random.IntN(len(m.present)))
	case roll < 85 || !m.wild:
		must(m.lab.t, m.sfu.Renegotiate(m.lab.ctx, true))
	default:
		m.toggle(m.present[m.random.IntN(len(m.present))])
	}
}

// join lets a publisher come, whose clips differ from those of the one before.
func (m *mesh) join() {
	m.lab.t.Helper()
	voices := []clips.Clip{clips.AliceMicrophone(), clips.BobMicrophone()}
	pictures := []clips.Clip{clips.BobScreen(), clips.BobCamera()}
	name := fmt.Sprint("guest-", m.joined)
	g := &guest{tracks: []*sfutest.Track{
		m.track(name, microphone, voices[m.joined%2]), m.track(name, camera, pictures[m.joined%2]),
	}}
	m.joined++
	g.media = m.add(g.tracks...)
	for i, track := range g.tracks {
		g.listeners = append(g.listeners, watching(m.lab.t, track, g.media[i].Track))
	}
	m.present = append(m.present, g)
}

// leave lets a publisher go, of whom nobody else's frames were delivered.
func (m *mesh) leave(i int) {
	t := m.lab.t
	t.Helper()
	g := m.present[i]
	m.present = slices.Delete(m.present, i, i+1)
	if !g.paused {
		g.listeners[1].sees(mark(g.tracks[1]))
	}
	must(t, m.sfu.Remove(m.lab.ctx, g.tracks...))
	for k, of := range g.media {
		m.seen.until(t, "the pause of "+of.StreamID, func() bool { now, there := m.seen.media[of.ID]; return !there || !now.Active })
		g.listeners[k].only(mark(g.tracks[k]))
		g.listeners[k].close()
	}
}

// toggle pauses or resumes a publisher's tracks.
func (m *mesh) toggle(g *guest) {
	m.lab.t.Helper()
	g.paused = !g.paused
	if g.paused {
		must(m.lab.t, m.sfu.Pause(m.lab.ctx, m.random.IntN(2) == 0, g.tracks...))
		return
	}
	must(m.lab.t, m.sfu.Resume(m.lab.ctx, g.tracks...))
}

// mark is what tells a track's frames from others'.
func mark(t *sfutest.Track) int { return t.Clip.Watermark + t.Clip.ToneHz }
