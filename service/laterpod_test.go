package service

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// laterPod owns a session and answers StreamTrack as a pod of a later version may: in bytes of which this one knows a part.
type laterPod struct {
	store *resolverstore.Redis
	fence resolverstore.Fence
	asked chan *penstockv1.StreamTrackRequest
	calls chan grpc.ServerStream // of Signal; each is served by what answers
}

// startLaterPod starts one that has a lease and a session on the pods' Redis, and ends with the test.
func startLaterPod(t *testing.T, beside *pod, session string, answer func(fence resolverstore.Fence, send func([]byte) error) error) *laterPod {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	p := &laterPod{asked: make(chan *penstockv1.StreamTrackRequest, 16), calls: make(chan grpc.ServerStream, 16)}
	seal, err := LeaseSeal(beside.svc.cfg.PodSecrets, podLease)
	must(t, err)
	p.store, err = resolverstore.NewRedis(t.Context(), resolverstore.Config{
		Seal:  seal,
		Owner: rand.Text(), OwnerAddress: listener.Addr().String(), Heartbeat: podHeartbeat, LeaseTTL: hang,
	}, resolverstore.RedisOptions{URL: "unix://" + beside.link.server, Timeout: 30 * time.Second})
	must(t, err)
	rec, _, err := p.store.CreateSession(beside.ctx, resolverstore.Session{
		Key: key(session), Fence: resolverstore.Fence{Owner: p.store.Self().Incarnation, Epoch: 1000}, State: resolverstore.SessionAwaitingOffer,
		Grace: hang, Expires: time.Now().Add(hang),
	})
	must(t, err)
	p.fence = rec.Fence
	server := grpc.NewServer(
		grpc.ForceServerCodecV2(relay.Codec(encoding.GetCodecV2(grpcproto.Name))),
		grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
			if method, _ := grpc.MethodFromServerStream(s); method == penstockv1.SessionService_Signal_FullMethodName {
				p.calls <- s
				return answer(rec.Fence, nil)
			}
			r := &penstockv1.StreamTrackRequest{}
			if err := s.RecvMsg(r); err != nil {
				return err
			}
			select {
			case p.asked <- r:
			default: // Nobody looks.
			}
			return answer(rec.Fence, func(b []byte) error { return s.SendMsg(relay.NewMessage(mem.BufferSlice{mem.SliceBuffer(b)})) })
		}))
	stop := serving(t, server, listener)
	t.Cleanup(func() {
		stop()
		must(t, p.store.Close())
	})
	return p
}

// later adds fields that this version does not know, at the end of a message.
func later(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	must(t, err)
	b = protowire.AppendTag(b, 901, protowire.BytesType)
	b = protowire.AppendString(b, "of a later version "+strings.Repeat("x", 300))
	b = protowire.AppendTag(b, 902, protowire.Fixed64Type)
	return protowire.AppendFixed64(b, 12345)
}

// laterFrame is a picture with fields that this version does not know, inside and behind it.
func laterFrame(t *testing.T, epoch, sequence uint64, at time.Duration) []byte {
	t.Helper()
	info := later(t, &penstockv1.FrameInfo{Epoch: epoch, Sequence: sequence, PresentationTimeNs: int64(at)})
	frame := protowire.AppendBytes(protowire.AppendTag(nil, infoField, protowire.BytesType), info)
	frame = append(frame, later(t, &penstockv1.VideoFrame{Width: 320, Height: 240, Payload: make([]byte, 100_000)})...)
	b := protowire.AppendBytes(protowire.AppendTag(nil, streamVideoField, protowire.BytesType), frame)
	return append(b, later(t, &penstockv1.TrackPaused{})...)
}

// laterHeader is the same of a header.
func laterHeader(t *testing.T, start int64) []byte {
	t.Helper()
	header := later(t, &penstockv1.StreamHeader{StartTimeUnixNs: start, ResumeToken: "opaque to a relay", Codec: penstockv1.Codec_CODEC_VP8})
	return protowire.AppendBytes(protowire.AppendTag(nil, streamHeaderField, protowire.BytesType), header)
}

