package rtcpool_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool"
	"github.com/pion/webrtc/v4"
	"go.opentelemetry.io/otel/trace/noop"
)

// limit is how long a test waits for what must happen: far longer than it ever takes.
const limit = 2 * time.Minute

const (
	camera     = penstockv1.Source_SOURCE_CAMERA
	microphone = penstockv1.Source_SOURCE_MICROPHONE
	screen     = penstockv1.Source_SOURCE_SCREEN_SHARE
)

// lab is a pool whose sessions are offered to by SFUs of sfutest, over real sockets of one address: packets come in the order in which
// they were sent, however busy the machine is, so that each one must come in its turn. See severalPaths.
type lab struct {
	t    *testing.T
	ctx  context.Context
	pool *rtcpool.Pool
	log  *logBook
}

func newLab(t *testing.T, changes ...func(*rtcpool.Config)) *lab {
	t.Helper()
	decoders := media.NewDecodePool(16) // so that no picture waits for a worker: on a busy machine the pool would leave some out
	log := &logBook{}
	cfg := rtcpool.Config{
		Decoders: decoders, Tracer: noop.NewTracerProvider().Tracer("test"), Loopback: true,
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Network: rtcpool.NetworkConfig{
			AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, SocketReceiveBuffer: 4 << 20, // for a machine that stands still at times
		},
	}
	for _, change := range changes {
		change(&cfg)
	}
	pool, err := rtcpool.New(cfg)
	must(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(func() {
		cancel()
		end, cancel := context.WithTimeout(context.Background(), limit) // its own: a slow test may have used up the other
		defer cancel()
		must(t, pool.Close(end))
		decoders.Close()
	})
	return &lab{t: t, ctx: ctx, pool: pool, log: log}
}

// severalPaths gives candidates on all addresses of the machine. Before ICE has chosen a pair, and after each restart, an SFU may send on
// several, and packets of two sockets overtake each other as the machine is busy: see arrived.
func severalPaths(cfg *rtcpool.Config) { cfg.Network.AllowNetworks = nil }

// fewCodecs lets an SFU offer few codecs, so that tests of many negotiations are about these and not about reading formats.
func fewCodecs(c *sfutest.Config) { c.FewCodecs = true }

// call is a session, the SFU that offers to it, and what is told of it.
type call struct {
	lab     *lab
	session *rtcpool.Session
	sfu     *sfutest.SFU
	seen    *observed
}

// call opens a session and an SFU, which end with the test.
func (l *lab) call(id string, changes ...func(*sfutest.Config)) *call {
	l.t.Helper()
	seen := newObserved()
	session, err := l.pool.Open(rtcpool.SessionConfig{ID: id, Observer: seen})
	must(l.t, err)
	cfg := sfutest.Config{}
	for _, change := range changes {
		change(&cfg)
	}
	cfg.Signaller = &direct{session: session, trickle: cfg.Trickle != sfutest.TrickleOff}
	sfu, err := sfutest.New(cfg)
	must(l.t, err)
	seen.sfu.Store(sfu)
	l.t.Cleanup(func() { must(l.t, sfu.Close()) })
	return &call{lab: l, session: session, sfu: sfu, seen: seen}
}

// track makes a track of a participant.
func (c *call) track(participant string, source penstockv1.Source, clip clips.Clip) *sfutest.Track {
	c.lab.t.Helper()
	track, err := c.sfu.NewTrack(sfutest.Participant{ParticipantID: participant}, source, clip)
	must(c.lab.t, err)
	return track
}

// add offers tracks and returns their media, of which packets have come.
func (c *call) add(tracks ...*sfutest.Track) []rtcpool.Media {
	c.lab.t.Helper()
	must(c.lab.t, c.sfu.Add(c.lab.ctx, tracks...))
	var out []rtcpool.Media
	for _, track := range tracks {
		out = append(out, c.flowing(track))
	}
	return out
}

// flowing waits until packets of a track come, and returns its media.
func (c *call) flowing(track *sfutest.Track) rtcpool.Media {
	c.lab.t.Helper()
	streamID, trackID := track.MSID()
	return c.seen.find(c.lab.t, "packets of "+streamID, func(m rtcpool.Media) bool {
		return m.StreamID == streamID && m.TrackID == trackID && m.SSRC != 0 && m.Codec != media.CodecUnknown
	})
}

// overflows is how many packets the machine threw away before anybody read them, as it may when it is starved: so many, and no more, may be
// missing in a test.
func (l *lab) overflows() uint64 { return l.pool.Stats().Network.SocketOverflows }

// account holds tracks and checks that every packet which was sent has come, once: no sequence number is missing, but for what overflowed. The
// tracks stay silent: what they say next would begin after a gap. See goOn.
func (c *call) account(tracks ...*sfutest.Track) {
	c.lab.t.Helper()
	c.settle(tracks, func(s media.TrackStats, sent, over uint64) bool { return s.Packets-s.Duplicate-s.Late+over >= sent })
	for _, track := range tracks {
		sent, over, s := track.Packets(), c.lab.overflows(), c.flowing(track).Track.Stats()
		if s.Packets-s.Duplicate-s.Late > sent || s.Lost+s.Unusable > over {
			c.lab.t.Errorf("%v: %d packets sent, %d overflowed, got %+v", track, sent, over, s)
		}
	}
}

// goOn lets tracks speak again.
func (c *call) goOn(tracks ...*sfutest.Track) {
	for _, track := range tracks {
		track.Hold(false)
	}
}

// arrived is account for several paths: every packet comes, and none is given up but for coming too late. The tracks go on.
func (c *call) arrived(tracks ...*sfutest.Track) {
	c.lab.t.Helper()
	c.settle(tracks, func(s media.TrackStats, sent, over uint64) bool {
		return s.Packets-s.Duplicate+over >= sent && s.Lost <= s.Late+over
	})
	c.goOn(tracks...)
}

// settle holds tracks and waits until what came of each is complete, given what was sent and what overflowed.
func (c *call) settle(tracks []*sfutest.Track, complete func(s media.TrackStats, sent, over uint64) bool) {
	c.lab.t.Helper()
	for _, track := range tracks {
		track.Hold(true)
	}
	for _, track := range tracks {
		m, sent := c.flowing(track), track.Packets()
		poll(c.lab.t, fmt.Sprintf("%d packets of %v", sent, track), func() string {
			s := m.Track.Stats()
			if complete(s, sent, c.lab.overflows()) {
				return ""
			}
			return fmt.Sprintf("%+v; the network %+v, the pool %+v", s, c.sfu.Network().Out(), c.lab.pool.Stats())
		})
	}
}

// direct is a Signaller that calls a session.
type direct struct {
	session *rtcpool.Session
	trickle bool
}

// Negotiate implements sfutest.Signaller.
func (d *direct) Negotiate(ctx context.Context, generation uint64, offer string) (string, error) {
	r, err := d.session.Negotiate(ctx, rtcpool.Offer{Generation: generation, SDP: offer, Trickle: d.trickle})
	if err != nil {
		return "", err
	}
	if r.Drop != nil {
		return "", fmt.Errorf("%w: %v", sfutest.ErrDropped, r.Drop.Reason)
	}
	for _, rejected := range r.Answer.Rejected {
		return "", fmt.Errorf("%w: mid %q: %s", sfutest.ErrRejected, rejected.MID, rejected.Reason)
	}
	return r.Answer.SDP, nil
}

// ReportEvents implements sfutest.Signaller: a session knows of no call.
func (d *direct) ReportEvents(context.Context, ...*penstockv1.CallEvent) error { return nil }

// AddCandidate implements sfutest.Trickler.
func (d *direct) AddCandidate(ctx context.Context, generation uint64, c webrtc.ICECandidateInit) error {
	_, err := d.session.AddCandidate(ctx, generation, rtcpool.Candidate{
		Candidate: c.Candidate, MID: c.SDPMid, MLineIndex: c.SDPMLineIndex, UsernameFragment: c.UsernameFragment,
	})
	return err
}

// observed is an Observer that keeps what it is told, and gives candidates to the SFU.
type observed struct {
	sfu atomic.Pointer[sfutest.SFU]

	mu                      sync.Mutex
	changed                 chan struct{} // closed and renewed at each call
	media                   map[string]rtcpool.Media
	added, updated, removed []rtcpool.Media
	states                  map[uint64][]rtcpool.State
	restarts                []rtcpool.Restart
	candidates              []rtcpool.Candidate
	ended                   []rtcpool.EndReason
}

func newObserved() *observed {
	return &observed{changed: make(chan struct{}), media: map[string]rtcpool.Media{}, states: map[uint64][]rtcpool.State{}}
}

func (o *observed) tell(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
	close(o.changed)
	o.changed = make(chan struct{})
}

// MediaChanged implements rtcpool.Observer.
func (o *observed) MediaChanged(d rtcpool.MediaDiff) {
	o.tell(func() {
		for _, m := range d.Added {
			o.media[m.ID] = m
		}
		for _, m := range d.Updated {
			o.media[m.ID] = m
		}
		for _, m := range d.Removed {
			delete(o.media, m.ID)
		}
		o.added, o.updated, o.removed = append(o.added, d.Added...), append(o.updated, d.Updated...), append(o.removed, d.Removed...)
	})
}

// StateChanged implements rtcpool.Observer.
func (o *observed) StateChanged(generation uint64, s rtcpool.State) {
	o.tell(func() { o.states[generation] = append(o.states[generation], s) })
}

// CandidateGathered implements rtcpool.Observer.
func (o *observed) CandidateGathered(generation uint64, c rtcpool.Candidate) {
	o.tell(func() { o.candidates = append(o.candidates, c) })
	init := webrtc.ICECandidateInit{Candidate: c.Candidate, SDPMid: c.MID, SDPMLineIndex: c.MLineIndex, UsernameFragment: c.UsernameFragment}
	// The SFU may have gone; a candidate that it does not take shows in the connection.
	if sfu := o.sfu.Load(); sfu != nil {
		_ = sfu.AddCandidate(generation, init)
	}
}

// RestartNeeded implements rtcpool.Observer.
func (o *observed) RestartNeeded(r rtcpool.Restart) {
	o.tell(func() { o.restarts = append(o.restarts, r) })
}

// SessionEnded implements rtcpool.Observer.
func (o *observed) SessionEnded(reason rtcpool.EndReason) {
	o.tell(func() { o.ended = append(o.ended, reason) })
}

// until waits for a condition on what was told; it is called with the lock.
func (o *observed) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	end := time.NewTimer(limit)
	defer end.Stop()
	for {
		o.mu.Lock()
		good, changed := holds(), o.changed
		o.mu.Unlock()
		if good {
			return
		}
		select {
		case <-changed:
		case <-end.C:
			o.mu.Lock()
			defer o.mu.Unlock()
			t.Fatalf("%s: not within %v; media %+v, states %v, ended %v", what, limit, o.media, o.states, o.ended)
		}
	}
}

