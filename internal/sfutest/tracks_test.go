package sfutest_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

func TestPauseAndResume(t *testing.T) {
	for name, strip := range map[string]bool{"lines kept": false, "lines stripped": true} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t)
			sfu := build(t, r, sfutest.Config{})
			ctx := testContext(t)
			cam, mic := newTrack(t, sfu, alice(), camera, clips.AliceCamera()), newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone())
			must(t, sfu.Add(ctx, cam, mic))
			first, other := r.next(t), r.next(t)
			if first.Kind() != webrtc.RTPCodecTypeVideo {
				first, other = other, first
			}
			read(t, first, 10)
			must(t, sfu.Pause(ctx, strip, cam))
			sent := cam.Packets()
			offer := r.lastOffer()
			if strings.Count(offer, "a=inactive") != 1 || strings.Contains(offer, cam.Participant.Prefix+":TRACK_TYPE_VIDEO") == strip {
				t.Errorf("offer:\n%s", offer)
			}
			read(t, other, 30)
			if now := cam.Packets(); now != sent {
				t.Errorf("%d packets sent while paused", now-sent)
			}
			must(t, sfu.Resume(ctx, cam))
			again := r.next(t) // pion makes another track of it
			if again.SSRC() != first.SSRC() || strings.Contains(r.lastOffer(), "a=inactive") {
				t.Errorf("ssrc %d, was %d", again.SSRC(), first.SSRC())
			}
			if found, err := mark(again); err != nil || found != cam.Clip.Watermark {
				t.Errorf("mark %d, %v", found, err)
			}
			if stranger := newTrack(t, sfu, bob(), camera, clips.BobCamera()); !errors.Is(sfu.Pause(ctx, strip, stranger), sfutest.ErrUnknownTrack) ||
				!errors.Is(sfu.Resume(ctx, stranger), sfutest.ErrUnknownTrack) {
				t.Error("a track that is not offered is paused")
			}
		})
	}
}

func TestRenameInPlace(t *testing.T) {
	r := newReceiver(t)
	sfu := build(t, r, sfutest.Config{})
	ctx := testContext(t)
	mic := newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone())
	must(t, sfu.Add(ctx, mic))
	track := r.next(t)
	if streamID, trackID := mic.MSID(); track.StreamID() != streamID || track.ID() != trackID {
		t.Errorf("it is %q %q", track.StreamID(), track.ID())
	}
	must(t, sfu.Rename(ctx, mic, "other", "name"))
	if track.StreamID() != "other" || track.ID() != "name" {
		t.Errorf("renamed to %q %q", track.StreamID(), track.ID())
	}
	read(t, track, 10)
	phantom := newTrack(t, sfu, bob(), microphone, clips.BobMicrophone())
	phantom.SetMSID("", "")
	must(t, sfu.Add(ctx, phantom))
	if offer := r.lastOffer(); strings.Count(offer, "a=msid:") != 1 {
		t.Errorf("a phantom has a name:\n%s", offer)
	}
	streamID, trackID := phantom.MSID()
	must(t, sfu.Rename(ctx, phantom, streamID, trackID))
	if !strings.Contains(r.lastOffer(), "a=msid:"+streamID+" "+trackID) {
		t.Errorf("not identified:\n%s", r.lastOffer())
	}
}

