package service

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// said counts what a track has sent.
type said struct {
	mu      sync.Mutex
	units   [][]byte
	times   []uint32
	changed chan struct{}
}

// listening makes a track tell what it sends.
func listening(track *sfutest.Track) *said {
	s := &said{changed: make(chan struct{}, 1)}
	track.Observe(sfutest.Observer{Unit: func(timestamp uint32, unit clips.Unit) {
		s.mu.Lock()
		s.units, s.times = append(s.units, unit.Data), append(s.times, timestamp)
		s.mu.Unlock()
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}})
	return s
}

// until waits for so many packets in all.
func (s *said) until(t *testing.T, g *gateway, n int) {
	t.Helper()
	for {
		s.mu.Lock()
		have := len(s.units)
		s.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-s.changed:
		case <-g.ctx.Done():
			t.Fatalf("%d packets of %d", have, n)
		}
	}
}

// count returns how many packets were sent.
func (s *said) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.units)
}

// replaying asks for a microphone and what it said before.
func replaying(participant string, ms uint32, format *penstockv1.StreamFormat) *penstockv1.StreamTrackRequest {
	return &penstockv1.StreamTrackRequest{
		SessionId: "call", Selector: byParticipant(participant, microphone), Format: format, Policy: &penstockv1.StreamPolicy{ReplayMs: ms, MaxQueueMs: 10000},
	}
}

// TestF9_TheFirstWordIsHeard attaches workers 1.5 s after the first word, with replay_ms: what they get begins with the first packet of it, is to the sample what a
// worker got who was there, has its times, and goes on into what is said now without a gap.
func TestF9_TheFirstWordIsHeard(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	sfu := g.sfu("call", sfutest.MSIDStream)
	mic := newTrack(t, sfu, "alice", microphone, clips.AliceMicrophone())
	mic.SetPackets(sfutest.Packets{CaptureTime: true})
	mic.Hold(true)
	words := listening(mic)
	must(t, sfu.Publish(g.ctx, mic))
	g.untilState("call", "alice SOURCE_MICROPHONE", penstockv1.TrackState_TRACK_STATE_LIVE)
	format := audioOf(&penstockv1.AudioFormat{SampleRateHz: 16000})
	there := g.open(replaying("alice", 0, format))
	there.header()
	began := time.Now()
	mic.Hold(false)
	words.until(t, g, 76) // 1.5 s
	asked := time.Now()
	late := g.open(replaying("alice", 5000, format))
	h := late.header()
	encoded := g.open(replaying("alice", 5000, encodedAs(penstockv1.Codec_CODEC_OPUS)))
	encoded.header()
	const frames = 150
	for i := range frames {
		want, got, packet := there.audio(), late.audio(), encoded.audio()
		w, is, p := want.GetInfo(), got.GetInfo(), packet.GetInfo()
		if !bytes.Equal(want.GetPayload(), got.GetPayload()) || is.GetRtpTimestamp() != w.GetRtpTimestamp() ||
			is.GetCaptureTimeUnixNs() != w.GetCaptureTimeUnixNs() || is.GetReceiveTimeUnixNs() != w.GetReceiveTimeUnixNs() || w.GetCaptureTimeUnixNs() == 0 {
			t.Fatalf("frame %d is %v, who was there got %v", i, is, w)
		}
		words.mu.Lock()
		sent, timestamp := words.units[i], words.times[i]
		words.mu.Unlock()
		if !bytes.Equal(packet.GetPayload(), sent) || p.GetRtpTimestamp() != timestamp || p.GetSequence() != uint64(i+1) || is.GetSequence() != uint64(i+1) {
			t.Fatalf("packet %d is %v, sent was %d bytes at %d", i, p, len(sent), timestamp)
		}
		at := time.Duration(is.GetPresentationTimeNs()) - time.Duration(i)*20*time.Millisecond
		if at < -time.Millisecond || at > time.Millisecond || is.GetLostFrames()+is.GetDroppedFrames() > 0 || got.GetConcealed() {
			t.Fatalf("frame %d: %v", i, is)
		}
		received := time.Unix(0, is.GetReceiveTimeUnixNs())
		if i == 0 && (received.Before(began) || received.After(asked) || h.GetStartTimeUnixNs() != is.GetReceiveTimeUnixNs()) {
			t.Errorf("the first word came at %v and the stream starts at %d; speech began %v, asked was %v", received, h.GetStartTimeUnixNs(), began, asked)
		}
	}
}

