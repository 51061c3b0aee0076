package podtest

import (
	"context"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// The caller's own span, in which workers call.
const (
	callersTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersSpan  = "00f067aa0ba902b7"
)

// storyOfAStream is the trace of a worker's call at a pod that does not own the session, as far as the first picture.
const storyOfAStream = `entry StreamTrack.open
  entry service.locate
  entry service.forward
    owner StreamTrack.open
      owner service.resolve
      owner service.attach
      owner media.key_frame_request
      owner media.first_packet
      owner media.first_decoded_frame
      owner service.first_message
  entry service.first_message
`

// tracedCluster starts two pods that send their traces to a collector, and returns the names of their incarnations.
func tracedCluster(t *testing.T, args ...string) (*cluster, *collector, map[string]string) {
	t.Helper()
	traces := startCollector(t)
	c := startClusterOf(t, 2, func(p *pod) []string {
		p.env = []string{"OTEL_BSP_SCHEDULE_DELAY=50"}
		return append([]string{"--otlp-endpoint=http://" + traces.addr}, args...)
	})
	return c, traces, map[string]string{c.pods[0].incarnation(c.ctx): "owner", c.pods[1].incarnation(c.ctx): "entry"}
}

// traced is a call in the caller's own trace.
func traced(ctx context.Context, trace string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "traceparent", "00-"+trace+"-"+callersSpan+"-01")
}

// TestO1_OneTraceFromCallToFirstPicture reads, while the stream runs, the whole story of its beginning from what two pods have told a collector: one trace, whose only
// missing parent is the caller's own span, without any span that is as long as the stream. What feeds the stream is linked to it, and it to that.
func TestO1_OneTraceFromCallToFirstPicture(t *testing.T) {
	c, traces, pods := tracedCluster(t, "--endpoint-grace=0s")
	id := c.createAt(c.pods[0], "call")
	k := c.call(c.pods[0].clients, id)
	at := c.pods[1].clients
	at.tracks = tracedTracks{at.tracks, callersTrace}
	began := time.Now()
	track := k.quiet("dave-1")
	w := c.work("there", at, id, "dave-1", penstockv1.Source_SOURCE_CAMERA)
	awaitSo(c.ctx, t, "a key frame is asked for", func() bool { return track.KeyFrameRequests() > 0 })
	track.Hold(false)
	w.awaitFrames(1)
	story := traces.await(c.ctx, t, "the story of the stream", storyOf(callersTrace), func(s []span) bool {
		return len(s) >= strings.Count(storyOfAStream, "\n")
	})
	if !w.open() {
		t.Fatal("the stream has ended")
	}
	if got := tree(story, pods); got != storyOfAStream {
		t.Errorf("the trace is\n%s\nwant\n%s", got, storyOfAStream)
	}
	ran := time.Since(began)
	for _, s := range story {
		if s.length() > ran {
			t.Errorf("%s took %v, the whole test %v", s.GetName(), s.length(), ran)
		}
		if parent := hex.EncodeToString(s.GetParentSpanId()); s.GetName() == "StreamTrack.open" && pods[s.instance] == "entry" && parent != callersSpan {
			t.Errorf("the parent of the call is %s, not the caller's span", parent)
		}
	}
	linked(t, traces, c, story, k)
	w.awaitFrames(30)
	later, _ := traces.all(storyOf(callersTrace))
	if len(later) != len(story) {
		t.Errorf("of frames there are spans:\n%s", tree(later, pods))
	}
	c.pods[0].signal(syscall.SIGTERM)
	handedOver(t, c, traces, pods)
}

// storyOf wants the spans of one trace but those of what goes wrong later, as on a machine that is too busy to decode or to read every frame.
func storyOf(id string) func(span) bool {
	return func(s span) bool { return ofTrace(id)(s) && s.GetName() != "StreamTrack.event" }
}

// storyOfADrain is the trace of a pod that stops and hands its only session over.
const storyOfADrain = `owner service.drain
  owner service.hand_over
    entry penstock.pod.v1.PodService/Adopt
      entry service.take_over
`

// handedOver checks the trace of a drain, and that the stream's own tells of it.
func handedOver(t *testing.T, c *cluster, traces *collector, pods map[string]string) {
	t.Helper()
	drain := traces.await(c.ctx, t, "a drain", func(s span) bool { return s.GetName() == "service.drain" }, func(s []span) bool { return len(s) == 1 })[0]
	story := traces.await(c.ctx, t, "the story of the drain", ofTrace(hex.EncodeToString(drain.GetTraceId())), func(s []span) bool {
		return len(s) >= strings.Count(storyOfADrain, "\n")
	})
	if got := tree(story, pods); got != storyOfADrain {
		t.Errorf("the trace of the drain is\n%s\nwant\n%s", got, storyOfADrain)
	}
	traces.await(c.ctx, t, "that the stream lost its owner", ofTrace(callersTrace), func(spans []span) bool {
		return slices.ContainsFunc(named(spans, "StreamTrack.event"), func(s span) bool { return slices.Contains(s.events(), "owner lost") })
	})
}