func TestReplaceOnTheSameLine(t *testing.T) {
	for name, sources := range map[string]sfutest.Sources{
		"new source": sfutest.NewSource, "same source": sfutest.SameSource, "continued": sfutest.SameSourceContinued,
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t)
			sfu := build(t, r, sfutest.Config{})
			ctx := testContext(t)
			old, next := newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone()), newTrack(t, sfu, bob(), microphone, clips.BobMicrophone())
			must(t, sfu.Add(ctx, old))
			track := r.next(t)
			before := track.SSRC()
			packets := read(t, track, 10)
			must(t, sfu.Replace(ctx, old, next, sources))
			last := old.LastSequence()
			if n := strings.Count(r.lastOffer(), "m=audio"); n != 1 || !strings.Contains(r.lastOffer(), "bob-1:TRACK_TYPE_AUDIO") {
				t.Errorf("%d audio lines:\n%s", n, r.lastOffer())
			}
			if sources == sfutest.NewSource {
				drained(t, track)
				track = r.next(t)
			}
			if (track.SSRC() == before) == (sources == sfutest.NewSource) {
				t.Errorf("ssrc %d after %d", track.SSRC(), before)
			}
			for packets[len(packets)-1].SequenceNumber != last && sources != sfutest.NewSource {
				packets = append(packets, read(t, track, 1)...)
			}
			first := read(t, track, 1)[0]
			if continued := first.SequenceNumber == last+1; continued != (sources == sfutest.SameSourceContinued) {
				t.Errorf("packet %d after %d", first.SequenceNumber, last)
			}
			if found, err := mark(track); err != nil || found != next.Clip.ToneHz {
				t.Errorf("mark %d, %v", found, err)
			}
			if err := sfu.Replace(ctx, old, next, sources); !errors.Is(err, sfutest.ErrUnknownTrack) {
				t.Errorf("replaced twice: %v", err)
			}
		})
	}
}

func TestSwitchSource(t *testing.T) {
	r := newReceiver(t)
	sfu := build(t, r, sfutest.Config{})
	ctx := testContext(t)
	mic := newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone())
	must(t, sfu.Add(ctx, mic))
	before := r.next(t)
	read(t, before, 5)
	must(t, sfu.SwitchSource(ctx, mic))
	after := r.next(t)
	read(t, after, 5)
	if before.SSRC() == after.SSRC() || before.ID() != after.ID() || strings.Count(r.lastOffer(), "m=audio") != 1 {
		t.Errorf("before %d %s, after %d %s", before.SSRC(), before.ID(), after.SSRC(), after.ID())
	}
}

func TestPacketsAsAsked(t *testing.T) {
	r := newReceiver(t)
	sfu := build(t, r, sfutest.Config{WithoutSources: true})
	mic := newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone())
	mic.SetPackets(sfutest.Packets{MID: true, AudioLevel: 31, Voice: true, CaptureTime: true, TwoByte: true})
	must(t, sfu.Add(testContext(t), mic))
	track := r.next(t)
	p := read(t, track, 1)[0]
	got := map[string][]byte{}
	for _, line := range strings.Split(r.lastOffer(), "\r\n") {
		var id uint8
		var uri string
		if rest, ok := strings.CutPrefix(line, "a=extmap:"); ok {
			number, name, _ := strings.Cut(rest, " ")
			for _, digit := range number {
				id = id*10 + uint8(digit-'0')
			}
			uri = name
			got[uri] = p.GetExtension(id)
		}
	}
	if string(got[mid]) != "0" || !slices.Equal(got[level], []byte{0x80 | 30}) || len(got[captured]) != 8 || p.ExtensionProfile != rtp.ExtensionProfileTwoByte {
		t.Errorf("extensions %v, profile %x", got, p.ExtensionProfile)
	}
	if strings.Contains(r.lastOffer(), "a=ssrc") {
		t.Errorf("offer:\n%s", r.lastOffer())
	}
	mic.SetPackets(sfutest.Packets{})
	for p = read(t, track, 1)[0]; p.Extension && p.GetExtension(1) != nil; {
		p = read(t, track, 1)[0]
	}
	// Padding takes sequence numbers and holds nothing.
	mic.Probe(3)
	for p = read(t, track, 1)[0]; !p.Padding; {
		p = read(t, track, 1)[0]
	}
	if len(p.Payload) != 0 || p.PaddingSize != 200 {
		t.Errorf("%d bytes, %d of padding", len(p.Payload), p.PaddingSize)
	}
}

