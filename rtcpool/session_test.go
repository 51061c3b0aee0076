package rtcpool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool/internal/offer"
	"github.com/pion/webrtc/v4"
)

func TestMediaArrives(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice:TRACK_TYPE_VIDEO")
	f.add(opus, "mic", "alice:TRACK_TYPE_AUDIO")
	answer := f.negotiate(s, 0)
	if !answer.CandidatesComplete || !strings.Contains(answer.SDP, "a=candidate:") || len(answer.Rejected) != 0 {
		t.Errorf("complete %v, rejected %v, answer:\n%s", answer.CandidatesComplete, answer.Rejected, answer.SDP)
	}
	if strings.Contains(answer.SDP, "a=sendrecv") || strings.Contains(answer.SDP, "a=sendonly") {
		t.Errorf("the answer would send:\n%s", answer.SDP)
	}

	cam, mic := r.flowing(t, "cam"), r.flowing(t, "mic")
	if cam.Codec != media.CodecVP8 || cam.Kind != media.KindVideo || cam.StreamID != "alice:TRACK_TYPE_VIDEO" || !cam.Active {
		t.Errorf("camera: %+v", cam)
	}
	if mic.Codec != media.CodecOpus || mic.Kind != media.KindAudio || mic.Generation != 1 {
		t.Errorf("microphone: %+v", mic)
	}
	morePackets(t, cam.Track, 20)
	morePackets(t, mic.Track, 20)
	if got, ok := s.Media(cam.ID); !ok || got.Track != cam.Track {
		t.Errorf("Media(%q) = %+v, %v", cam.ID, got, ok)
	}
}

// Facts of the SDP are reported before any packet, so that a muted publisher is known.
func TestS13_MediaIsKnownBeforeItsFirstPacket(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	res, err := s.Negotiate(ctx, Offer{SDP: f.offer(nil)})
	if err != nil || res.Answer == nil {
		t.Fatal(res, err)
	}
	m := r.byTrack(t, "cam") // the SFU has not even seen the answer
	if m.SSRC != 0 || m.Codec != media.CodecUnknown || m.Track == nil || !m.Active {
		t.Errorf("media: %+v", m)
	}
}

func TestS1_OfferAfterCloseIsDropped(t *testing.T) {
	p := newTestPool(t, nil)
	other, others := open(t, p, "other")
	g := newTestSFU(t)
	g.add(opus, "mic", "bob")
	g.negotiate(other, 0)
	mic := others.flowing(t, "mic")

	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(opus, "mic", "alice")
	f.negotiate(s, 0)
	r.flowing(t, "mic")
	late := f.offer(nil)
	s.Close()
	for range 100 {
		res, err := s.Negotiate(context.Background(), Offer{SDP: late})
		if err != nil || res.Drop == nil || res.Drop.Reason != DropClosed {
			t.Fatalf("%+v, %v", res, err)
		}
	}
	if n := p.Stats().DroppedClosed; n != 100 {
		t.Errorf("%d counted", n)
	}
	if c, err := s.AddCandidate(context.Background(), 0, Candidate{}); err != nil || c != CandidateDropped {
		t.Errorf("candidate: %v, %v", c, err)
	}
	morePackets(t, mic.Track, 20)
}

func TestS2_OfferThatWaitsWhileTheSessionCloses(t *testing.T) {
	p := newTestPool(t, nil)
	for round := range 20 {
		s, _ := open(t, p, fmt.Sprint(round))
		f := newTestSFU(t)
		f.add(opus, "mic", "alice")
		text := f.offer(nil)
		outcomes := make(chan Result, 10)
		var calls sync.WaitGroup
		for i := range cap(outcomes) {
			calls.Go(func() {
				r, err := s.Negotiate(context.Background(), Offer{SDP: withVersion(t, text, uint64(i+10))})
				if err != nil {
					t.Error(err)
				}
				outcomes <- r
			})
		}
		s.Close()
		calls.Wait()
		close(outcomes)
		for r := range outcomes {
			if (r.Answer == nil) == (r.Drop == nil) {
				t.Errorf("%+v", r)
			}
		}
	}
	if n := p.Stats().PeerConnections; n != 0 {
		t.Errorf("%d peer connections left", n)
	}
}