// TestF9_OnlyAsMuchAsIsAsked asks for less than was said, and for none.
func TestF9_OnlyAsMuchAsIsAsked(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	sfu := g.sfu("call", sfutest.MSIDStream)
	mic := newTrack(t, sfu, "alice", microphone, clips.AliceMicrophone())
	words := listening(mic)
	must(t, sfu.Publish(g.ctx, mic))
	words.until(t, g, 150)
	g.untilState("call", "alice SOURCE_MICROPHONE", penstockv1.TrackState_TRACK_STATE_LIVE)
	for _, ms := range []uint32{1500, 0} {
		asked := time.Now()
		r := g.open(replaying("alice", ms, nil))
		h := r.header()
		begun := time.Now()
		first := time.Unix(0, r.audio().GetInfo().GetReceiveTimeUnixNs())
		from := asked.Add(-time.Duration(max(ms, 1000)) * time.Millisecond) // what waits for a decoder at the moment is heard too
		if first.Before(from) || ms > 0 && (first.After(begun.Add(-500*time.Millisecond)) || h.GetStartTimeUnixNs() != first.UnixNano()) {
			t.Errorf("%d ms: the first frame came at %v, asked was %v", ms, first, asked)
		}
	}
}

// TestF9_NothingOfTheOwnerBefore lets media go from alice to bob: who asks for bob's last seconds hears nothing of alice.
func TestF9_NothingOfTheOwnerBefore(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	sfu := g.sfu("call", sfutest.MSIDNone)
	mic := newTrack(t, sfu, "alice", microphone, clips.AliceMicrophone())
	words := listening(mic)
	must(t, sfu.Publish(g.ctx, mic))
	was := g.untilState("call", "alice SOURCE_MICROPHONE", penstockv1.TrackState_TRACK_STATE_LIVE)
	words.until(t, g, 50)
	must(t, sfu.Report(g.ctx, &penstockv1.CallEvent{Event: &penstockv1.CallEvent_TrackUnpublished{
		TrackUnpublished: &penstockv1.TrackUnpublished{ParticipantId: "alice", Source: microphone},
	}}))
	words.until(t, g, 80)
	changed := time.Now()
	must(t, sfu.Report(g.ctx, &penstockv1.CallEvent{Event: &penstockv1.CallEvent_TrackPublished{
		TrackPublished: &penstockv1.TrackPublished{Publication: &penstockv1.Publication{
			Participant: &penstockv1.Participant{ParticipantId: "bob"}, Source: microphone, Mid: was.GetMedia().GetMid(),
		}},
	}}))
	r := g.open(replaying("bob", 5000, nil))
	if h := r.header(); h.GetTrack().GetMedia().GetMid() != was.GetMedia().GetMid() || h.GetTrack().GetPublication().GetParticipant().GetParticipantId() != "bob" {
		t.Fatalf("the media are not bob's: %v", h)
	}
	first := r.audio().GetInfo()
	if received := time.Unix(0, first.GetReceiveTimeUnixNs()); received.Before(changed) {
		t.Errorf("heard is what came %v before the media were bob's", changed.Sub(received))
	}
}

// TestHolders follows media from track to track.
func TestHolders(t *testing.T) {
	gone := map[string]bool{}
	h := newHolders(func(media string) bool { return !gone[media] })
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	for i, step := range []struct {
		media, track string
		want         time.Time
	}{
		{"m", "a", time.Time{}}, {"m", "a", time.Time{}}, {"n", "b", time.Time{}}, {"m", "b", at(3)}, {"m", "b", at(3)}, {"m", "a", at(5)},
	} {
		if got := h.since(step.media, step.track, at(i)); !got.Equal(step.want) {
			t.Errorf("step %d: since %v, want %v", i, got, step.want)
		}
	}
	for i := range 2 * maxHolders {
		media := fmt.Sprint("gone ", i)
		gone[media] = true
		h.since(media, "c", at(1))
	}
	if len(h.of) > maxHolders || h.since("m", "b", at(9)) != at(9) {
		t.Errorf("%d media are remembered, and those that live are not", len(h.of))
	}
}