func TestSwitchOfCodecInMidStream(t *testing.T) {
	r := newReceiver(t)
	sfu := build(t, r, sfutest.Config{})
	mic := newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone())
	must(t, sfu.Add(testContext(t), mic))
	track := r.next(t)
	before := read(t, track, 5)[4]
	must(t, mic.Switch(clips.Telephone()))
	after := read(t, track, 10)[9]
	if before.PayloadType == after.PayloadType || after.PayloadType != 0 || len(after.Payload) != 160 || before.SSRC != after.SSRC {
		t.Errorf("before %v, after %v", before.Header, after.Header)
	}
	if err := mic.Switch(clips.AliceCamera()); !errors.Is(err, sfutest.ErrUnknownTrack) {
		t.Errorf("video on a microphone: %v", err)
	}
	must(t, mic.Switch(clips.AliceMicrophone()))
	mic.SetPackets(sfutest.Packets{PayloadType: 77})
	var err error
	for err == nil {
		_, _, err = track.ReadRTP()
	}
	if !strings.Contains(err.Error(), "codec not found") {
		t.Errorf("a payload type that was not negotiated: %v", err)
	}
}

func TestHeldTrackSendsNothingAndBeginsWithAKeyFrame(t *testing.T) {
	r := newReceiver(t)
	sfu := build(t, r, sfutest.Config{})
	ctx := testContext(t)
	cam, mic := newTrack(t, sfu, alice(), camera, clips.AliceCamera()), newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone())
	cam.Hold(true)
	must(t, sfu.Add(ctx, cam, mic))
	read(t, r.next(t), 50)
	if _, ok := cam.FirstTimestamp(); ok || cam.Packets() != 0 {
		t.Errorf("%d packets sent while held", cam.Packets())
	}
	cam.Hold(false)
	video := r.next(t)
	at := nextKeyFrame(t, video)
	if first, ok := cam.FirstTimestamp(); !ok || first != at {
		t.Errorf("the first key frame is at %d, the first packet at %d %v", at, first, ok)
	}
}

func TestUnannouncedSource(t *testing.T) {
	r := newReceiver(t)
	sfu := build(t, r, sfutest.Config{WithoutSources: true})
	mic := newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone())
	must(t, sfu.Add(testContext(t), mic))
	track := r.next(t)
	read(t, track, 5)
	mic.SetSSRC(4711)
	seen := make(chan struct{})
	r.pc.OnTrack(func(other *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		if other.SSRC() == 4711 {
			close(seen)
		}
	})
	select {
	case <-seen: // pion makes something of it
	case <-time.After(hangLimit):
		t.Error("nothing came from the other source")
	}
	mic.SetSSRC(0)
	read(t, track, 5)
}

func TestLeaveTakesAllTracksAway(t *testing.T) {
	r := newReceiver(t)
	sfu := build(t, r, sfutest.Config{})
	ctx := testContext(t)
	must(t, sfu.Publish(ctx, newTrack(t, sfu, alice(), camera, clips.AliceCamera()), newTrack(t, sfu, alice(), microphone, clips.AliceMicrophone()),
		newTrack(t, sfu, bob(), microphone, clips.BobMicrophone())))
	must(t, sfu.Leave(ctx, "alice-1"))
	if n := strings.Count(r.lastOffer(), "a=inactive"); n != 2 || r.events[3].GetParticipantLeft().GetParticipantId() != "alice-1" {
		t.Errorf("%d inactive, events %v", n, r.events)
	}
	if s := sfu.State(); s == webrtc.PeerConnectionStateClosed {
		t.Errorf("state %v", s)
	}
}

// TestRequestsForKeyFramesGoToTheNewOwnerOfASource hands a source over and asks for key frames: all reach the new owner.
func TestRequestsForKeyFramesGoToTheNewOwnerOfASource(t *testing.T) {
	r := newReceiver(t)
	sfu := build(t, r, sfutest.Config{})
	ctx := testContext(t)
	old, next := newTrack(t, sfu, alice(), camera, clips.BobCamera()), newTrack(t, sfu, bob(), camera, clips.BobScreen())
	must(t, sfu.Add(ctx, old))
	track := r.next(t)
	read(t, track, 10)
	must(t, sfu.Replace(ctx, old, next, sfutest.SameSource))
	before := old.KeyFrameRequests()
	const requests = 6
	for range requests {
		r.askKeyFrame(t, track)
	}
	for next.KeyFrameRequests() < requests {
		read(t, track, 1)
	}
	if n := old.KeyFrameRequests(); n != before {
		t.Errorf("%d requests went to the owner before", n-before)
	}
}
