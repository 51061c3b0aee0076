package sfutest_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

const (
	camera     = penstockv1.Source_SOURCE_CAMERA
	microphone = penstockv1.Source_SOURCE_MICROPHONE
	screen     = penstockv1.Source_SOURCE_SCREEN_SHARE
)

func alice() sfutest.Participant {
	return sfutest.Participant{ParticipantID: "alice-1", UserID: "alice", Name: "Alice", Prefix: "prefix-a"}
}

func bob() sfutest.Participant { return sfutest.Participant{ParticipantID: "bob-1", UserID: "bob"} }

func newSFU(t *testing.T, r sfutest.Signaller, msid sfutest.MSID) *sfutest.SFU {
	t.Helper()
	sfu, err := sfutest.New(sfutest.Config{Signaller: r, MSID: msid})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sfu.Close(); err != nil {
			t.Error(err)
		}
	})
	return sfu
}

func newTrack(t *testing.T, sfu *sfutest.SFU, p sfutest.Participant, s penstockv1.Source, c clips.Clip) *sfutest.Track {
	t.Helper()
	track, err := sfu.NewTrack(p, s, c)
	if err != nil {
		t.Fatal(err)
	}
	return track
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hangLimit)
	t.Cleanup(cancel)
	return ctx
}

func TestEveryClipArrivesWithItsMark(t *testing.T) {
	r := newReceiver(t)
	sfu := newSFU(t, r, sfutest.MSIDStream)
	want := map[string]int{ // msid stream id: mark
		"prefix-a:TRACK_TYPE_VIDEO": clips.AliceCamera().Watermark, "prefix-a:TRACK_TYPE_AUDIO": clips.AliceMicrophone().ToneHz,
		"bob-1:TRACK_TYPE_VIDEO": clips.BobCamera().Watermark, "bob-1:TRACK_TYPE_AUDIO": clips.BobMicrophone().ToneHz,
		"bob-1:TRACK_TYPE_SCREEN_SHARE": clips.BobScreen().Watermark,
	}
	err := sfu.Publish(testContext(t),
		newTrack(t, sfu, alice(), camera, clips.AliceCamera()), newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone()),
		newTrack(t, sfu, bob(), camera, clips.BobCamera()), newTrack(t, sfu, bob(), microphone, clips.BobMicrophone()),
		newTrack(t, sfu, bob(), screen, clips.BobScreen()))
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		stream string
		mark   int
		err    error
	}
	results := make(chan result, len(want))
	for range len(want) {
		track := r.next(t)
		go func() {
			found, err := mark(track)
			results <- result{track.StreamID(), found, err}
		}()
	}
	for range len(want) {
		got := <-results
		if mark, known := want[got.stream]; got.err != nil || !known || got.mark != mark {
			t.Errorf("%s: mark %d, want %d, error %v", got.stream, got.mark, mark, got.err)
		}
		delete(want, got.stream)
	}
	if len(r.events) != 5 {
		t.Errorf("%d events, want 5", len(r.events))
	}
}

func TestTimestampsFollowTheClockAndSequencesHaveNoHole(t *testing.T) {
	r := newReceiver(t)
	sfu := newSFU(t, r, sfutest.MSIDStream)
	ctx := testContext(t)
	if err := sfu.Publish(ctx, newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone())); err != nil {
		t.Fatal(err)
	}
	audio := r.next(t)
	packets := read(t, audio, 20)
	// Another track comes; this one must not notice.
	if err := sfu.Publish(ctx, newTrack(t, sfu, bob(), camera, clips.BobCamera())); err != nil {
		t.Fatal(err)
	}
	packets = append(packets, read(t, audio, 20)...)
	for i, p := range packets[1:] {
		if last := packets[i]; p.SequenceNumber != last.SequenceNumber+1 || p.Timestamp != last.Timestamp+960 {
			t.Fatalf("packet %d: sequence +%d, timestamp +%d", i+1, p.SequenceNumber-last.SequenceNumber, p.Timestamp-last.Timestamp)
		}
	}
	video := read(t, r.next(t), 200)
	for i, p := range video[1:] {
		if step := p.Timestamp - video[i].Timestamp; (step == 0) == video[i].Marker || step%3000 != 0 {
			t.Fatalf("video packet %d: timestamp +%d after marker %v", i+1, step, video[i].Marker)
		}
	}
}

func TestKeyFrameComesWhenAsked(t *testing.T) {
	r := newReceiver(t)
	sfu := newSFU(t, r, sfutest.MSIDStream)
	published := newTrack(t, sfu, alice(), camera, clips.AliceCamera())
	if err := sfu.Publish(testContext(t), published); err != nil {
		t.Fatal(err)
	}
	track := r.next(t)
	var begin uint32
	for i := range 2 {
		read(t, track, 30)
		r.askKeyFrame(t, track)
		at := nextKeyFrame(t, track)
		if i == 0 {
			begin = at
		} else if elapsed := at - begin; elapsed >= 90000*2 {
			// Without being asked the next one comes after 2.5 s.
			t.Errorf("second key frame %d ticks after the first", elapsed)
		}
	}
	if published.KeyFrameRequests() != 2 {
		t.Errorf("%d requests counted", published.KeyFrameRequests())
	}
}