// Offers that wait behind one that gathers are dropped when their turn comes after Close: no peer connection is made for them,
// and nothing reaches the one who offered.
func TestS2_NothingIsSentForAnOfferThatWaited(t *testing.T) {
	p := newTestPool(t, nil)
	held := newHeldSTUN(t)
	s, r := openWith(t, p, SessionConfig{ID: "s", ICEServers: []ICEServer{held.server()}})
	f := newTestSFU(t)
	f.add(opus, "mic", "alice")
	text := f.offer(nil)
	listener, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	waiting := strings.ReplaceAll(text, "a=end-of-candidates\r\n", "")
	waiting = candidateLine.ReplaceAllString(waiting, "")
	waiting += fmt.Sprintf("a=candidate:1 1 udp 2130706431 127.0.0.1 %d typ host\r\n", listener.LocalAddr().(*net.UDPAddr).Port)
	outcomes := make(chan Result, 11)
	var calls sync.WaitGroup
	offer := func(o Offer) {
		calls.Go(func() {
			r, err := s.Negotiate(context.Background(), o)
			if err != nil {
				t.Error(err)
			}
			outcomes <- r
		})
	}
	offer(Offer{Generation: 1, SDP: text})
	r.byTrack(t, "mic") // it is applied, and gathers
	for i := range 10 {
		offer(Offer{Generation: 2, SDP: withVersion(t, waiting, uint64(i)+1), Trickle: true})
	}
	queued := make(chan int, 1)
	waitFor(t, "ten offers that wait", func() bool {
		_, _ = s.do(context.Background(), func() { queued <- len(s.waiting) })
		return <-queued == 10
	})
	s.Close()
	calls.Wait()
	close(outcomes)
	for r := range outcomes {
		if r.Drop == nil || r.Drop.Reason != DropClosed {
			t.Errorf("%+v", r)
		}
	}
	if st := p.Stats(); st.DroppedClosed != 11 || st.Answered != 0 || st.PeerConnections != 0 {
		t.Errorf("%+v", st)
	}
	if told := r.told(); len(told.states[2]) != 0 || len(told.added) != 1 || len(told.candidates) != 0 {
		t.Errorf("states %v, added %v, candidates %v", told.states, told.added, told.candidates)
	}
	if err := listener.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if n, from, err := listener.ReadFrom(make([]byte, 1500)); err == nil {
		t.Errorf("%d bytes came from %v", n, from)
	}
}

func TestS3_OlderGenerationIsDroppedAndDrains(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	first, second := newTestSFU(t), newTestSFU(t)
	first.add(vp8, "cam", "alice")
	first.negotiate(s, 1)
	old := r.flowing(t, "cam")
	stale := first.offer(nil)

	second.add(vp8, "cam2", "alice")
	second.negotiate(s, 2)
	fresh := r.flowing(t, "cam2")
	if fresh.Generation != 2 || fresh.ID == old.ID || fresh.Track == old.Track {
		t.Errorf("old %+v, new %+v", old, fresh)
	}
	r.until(t, "the older generation is let go", func() bool { _, there := r.media[old.ID]; return !there })

	res, err := s.Negotiate(context.Background(), Offer{Generation: 1, SDP: stale})
	if err != nil || res.Drop == nil || res.Drop.Reason != DropStaleGeneration || res.Drop.CurrentGeneration != 2 {
		t.Errorf("%+v, %v", res, err)
	}
	c, err := s.AddCandidate(context.Background(), 1, Candidate{Candidate: "candidate:1 1 udp 1 127.0.0.1 9 typ host"})
	if err != nil || c != CandidateDropped {
		t.Errorf("candidate: %v, %v", c, err)
	}
	morePackets(t, fresh.Track, 20)
}

// The older generation is let go after 2 s even if the newer one's media never flow; until then it receives.
func TestS3_OlderGenerationEndsWhenTheNewerNeverFlows(t *testing.T) {
	t.Parallel()
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	first, second := newTestSFU(t), newTestSFU(t)
	first.add(vp8, "cam", "alice")
	first.negotiate(s, 1)
	old := r.flowing(t, "cam")
	second.add(vp8, "cam2", "alice")
	res, err := s.Negotiate(context.Background(), Offer{Generation: 2, SDP: second.offer(nil)})
	if err != nil || res.Answer == nil {
		t.Fatal(res, err)
	}
	morePackets(t, old.Track, 20)
	r.until(t, "the older generation is let go", func() bool { _, there := r.media[old.ID]; return !there })
}

// Each offer names the stream by its version, so that what was applied, and when, shows in what is told.
func TestS4_ConcurrentOffersAreAppliedInOrder(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(opus, "mic", "alice")
	f.negotiate(s, 0)
	mic := r.flowing(t, "mic")
	text := f.offer(nil)
	base := versionOf(t, text)
	const n = 50
	offers, answers := make([]string, n), make([]*Answer, n)
	var superseded atomic.Int32
	var calls sync.WaitGroup
	for i := range n {
		offers[i] = strings.ReplaceAll(withVersion(t, text, base+uint64(i)), "alice mic", fmt.Sprintf("alice-%03d mic", i))
		calls.Go(func() {
			res, err := s.Negotiate(context.Background(), Offer{SDP: offers[i]})
			switch {
			case err != nil:
				t.Error(err)
			case res.Answer != nil:
				answers[i] = res.Answer
			case res.Drop.Reason == DropSuperseded:
				superseded.Add(1)
			default:
				t.Errorf("%+v", res.Drop)
			}
		})
	}
	calls.Wait()
	answered := 0
	for _, a := range answers {
		if a != nil {
			answered++
		}
	}
	if answered+int(superseded.Load()) != n || answers[n-1] == nil {
		t.Errorf("%d answered, %d superseded, the last: %v", answered, superseded.Load(), answers[n-1])
	}
	told := r.told()
	if len(told.added) != 1 || len(told.removed) != 0 {
		t.Errorf("added %v, removed %v", told.added, told.removed)
	}
	var names []string
	for _, m := range told.updated {
		if strings.HasPrefix(m.StreamID, "alice-") && (len(names) == 0 || names[len(names)-1] != m.StreamID) {
			names = append(names, m.StreamID)
		}
	}
	if !slices.IsSorted(names) || len(names) != answered || names[len(names)-1] != fmt.Sprintf("alice-%03d", n-1) {
		t.Errorf("%d answered, told in the order %v", answered, names)
	}
	if st := p.Stats(); st.Answered != uint64(answered)+1 || st.DroppedSuperseded != uint64(superseded.Load()) { //nolint:gosec // small
		t.Errorf("%+v", st)
	}
	for range 3 {
		if again := mustAnswer(t, s, offers[n-1]); again != answers[n-1].SDP {
			t.Errorf("another answer:\n%s\n%s", answers[n-1].SDP, again)
		}
	}
	if now, _ := s.Media(mic.ID); now.Track != mic.Track || now.StreamID != fmt.Sprintf("alice-%03d", n-1) || now.SSRC != mic.SSRC {
		t.Errorf("was %+v, is %+v", mic, now)
	}
	morePackets(t, mic.Track, 10)
}