// rawStream opens a stream whose messages are not decoded.
func (p *pod) rawStream(r *penstockv1.StreamTrackRequest) func() ([]byte, error) {
	p.t.Helper()
	ctx, cancel := context.WithCancel(p.ctx)
	p.t.Cleanup(cancel)
	s, err := p.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, penstockv1.TrackService_StreamTrack_FullMethodName,
		grpc.ForceCodecV2(relay.Codec(encoding.GetCodecV2(grpcproto.Name))))
	must(p.t, err)
	must(p.t, s.SendMsg(r))
	must(p.t, s.CloseSend())
	return func() ([]byte, error) {
		m := &relay.Message{}
		if err := s.RecvMsg(m); err != nil {
			return nil, err
		}
		defer m.Free()
		b := make([]byte, m.Len())
		m.Head(b)
		return b, nil
	}
}

// TestP1_UnknownFieldsPassByteIdentical relays what a pod of a later version sends: request, header, frames and events with fields that this version does not know come out
// byte by byte as they went in, unknown kinds of messages too; and only frames of an owner before are left out.
func TestP1_UnknownFieldsPassByteIdentical(t *testing.T) {
	p := startSteadyPods(t, 1)[0]
	start := time.Now().UnixNano()
	var sent [][]byte
	proceed := make(chan struct{})
	owner := startLaterPod(t, p, "call", func(f resolverstore.Fence, send func([]byte) error) error {
		event := protowire.AppendBytes(protowire.AppendTag(nil, 44, protowire.BytesType), []byte("an event of a later version"))
		event = protowire.AppendBytes(protowire.AppendTag(nil, streamEventField, protowire.BytesType), event)
		strange := protowire.AppendVarint(protowire.AppendTag(nil, 77, protowire.VarintType), 5)
		sent = [][]byte{laterHeader(t, start), laterFrame(t, f.Epoch, 1, 0), event, strange, laterFrame(t, f.Epoch, 2, 40*time.Millisecond), {}}
		stale := laterFrame(t, f.Epoch-1, 3, time.Second)
		close(proceed)
		for _, b := range [][]byte{sent[0], sent[1], sent[2], stale, sent[3], sent[4], sent[5]} {
			if err := send(b); err != nil {
				return err
			}
		}
		return nil
	})
	r := smallCamera("call")
	r.ProtoReflect().SetUnknown(later(t, &penstockv1.TrackPaused{}))
	next := p.rawStream(r)
	<-proceed
	for i, want := range sent {
		got, err := next()
		must(t, err)
		if string(got) != string(want) {
			t.Errorf("message %d has changed: %d bytes, %d were sent", i, len(got), len(want))
		}
	}
	if b, err := next(); err == nil {
		t.Errorf("%d bytes more", len(b))
	}
	if asked := <-owner.asked; !proto.Equal(asked, r) {
		t.Errorf("the owner was asked %v", asked)
	}
}

// TestP3_WhatComesAgainIsAskedFromThere breaks relayed streams in the middle, in several ways: the relay asks the same owner again, with a token of the stream's own start and epoch, the
// presentation time of the last frame and its sequence number. What is final is passed on as it is.
func TestP3_WhatComesAgainIsAskedFromThere(t *testing.T) {
	p := startSteadyPods(t, 1)[0]
	start := time.Now().UnixNano()
	final := &failure{reason: penstockv1.ErrorReason_ERROR_REASON_CONSUMER_STALLED}
	broken := []error{
		fail(penstockv1.ErrorReason_ERROR_REASON_DRAINING, nil).status().Err(), errors.New("with no reason at all"),
		fail(penstockv1.ErrorReason_ERROR_REASON_SESSION_ENDED, nil).status().Err(), // it has not: the store knows
		final.status().Err(),
	}
	calls := 0
	owner := startLaterPod(t, p, "call", func(f resolverstore.Fence, send func([]byte) error) error {
		call := calls
		calls++
		if err := send(laterHeader(t, start)); err != nil {
			return err
		}
		if err := send(laterFrame(t, f.Epoch, uint64(call*10+7), time.Duration(call+1)*time.Second)); err != nil {
			return err
		}
		return broken[call]
	})
	w := &watcher{reader: p.open(smallCamera("call"))}
	for range broken {
		w.frame()
	}
	wantStatus(t, w.end(), final.status().Code(), "CONSUMER_STALLED")
	if first := <-owner.asked; first.GetResumeToken() != "" {
		t.Errorf("the first request has a token: %v", first)
	}
	for i := 1; i < len(broken); i++ {
		r := <-owner.asked
		m, err := p.svc.resumed(r, key(r.GetSessionId()))
		must(t, err)
		want := mark{start: time.Unix(0, start), epoch: owner.fence.Epoch, sequence: uint64(i*10 - 3), at: time.Duration(i) * time.Second}
		if *m != want {
			t.Errorf("asked again at %+v, want %+v", *m, want)
		}
	}
}