func TestMuteStopsPacketsAndTimeGoesOn(t *testing.T) {
	r := newReceiver(t)
	sfu := newSFU(t, r, sfutest.MSIDTrackID)
	ctx := testContext(t)
	voice := newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone())
	other := newTrack(t, sfu, bob(), microphone, clips.BobMicrophone())
	if err := sfu.Publish(ctx, voice, other); err != nil {
		t.Fatal(err)
	}
	tracks := map[string]int{}
	first, second := r.next(t), r.next(t)
	tracks[first.ID()], tracks[second.ID()] = 1, 2
	if tracks[voice.Publication().GetTrackId()] == 2 {
		first, second = second, first
	}
	packets := read(t, first, 5)
	if err := sfu.Mute(ctx, voice, true); err != nil {
		t.Fatal(err)
	}
	sent := voice.Packets() + 1 // one may be on its way
	read(t, second, 50)         // a second goes by
	if now := voice.Packets(); now > sent {
		t.Errorf("%d packets sent while muted", now-sent)
	}
	if err := sfu.Mute(ctx, voice, false); err != nil {
		t.Fatal(err)
	}
	packets = append(packets, read(t, first, 40)...)
	jump := uint32(0)
	for i, p := range packets[1:] {
		if p.SequenceNumber != packets[i].SequenceNumber+1 {
			t.Fatal("mute made a hole in the sequence")
		}
		jump = max(jump, p.Timestamp-packets[i].Timestamp)
	}
	if jump < 960*25 || jump%960 != 0 {
		t.Errorf("timestamps jump by %d over a second of silence", jump)
	}
	if n := len(r.events); n != 4 || r.events[2].GetTrackMuted() == nil || r.events[3].GetTrackUnmuted() == nil {
		t.Errorf("events: %v", r.events)
	}
}

func TestUnpublishEndsTheTrackAndItsLineIsUsedAgain(t *testing.T) {
	r := newReceiver(t)
	sfu := newSFU(t, r, sfutest.MSIDStream)
	ctx := testContext(t)
	cam := newTrack(t, sfu, alice(), camera, clips.AliceCamera())
	if err := sfu.Publish(ctx, cam); err != nil {
		t.Fatal(err)
	}
	track := r.next(t)
	read(t, track, 10)
	if err := sfu.Unpublish(ctx, cam); err != nil {
		t.Fatal(err)
	}
	var err error
	for err == nil {
		_, _, err = track.ReadRTP()
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("removed track: %v", err)
	}
	if err := sfu.Publish(ctx, newTrack(t, sfu, bob(), camera, clips.BobCamera())); err != nil {
		t.Fatal(err)
	}
	next := r.next(t)
	for next.StreamID() == "" {
		next = r.next(t) // late packets of the removed one make pion report a track without a name
	}
	if next.StreamID() != "bob-1:TRACK_TYPE_VIDEO" {
		t.Errorf("next track is of %s", next.StreamID())
	}
	if n := strings.Count(r.lastOffer(), "m=video"); n != 1 {
		t.Errorf("%d video lines, want 1", n)
	}
	if err := sfu.Remove(ctx, cam); !errors.Is(err, sfutest.ErrUnknownTrack) {
		t.Errorf("removed twice: %v", err)
	}
}

func TestICERestartKeepsTracks(t *testing.T) {
	r := newReceiver(t)
	sfu := newSFU(t, r, sfutest.MSIDStream)
	ctx := testContext(t)
	if err := sfu.Publish(ctx, newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone())); err != nil {
		t.Fatal(err)
	}
	track := r.next(t)
	before := read(t, track, 10)
	first := r.lastOffer()
	if err := sfu.Renegotiate(ctx, true); err != nil {
		t.Fatal(err)
	}
	after := read(t, track, 50)
	if before[0].SSRC != after[49].SSRC {
		t.Error("another SSRC after the restart")
	}
	if ufrag(first) == ufrag(r.lastOffer()) {
		t.Error("the restart has the same credentials")
	}
}

func ufrag(sdp string) string {
	_, rest, _ := strings.Cut(sdp, "a=ice-ufrag:")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

func TestRefusedOfferCanBeMadeAgain(t *testing.T) {
	r := newReceiver(t)
	sfu := newSFU(t, r, sfutest.MSIDStream)
	ctx := testContext(t)
	refusal := errors.New("not now")
	r.refuse = refusal
	if err := sfu.Publish(ctx, newTrack(t, sfu, alice(), camera, clips.AliceCamera())); !errors.Is(err, refusal) {
		t.Fatalf("error %v, want the refusal", err)
	}
	if err := sfu.Renegotiate(ctx, false); err != nil {
		t.Fatal(err)
	}
	if found, err := mark(r.next(t)); err != nil || found != clips.AliceCamera().Watermark {
		t.Errorf("mark %d, %v", found, err)
	}
}

func TestMSIDNone(t *testing.T) {
	r := newReceiver(t)
	sfu := newSFU(t, r, sfutest.MSIDNone)
	if err := sfu.Add(testContext(t), newTrack(t, sfu, alice(), camera, clips.AliceCamera())); err != nil {
		t.Fatal(err)
	}
	if offer := r.lastOffer(); strings.Contains(offer, "msid:") || !strings.Contains(offer, "a=ssrc:") {
		t.Errorf("offer:\n%s", offer)
	}
	if len(r.events) != 0 {
		t.Errorf("Add announced: %v", r.events)
	}
	read(t, r.next(t), 5)
}

func TestClosedSFURefuses(t *testing.T) {
	sfu, err := sfutest.New(sfutest.Config{Signaller: newReceiver(t)})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := sfu.Close(); err != nil {
			t.Fatal(err)
		}
	}
	track := newTrack(t, sfu, alice(), camera, clips.AliceCamera())
	for name, err := range map[string]error{
		"Add": sfu.Add(t.Context(), track), "Remove": sfu.Remove(t.Context(), track), "Renegotiate": sfu.Renegotiate(t.Context(), false),
	} {
		if !errors.Is(err, sfutest.ErrClosed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := sfutest.New(sfutest.Config{}); !errors.Is(err, sfutest.ErrConfig) {
		t.Errorf("no signaller: %v", err)
	}
}