func TestS4_QueueOfOffersIsOrderedByVersion(t *testing.T) {
	f := newTestSFU(t)
	f.add(opus, "mic", "alice")
	text := f.offer(nil)
	var waiting []*negotiation
	for _, v := range []uint64{7, 5, 9, 6} {
		o, err := offer.Parse(withVersion(t, text, v), defaultMaxSDPBytes)
		if err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, &negotiation{offer: o})
	}
	if i := nextOf(waiting); waiting[i].offer.Origin.SessionVersion != 5 {
		t.Errorf("version %d is next", waiting[i].offer.Origin.SessionVersion)
	}
	waiting[1].generation = 2
	if i := nextOf(waiting); waiting[i].offer.Origin.SessionVersion != 6 {
		t.Errorf("version %d is next", waiting[i].offer.Origin.SessionVersion)
	}
}

func TestS4_SameOfferSameAnswer(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(opus, "mic", "alice")
	text := f.offer(nil)
	first := f.exchange(s, 0, text)
	r.flowing(t, "mic")
	again, err := s.Negotiate(context.Background(), Offer{SDP: text})
	if err != nil || again.Answer == nil || again.Answer.SDP != first.SDP {
		t.Errorf("%+v, %v", again, err)
	}
	if n := p.Stats().Repeated; n != 1 {
		t.Errorf("%d repeated", n)
	}
	old := withVersion(t, text, 1)
	res, err := s.Negotiate(context.Background(), Offer{SDP: old})
	if err != nil || res.Drop == nil || res.Drop.Reason != DropSuperseded {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestNegotiateEndsWithItsContext(t *testing.T) {
	p := newTestPool(t, nil)
	s, _ := open(t, p, "s")
	f := newTestSFU(t)
	f.add(opus, "mic", "alice")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Negotiate(ctx, Offer{SDP: f.offer(nil)}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestPoolRefuses(t *testing.T) {
	if _, err := New(Config{}); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
	p := newTestPool(t, nil)
	if _, err := p.Open(SessionConfig{}); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
	s, _ := open(t, p, "s")
	if _, err := p.Open(SessionConfig{ID: "s", Observer: newRecorder()}); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	if p.Session("s") != s || p.Session("t") != nil {
		t.Error("Session")
	}
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := p.Open(SessionConfig{ID: "t", Observer: newRecorder()}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestUDPPortsAreBounded(t *testing.T) {
	decoders := media.NewDecodePool(1)
	defer decoders.Close()
	if _, err := New(Config{Decoders: decoders, Tracer: noopTracer(), UDPPortMin: 5000, UDPPortMax: 4000}); !errors.Is(err, ErrConfig) {
		t.Error(err)
	}
	p := newTestPool(t, func(c *Config) { c.UDPPortMin, c.UDPPortMax = 42000, 42100 })
	s, _ := open(t, p, "s")
	f := newTestSFU(t)
	f.add(opus, "mic", "alice")
	for line := range strings.Lines(f.negotiate(s, 0).SDP) {
		if words := strings.Fields(line); strings.HasPrefix(line, "a=candidate:") && (words[5] < "42000" || words[5] > "42100") {
			t.Error(line)
		}
	}
}

func versionOf(t *testing.T, text string) uint64 {
	t.Helper()
	o, err := offer.Parse(text, defaultMaxSDPBytes)
	if err != nil {
		t.Fatal(err)
	}
	return o.Origin.SessionVersion
}

// withVersion sets the version in the o= line.
func withVersion(t *testing.T, text string, version uint64) string {
	t.Helper()
	before, rest, ok := strings.Cut(text, "o=")
	line, after, ok2 := strings.Cut(rest, "\r\n")
	words := strings.Fields(line)
	if !ok || !ok2 || len(words) != 6 {
		t.Errorf("no o= line in %q", text)
		return text
	}
	words[2] = fmt.Sprint(version)
	return before + "o=" + strings.Join(words, " ") + "\r\n" + after
}

var restartOptions = &webrtc.OfferOptions{ICERestart: true}