// TestP3_OwnersOfNoUseAreGivenUp has an owner that takes a stream, begins it, and breaks it off each time: after a while the worker is told to try again, and nobody is asked without end. Nor is it
// told that the session has ended, which only the owner says.
func TestP3_OwnersOfNoUseAreGivenUp(t *testing.T) {
	p := startSteadyPods(t, 1)[0]
	p.svc.waits = time.Second
	for session, c := range map[string]struct {
		reason penstockv1.ErrorReason
		want   string
	}{
		"drains": {penstockv1.ErrorReason_ERROR_REASON_DRAINING, "DRAINING"},
		"ended":  {penstockv1.ErrorReason_ERROR_REASON_SESSION_ENDED, "SESSION_MOVING"},
	} {
		var calls atomic.Int64
		startLaterPod(t, p, session, func(_ resolverstore.Fence, send func([]byte) error) error {
			calls.Add(1)
			if err := send(laterHeader(t, time.Now().UnixNano())); err != nil {
				return err
			}
			return fail(c.reason, nil).status().Err()
		})
		st := wantStatus(t, p.open(smallCamera(session)).end(), codes.Unavailable, c.want)
		if detail[*errdetails.RetryInfo](st) == nil {
			t.Errorf("%s: it does not say when to try again", session)
		}
		if n := calls.Load(); n < 2 {
			t.Errorf("%s: it was tried %d times", session, n)
		}
	}
}

// TestP5_WithoutStoreAndOwnerStreamsEnd takes the owner from a stream and from a conversation while the store is away: they wait for both, and end in the end, with when to try again.
func TestP5_WithoutStoreAndOwnerStreamsEnd(t *testing.T) {
	p := startSteadyPods(t, 1)[0]
	p.svc.waits = time.Second
	t.Cleanup(p.link.mend)
	start, ends := time.Now().UnixNano(), make(chan struct{})
	owner := startLaterPod(t, p, "call", func(_ resolverstore.Fence, send func([]byte) error) error {
		if send != nil {
			if err := send(laterHeader(t, start)); err != nil {
				return err
			}
		}
		<-ends
		return fail(penstockv1.ErrorReason_ERROR_REASON_DRAINING, nil).status().Err()
	})
	r := p.open(smallCamera("call"))
	r.header()
	c, err := p.sessions.Signal(p.ctx)
	must(t, err)
	must(t, c.Send(&penstockv1.SignalRequest{RequestId: 1, Message: &penstockv1.SignalRequest_Open{Open: &penstockv1.SignalOpen{SessionId: "call"}}}))
	there := signalOf{t, <-owner.calls}
	there.asked()
	there.says(&penstockv1.SignalResponse{RequestId: 1, Message: &penstockv1.SignalResponse_Opened{Opened: &penstockv1.Session{SessionId: "call"}}})
	_, err = c.Recv()
	must(t, err)
	p.link.cut()
	p.await(p.svc.Degraded)
	close(ends)
	_, err = c.Recv()
	for _, err := range []error{r.end(), err} {
		if st := wantStatus(t, err, codes.Unavailable, "STORE_UNAVAILABLE"); detail[*errdetails.RetryInfo](st) == nil {
			t.Error("it does not say when to try again")
		}
	}
}