// storyOfAPublisher is the trace of a WHIP request at a pod that does not own the session.
const storyOfAPublisher = `entry WHIP POST
  entry service.locate
  entry service.forward
    owner penstock.pod.v1.PodService/ServeWhip
      owner rtcpool.negotiate
`

// TestO1_APublishersTrace publishes over WHIP in a trace of its own, at a pod that does not own the session. Of traces begun there the owner keeps none, nor any that strangers
// say are kept: this one it keeps, since the other pod does.
func TestO1_APublishersTrace(t *testing.T) {
	traces := startCollector(t)
	c := startClusterOf(t, 2, func(p *pod) []string {
		p.env = []string{"OTEL_BSP_SCHEDULE_DELAY=50"}
		args := []string{"--otlp-endpoint=http://" + traces.addr, "--trace-sample=0"}
		if p.name == "pod 0" {
			args = append(args, "--trace-callers-rate=0")
		}
		return args
	})
	pods := map[string]string{c.pods[0].incarnation(c.ctx): "owner", c.pods[1].incarnation(c.ctx): "entry"}
	id := c.createAt(c.pods[0], "call")
	p, err := sfutest.PublishWHIP(c.ctx, sfutest.WHIPConfig{
		URL: "http://" + c.pods[1].http + "/whip/" + id, Clips: []clips.Clip{camera()},
		Client: &http.Client{Transport: traceparent{&http.Transport{DisableKeepAlives: true}}},
	})
	must(t, err)
	defer func() { must(t, p.Close(c.ctx)) }()
	story := traces.await(c.ctx, t, "the publisher's story", ofTrace(callersTrace), func(s []span) bool {
		return len(s) >= strings.Count(storyOfAPublisher, "\n")
	})
	if got := tree(story, pods); got != storyOfAPublisher {
		t.Errorf("the trace is\n%s\nwant\n%s", got, storyOfAPublisher)
	}
	for _, s := range named(story, "WHIP POST") {
		if parent := hex.EncodeToString(s.GetParentSpanId()); parent != callersSpan {
			t.Errorf("the parent of the request is %s, not the caller's span", parent)
		}
	}
	others, _ := traces.all(func(s span) bool { return hex.EncodeToString(s.GetTraceId()) != callersTrace })
	if len(others) > 0 {
		t.Errorf("of what nobody asked to keep there is\n%s", tree(others, pods))
	}
}

// traceparent sends POST requests in the caller's trace.
type traceparent struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (c traceparent) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost {
		r = r.Clone(r.Context())
		r.Header.Set("traceparent", "00-"+callersTrace+"-"+callersSpan+"-01")
	}
	return c.next.RoundTrip(r)
}

// quiet publishes a camera that sends nothing yet, so that whoever comes first has to ask for a key frame.
func (k *call) quiet(participant string) *sfutest.Track {
	k.c.t.Helper()
	track, err := k.sfu.NewTrack(sfutest.Participant{ParticipantID: participant, UserID: participant}, penstockv1.Source_SOURCE_CAMERA, camera())
	must(k.c.t, err)
	track.Hold(true)
	must(k.c.t, k.sfu.Publish(k.c.ctx, track))
	return track
}

// linked checks the links between a stream and the negotiations of its session.
func linked(t *testing.T, traces *collector, c *cluster, story []span, k *call) {
	t.Helper()
	attach, open := named(story, "service.attach")[0], named(story, "StreamTrack.open")
	if len(attach.GetLinks()) == 0 {
		t.Fatal("the attachment names no negotiation")
	}
	fed := attach.GetLinks()[0]
	negotiation := func(s span) bool { return s.GetName() == "rtcpool.negotiate" }
	traces.await(c.ctx, t, "the negotiation that feeds the stream", negotiation, func(s []span) bool {
		for _, one := range s {
			if string(one.GetSpanId()) == string(fed.GetSpanId()) && one.text("penstock.session") == k.id {
				return true
			}
		}
		return false
	})
	must(t, k.sfu.Renegotiate(c.ctx, false))
	traces.await(c.ctx, t, "a negotiation that names the stream", negotiation, func(s []span) bool {
		for _, one := range s {
			for _, l := range one.GetLinks() {
				for _, o := range open {
					if string(l.GetSpanId()) == string(o.GetSpanId()) {
						return true
					}
				}
			}
		}
		return false
	})
}

// tracedTracks calls in a trace.
type tracedTracks struct {
	penstockv1.TrackServiceClient
	trace string
}

// StreamTrack implements penstockv1.TrackServiceClient.
func (c tracedTracks) StreamTrack(ctx context.Context, r *penstockv1.StreamTrackRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[penstockv1.StreamTrackResponse], error) {
	return c.TrackServiceClient.StreamTrack(traced(ctx, c.trace), r, opts...)
}
