package service

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// TestP1_RedirectIsForThoseWhoAcceptIt asks with accept_redirect at every pod: the owner serves, another one names the owner's address, where the stream then is.
func TestP1_RedirectIsForThoseWhoAcceptIt(t *testing.T) {
	pods := startSteadyPods(t, 2)
	pods[0].create("call")
	_, cam := pods[1].publishFrom("call")
	r := smallCamera("call")
	r.AcceptRedirect = true
	st := wantStatus(t, pods[1].open(r).end(), codes.Unavailable, "SESSION_ELSEWHERE")
	address := detail[*errdetails.ErrorInfo](st).GetMetadata()["address"]
	if address != pods[0].addr {
		t.Fatalf("sent to %q, the owner is at %q", address, pods[0].addr)
	}
	if mark := luma(pods[0].open(r).video()); mark != cam.Clip.Watermark {
		t.Errorf("watermark %d", mark)
	}
	r.AcceptRedirect = false
	if mark := luma(pods[1].open(r).video()); mark != cam.Clip.Watermark {
		t.Errorf("watermark %d of a worker that goes nowhere", mark)
	}
}

// TestP1_ErrorsOfTheOwnerPassUnchanged makes the same faults at the owner and at another pod: code, text and details are the same.
func TestP1_ErrorsOfTheOwnerPassUnchanged(t *testing.T) {
	pods := startSteadyPods(t, 2)
	pods[0].create("call")
	sfu, _ := pods[1].publishFrom("call")
	fault := func(p *pod, r *penstockv1.StreamTrackRequest) *status.Status {
		st, _ := status.FromError(p.open(r).end())
		return st
	}
	for name, r := range map[string]*penstockv1.StreamTrackRequest{
		"session":  {SessionId: "none", Selector: byParticipant("alice", camera)},
		"track":    {SessionId: "call", Selector: byID("none")},
		"kind":     {SessionId: "call", Selector: byParticipant("alice", microphone), Format: videoOf(&penstockv1.VideoFormat{})},
		"size":     {SessionId: "call", Selector: byParticipant("alice", camera), MaxReceiveMessageBytes: 10_000},
		"codec":    {SessionId: "call", Selector: byParticipant("alice", camera), Format: encodedAs(penstockv1.Codec_CODEC_H264)},
		"token":    {SessionId: "call", Selector: byParticipant("alice", camera), ResumeToken: "forged"},
		"selector": {SessionId: "call"},
	} {
		here, there := fault(pods[0], r), fault(pods[1], r)
		same := here.Code() == there.Code() && here.Message() == there.Message() && slices.EqualFunc(here.Details(), there.Details(), func(a, b any) bool {
			return proto.Equal(a.(proto.Message), b.(proto.Message)) // not their bytes: maps have no order there
		})
		if here.Code() == codes.OK || !same {
			t.Errorf("%s: the owner says %v, another pod %v", name, here.Proto(), there.Proto())
		}
	}
	waits := pods[1].open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("alice", screen)})
	_, err := waits.stream.Header()
	must(t, err)
	must(t, sfu.Leave(pods[1].ctx, "alice"))
	wantStatus(t, waits.end(), codes.NotFound, "PARTICIPANT_LEFT")
}

// TestP1_WorkerThatStallsIsEndedAcrossPods opens streams at another pod than the owner's, and does not read them. Nothing piles up on the way: the owner's queue overflows, and
// its rule ends the stream for a worker that reads again; one that never does is ended by its own pod. Who reads misses nothing meanwhile.
func TestP1_WorkerThatStallsIsEndedAcrossPods(t *testing.T) {
	pods := startSteadyPods(t, 2, func(c *Config) { c.StallTimeout = 2 * time.Second })
	owner, other := pods[0], pods[1]
	owner.create("call")
	sfu := other.sfu("call", sfutest.MSIDStream)
	must(t, sfu.Publish(other.ctx, newTrack(t, sfu, "bob", camera, clips.BobCamera())))
	client := other.narrow()
	ask := func(p *penstockv1.StreamPolicy) *penstockv1.StreamTrackRequest {
		return &penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("bob", camera), Policy: p}
	}
	small := &penstockv1.StreamPolicy{MaxQueueBytes: 3 << 20}
	wakes, never := other.openBy(client, ask(small)), other.openBy(client, ask(small))
	wakes.video()
	never.video()
	reads := other.openBy(client, &penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("bob", camera), Policy: roomy(), Format: videoOf(&penstockv1.VideoFormat{Width: 64})})
	beside := make(chan error, 1)
	go func() { beside <- reads.cadence(90) }()
	for owner.svc.streams.n.Load() != 1 { // The owner has let both go.
		mustTick(t, owner.gateway)
	}
	held := 0
	for {
		m, err := wakes.stream.Recv()
		if err != nil {
			wantStatus(t, err, codes.ResourceExhausted, "CONSUMER_STALLED")
			break
		}
		held += proto.Size(m)
	}
	if bound := 10 << 20; held > bound { // The relay's window and one message, and what the owner's transport had taken.
		t.Errorf("%d bytes were on the way, more than %d", held, bound)
	}
	for other.svc.streams.n.Load() != 1 { // Its pod has let the other go, though it never reads.
		mustTick(t, other.gateway)
	}
	wantStatus(t, never.end(), codes.ResourceExhausted, "CONSUMER_STALLED")
	must(t, <-beside)
}

// TestP4_GoingAwayIsOfTheWorkersOwnPod drains the pod that has the session, and then a worker's own: the session goes to another pod, and a worker elsewhere learns of it by a gap
// alone; who streams from the pod that drains is told that it goes away, once, and goes on until it does.
func TestP4_GoingAwayIsOfTheWorkersOwnPod(t *testing.T) {
	pods := startSteadyPods(t, 3)
	owner, via := pods[0], pods[1]
	owner.create("call")
	sfu, cam := via.publishFrom("call")
	elsewhere, here := via.watch("call"), owner.watch("call")
	fence := owner.svc.session(key("call")).fence
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		owner.svc.Drain(owner.ctx, hang)
	}()
	here.event(func(e *penstockv1.StreamEvent) bool { return e.GetGoingAway() != nil })
	_, err := via.store.Owner(via.ctx, key("call"), fence)
	must(t, err)
	via.republish(sfu)
	for _, w := range []*watcher{elsewhere, here} {
		for n := 0; n < 5; {
			m := w.reader.next()
			if m.GetEvent().GetGoingAway() != nil {
				t.Error("told twice that a pod goes away, or of one that is not the worker's")
			}
			if v := m.GetVideo(); v.GetInfo().GetEpoch() > fence.Epoch && luma(v) == cam.Clip.Watermark {
				n++
			}
		}
	}
	here.cancel()
	<-drained
}
