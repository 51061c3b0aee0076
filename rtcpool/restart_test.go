package rtcpool

import (
	"context"
	"errors"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
)

func TestRestartICEWithoutAnOffer(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	if _, err := s.RestartICE(context.Background(), "abcd", strings.Repeat("p", 22), nil); !errors.Is(err, ErrNoOffer) {
		t.Errorf("before any offer: %v", err)
	}
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	first := f.negotiate(s, 0)
	cam := r.flowing(t, "cam")
	for range 3 {
		fresh := f.offer(restartOptions)
		_, candidates := withoutCandidates(fresh)
		res, err := s.RestartICE(context.Background(), sdpAttribute(fresh, "ice-ufrag"), sdpAttribute(fresh, "ice-pwd"), candidates)
		if err != nil || res.Answer == nil {
			t.Fatal(res, err)
		}
		if sdpAttribute(res.Answer.SDP, "ice-ufrag") == sdpAttribute(first.SDP, "ice-ufrag") {
			t.Error("the answer repeats the credentials")
		}
		first = res.Answer
		f.accept(res.Answer.SDP)
		morePackets(t, cam.Track, 30)
	}
	if now, ok := s.Media(cam.ID); !ok || now != cam {
		t.Errorf("was %+v, is %+v", cam, now)
	}
}

func TestRestartICERefusesBadCredentials(t *testing.T) {
	s, _ := open(t, newTestPool(t, nil), "s")
	good := strings.Repeat("p", 22)
	for ufrag, pwd := range map[string]string{"abc": good, "abcd": "short", "ab\r\nc": good, "efgh": good + "\r\na=x:y", "": ""} {
		var bad *SDPError
		if _, err := s.RestartICE(context.Background(), ufrag, pwd, nil); !errors.As(err, &bad) {
			t.Errorf("%q, %q: %v", ufrag, pwd, err)
		}
	}
}

func TestS17_FailedNegotiationLeavesStreamsAlone(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	f.negotiate(s, 0)
	cam := r.flowing(t, "cam")
	good := f.offer(nil)
	for _, bad := range []string{
		"hello", offertest.Head, strings.ReplaceAll(good, "a=mid:", "a=mud:"+strings.Repeat("x", 10)),
		strings.ReplaceAll(good, "a=ice-ufrag", "a=ice-no"), strings.ReplaceAll(good, "a=fingerprint:sha-256 ", "a=fingerprint:"),
	} {
		if res, err := s.Negotiate(context.Background(), Offer{SDP: bad}); err == nil && bad != good && res.Drop != nil {
			t.Errorf("%+v", res)
		}
	}
	morePackets(t, cam.Track, 20)
	f.add(opus, "mic", "alice")
	f.accept(mustAnswer(t, s, good))
	f.negotiate(s, 0)
	r.flowing(t, "mic")
	if now, ok := s.Media(cam.ID); !ok || now != cam {
		t.Errorf("was %+v, is %+v", cam, now)
	}
}

// An answer that is lost on its way to the SFU: it offers again, from where it was.
func TestS17_LostAnswer(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	f.negotiate(s, 0)
	cam := r.flowing(t, "cam")
	f.add(opus, "mic", "alice")
	text := f.offer(nil)
	mustAnswer(t, s, text)
	f.accept(mustAnswer(t, s, text))
	r.flowing(t, "mic")
	morePackets(t, cam.Track, 20)
}

func mustAnswer(t *testing.T, s *Session, text string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	res, err := s.Negotiate(ctx, Offer{SDP: text})
	if err != nil || res.Answer == nil {
		t.Fatal(res, err)
	}
	return res.Answer.SDP
}

// spans records the names of spans.
type spans struct {
	embedded.Tracer
	started, ended chan string
}

type span struct {
	noop.Span
	name string
	of   *spans
}

func (s *spans) Start(ctx context.Context, name string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	s.started <- name
	return ctx, &span{name: name, of: s}
}

func (s *span) End(...trace.SpanEndOption) { s.of.ended <- s.name }

func TestEachNegotiationHasASpan(t *testing.T) {
	tracer := &spans{started: make(chan string, 10), ended: make(chan string, 10)}
	p := newTestPool(t, func(c *Config) { c.Tracer = tracer })
	s, _ := open(t, p, "s")
	mustAnswer(t, s, offertest.Of(offertest.Audio))
	s.Close()
	if _, err := s.RestartICE(context.Background(), "abcd", strings.Repeat("p", 22), nil); err != nil {
		t.Error(err)
	}
	for _, c := range []chan string{tracer.started, tracer.ended, tracer.started, tracer.ended} {
		if name := <-c; name != "rtcpool.negotiate" {
			t.Error(name)
		}
	}
}

// TestOffersOfAnotherProcessAreDropped: a session whose peer connections were elsewhere before takes no offer and no candidate of theirs, tells from
// which generation on it does, and begins there with an offer that names none.
func TestOffersOfAnotherProcessAreDropped(t *testing.T) {
	p := newTestPool(t, nil)
	r := newRecorder()
	s, err := p.Open(SessionConfig{ID: "s", Observer: r, MinGeneration: 4})
	if err != nil {
		t.Fatal(err)
	}
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice")
	res, err := s.Negotiate(context.Background(), Offer{Generation: 3, SDP: f.offer(nil)})
	if err != nil || res.Drop == nil || *res.Drop != (Drop{Reason: DropStaleGeneration, MinGeneration: 4}) {
		t.Errorf("an offer of before: %+v, %v", res, err)
	}
	c, err := s.AddCandidate(context.Background(), 3, Candidate{Candidate: "candidate:1 1 udp 1 127.0.0.1 9 typ host"})
	if err != nil || c != CandidateDropped {
		t.Errorf("a candidate of before: %v, %v", c, err)
	}
	fresh := newTestSFU(t)
	fresh.add(vp8, "cam", "alice")
	fresh.negotiate(s, 0)
	if m := r.flowing(t, "cam"); m.Generation != 4 {
		t.Errorf("an offer without a generation: %+v", m)
	}
}