// find waits for a media that fits.
func (o *observed) find(t *testing.T, what string, fits func(rtcpool.Media) bool) rtcpool.Media {
	t.Helper()
	var found rtcpool.Media
	o.until(t, what, func() bool {
		for _, m := range o.media {
			if fits(m) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// gone waits until a media is removed.
func (o *observed) gone(t *testing.T, m rtcpool.Media) {
	t.Helper()
	o.until(t, "the end of "+m.StreamID, func() bool { _, there := o.media[m.ID]; return !there })
}

// told returns how often a media was added and removed.
func (o *observed) told(id string) (added, removed int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range o.added {
		if m.ID == id {
			added++
		}
	}
	for _, m := range o.removed {
		if m.ID == id {
			removed++
		}
	}
	return added, removed
}

// record is a copy of what was told so far.
func (o *observed) record() *observed {
	o.mu.Lock()
	defer o.mu.Unlock()
	return &observed{
		media: maps.Clone(o.media), added: slices.Clone(o.added), updated: slices.Clone(o.updated), removed: slices.Clone(o.removed),
		states: maps.Clone(o.states), restarts: slices.Clone(o.restarts), candidates: slices.Clone(o.candidates), ended: slices.Clone(o.ended),
	}
}

// now returns what was last told of a media.
func (o *observed) now(id string) rtcpool.Media {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.media[id]
}

// logBook keeps log lines.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// count counts the lines that hold all of some words.
func (l *logBook) count(words ...string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for line := range bytes.Lines(l.text.Bytes()) {
		all := true
		for _, word := range words {
			all = all && bytes.Contains(line, []byte(word))
		}
		if all {
			n++
		}
	}
	return n
}

// must ends the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// poll asks again and again of what cannot tell when it changes. holds returns what is still missing, or nothing.
func poll(t *testing.T, what string, holds func() string) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(limit)
	defer end.Stop()
	for {
		missing := holds()
		if missing == "" {
			return
		}
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("%s: not within %v: %s", what, limit, missing)
		}
	}
}
