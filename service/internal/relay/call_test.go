package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	podv1 "github.com/penstock-media/penstock/api/penstock/pod/v1"
	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/service/internal/identity"
)

// both is the kind of a call that streams both ways.
func both() *grpc.StreamDesc { return &grpc.StreamDesc{ServerStreams: true, ClientStreams: true} }

// TestP1_MessagesPassUnchanged sends messages of all sizes over a pod to another and back, many streams at a time: each byte comes as it was, though no
// field of them is known, and every buffer of all transports is given back.
func TestP1_MessagesPassUnchanged(t *testing.T) {
	pool := newBuffers(t)
	c := newChain(t, pool, echo)
	ctx := bounded(t)
	done := make(chan error, 4)
	for range cap(done) {
		go func() {
			done <- func() error {
				s, err := c.conn.NewStream(ctx, both(), testMethod)
				if err != nil {
					return err
				}
				for _, n := range []int{0, 1, 1023, 1025, 16 << 10, 100_000, 1_382_400, 3 << 20, 7} {
					want := random(n)
					if err := s.SendMsg(NewMessage(mem.BufferSlice{mem.SliceBuffer(want)})); err != nil {
						return err
					}
					got := &Message{}
					if err := s.RecvMsg(got); err != nil {
						return err
					}
					b := got.data.Materialize()
					got.Free()
					if !bytes.Equal(b, want) {
						return errors.New("bytes have changed")
					}
				}
				if err := s.CloseSend(); err != nil {
					return err
				}
				if err := s.RecvMsg(&Message{}); !errors.Is(err, io.EOF) {
					return err
				}
				return nil
			}()
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	pool.allBack(t)
}

// TestP1_CallsCarryDeadlineTraceAndCaller: the pod that serves knows the caller's deadline, trace, baggage and identity, and none of its credentials; what it
// says beside its reply comes back.
func TestP1_CallsCarryDeadlineTraceAndCaller(t *testing.T) {
	type seen struct {
		md       metadata.MD
		deadline time.Time
		forward  Forward
	}
	saw := make(chan seen, 1)
	c := newChain(t, nil, func(_ any, stream grpc.ServerStream) error {
		md, _ := metadata.FromIncomingContext(stream.Context())
		deadline, _ := stream.Context().Deadline()
		f, _ := Forwarded(stream.Context())
		saw <- seen{md, deadline, f}
		stream.SetTrailer(metadata.Pairs("x-own", "1"))
		return echo(nil, stream)
	})
	ctx, cancel := context.WithTimeout(bounded(t), hang/2)
	defer cancel()
	deadline, _ := ctx.Deadline()
	id := trace.TraceID{1, 2, 3}
	ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{4}, TraceFlags: trace.FlagsSampled}))
	member, err := baggage.NewMember("call", "7")
	if err != nil {
		t.Fatal(err)
	}
	bag, err := baggage.New(member)
	if err != nil {
		t.Fatal(err)
	}
	out := metadata.Pairs("authorization", "Bearer s3cr3t", "x-request-id", "r")
	ctx = baggage.ContextWithBaggage(ctx, bag)
	propagator().Inject(ctx, carrier(out))

	// As a pod does of a call that came in: unary, and streaming.
	called := metadata.NewIncomingContext(ctx, out)
	request := &penstockv1.GetSessionRequest{SessionId: "call"}
	request.ProtoReflect().SetUnknown([]byte{0xf8, 0x3e, 0x07})
	reply, err := c.pods.Invoke(called, c.owner, testMethod, Caller{Identity: identity.Identity{Subject: "anna"}, Address: "192.0.2.1:5"}, request)
	if err != nil {
		t.Fatal(err)
	}
	want, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	if got := reply.data.Materialize(); !bytes.Equal(got, want) || !bytes.Contains(got, []byte{0xf8, 0x3e, 0x07}) {
		t.Errorf("came back: %x, sent %x", got, want)
	}
	reply.Free()
	one := <-saw
	if _, err := c.conn.NewStream(metadata.NewOutgoingContext(ctx, out), both(), testMethod); err != nil {
		t.Fatal(err)
	}
	for what, s := range map[string]seen{"unary": one, "stream": <-saw} {
		if !reflect.DeepEqual(s.forward, Forward{From: "relay", Caller: Caller{Identity: identity.Identity{Subject: "anna"}, Address: "192.0.2.1:5"}}) {
			t.Errorf("%s: forward %+v", what, s.forward)
		}
		if d := deadline.Sub(s.deadline).Abs(); d > hang/10 {
			t.Errorf("%s: the deadline is %v off", what, d)
		}
		if p := s.md.Get("traceparent"); len(p) != 1 || !strings.Contains(p[0], id.String()) || !slices.Equal(s.md.Get("baggage"), []string{"call=7"}) {
			t.Errorf("%s: trace %v, baggage %v", what, p, s.md.Get("baggage"))
		}
		if s.md.Get("authorization") != nil || s.md.Get("x-request-id") != nil {
			t.Errorf("%s: metadata %v", what, s.md)
		}
	}
}

// TestP1_EndsAreCarried: a caller that goes away ends the call at the pod that serves; so does Close of its stream.
func TestP1_EndsAreCarried(t *testing.T) {
	pool := newBuffers(t)
	began, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	c := newChain(t, pool, func(_ any, stream grpc.ServerStream) error {
		began <- struct{}{}
		<-stream.Context().Done()
		ended <- struct{}{}
		return stream.Context().Err()
	})
	ctx, cancel := context.WithCancel(bounded(t))
	if _, err := c.conn.NewStream(ctx, both(), testMethod); err != nil {
		t.Fatal(err)
	}
	<-began
	cancel()
	<-ended
	s, err := c.pods.Open(bounded(t), c.owner, testMethod, Caller{}, both())
	if err != nil {
		t.Fatal(err)
	}
	<-began
	s.Close()
	s.Close()
	<-ended
	if _, err := s.Recv(); !errors.Is(err, ErrUnreachable) {
		t.Errorf("after Close: %v", err)
	}
	short, stop := context.WithCancelCause(bounded(t))
	cause := errors.New("enough")
	go func() { <-began; stop(cause); <-ended }()
	if _, err := c.pods.Invoke(short, c.owner, testMethod, Caller{}, &penstockv1.GetSessionRequest{}); !errors.Is(err, cause) {
		t.Errorf("a call that was given up: %v", err)
	}
}

// TestP1_StatusesComeBackAsTheyAre: code, text and each detail to the byte, those that nobody here knows too; with a unary call and with a stream.
func TestP1_StatusesComeBackAsTheyAre(t *testing.T) {
	info, err := anypb.New(&errdetails.ErrorInfo{Reason: "NEGOTIATION_FAILED", Domain: "penstock", Metadata: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	st := status.New(codes.Aborted, "no\nway, ever: 100 %").Proto()
	st.Details = []*anypb.Any{info, {TypeUrl: "type.googleapis.com/not.known", Value: []byte{0xff, 0, 1}}}
	c := newChain(t, nil, func(any, grpc.ServerStream) error { return status.FromProto(st).Err() })
	check := func(what string, err error) {
		t.Helper()
		if got := status.Convert(err).Proto(); !proto.Equal(got, st) {
			t.Errorf("%s: %v, want %v", what, got, st)
		}
	}
	_, err = c.pods.Invoke(bounded(t), c.owner, testMethod, Caller{}, &penstockv1.GetSessionRequest{})
	check("unary", err)
	check("decoded", c.pods.Call(bounded(t), c.owner, testMethod, Caller{}, &penstockv1.GetSessionRequest{}, &penstockv1.GetSessionResponse{}))
	s, err := c.conn.NewStream(bounded(t), both(), testMethod)
	if err != nil {
		t.Fatal(err)
	}
	check("stream", s.RecvMsg(&Message{}))
}

// TestP9_WhatIsForwardedIsNotForwardedAgain: a pod that got a call from a pod, and thinks that a third one has the session, refuses.
func TestP9_WhatIsForwardedIsNotForwardedAgain(t *testing.T) {
	c := newChain(t, nil, echo)
	ctx, err := NewGate("owner", c.pods.cfg.Keys, nil, nil, nil).Enter(incoming(
		newProof(t.Context(), "x", "owner", testMethod, Caller{}).encode(c.pods.cfg.Keys)), testMethod)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.pods.Invoke(ctx, c.owner, testMethod, Caller{}, &penstockv1.GetSessionRequest{}); !errors.Is(err, ErrLooped) {
		t.Errorf("unary: %v", err)
	}
	if _, err := c.pods.Open(ctx, c.owner, testMethod, Caller{}, both()); !errors.Is(err, ErrLooped) {
		t.Errorf("stream: %v", err)
	}
	if err := c.pods.Call(ctx, c.owner, testMethod, Caller{}, &penstockv1.GetSessionRequest{}, &penstockv1.GetSessionResponse{}); !errors.Is(err, ErrLooped) {
		t.Errorf("decoded: %v", err)
	}
}

// TestP9_AddressesOutsideThePodsAreNotCalled: what is no address of one machine is refused before anything is dialled.
func TestP9_AddressesOutsideThePodsAreNotCalled(t *testing.T) {
	p := New(Config{Self: "a", Keys: keysOf(t, 's'), Propagator: propagator()})
	defer p.Close()
	for _, address := range []string{
		"", "host", ":1", "host:", "host:0", "host:99999", "0.0.0.0:1", "[::]:1", "224.0.0.1:1", "255.255.255.255:1", "unix:/run/x", "dns:///a:1", "a b:1",
		"http://a:1", "a/b:1", strings.Repeat("a", 300) + ":1",
	} {
		if err := p.Call(t.Context(), Pod{"b", address}, testMethod, Caller{}, nil, nil); !errors.Is(err, ErrAddress) {
			t.Errorf("%q: %v", address, err)
		}
		if _, err := p.Open(t.Context(), Pod{"b", address}, testMethod, Caller{}, both()); !errors.Is(err, ErrAddress) {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, address := range []string{"10.0.0.1:1", "[fd00::1]:65535", "pod-0.pods.ns.svc.cluster.local:50051", "127.0.0.1:5"} {
		if err := CheckAddress(address); err != nil {
			t.Error(err)
		}
	}
	if p.Connections() != 0 {
		t.Errorf("%d connections", p.Connections())
	}
}

// TestPodsThatAreGoneAreOutOfReach: nobody listens, the pod is another incarnation or knows another secret, or it goes away in mid-call: the caller is told of neither
// addresses nor proofs, but that the pod is out of reach.
func TestPodsThatAreGoneAreOutOfReach(t *testing.T) {
	c := newChain(t, nil, func(_ any, stream grpc.ServerStream) error {
		return stream.RecvMsg(&Message{})
	})
	nobody := Pod{"b", "127.0.0.1:1"}
	if err := c.pods.Call(bounded(t), nobody, testMethod, Caller{}, &penstockv1.GetSessionRequest{}, &penstockv1.GetSessionResponse{}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("nobody: %v", err)
	}
	s, err := c.pods.Open(bounded(t), c.owner, testMethod, Caller{}, both())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c.pods.Close()
	if _, err := s.Recv(); !errors.Is(err, ErrUnreachable) {
		t.Errorf("closed in mid-call: %v", err)
	}
	if _, err := c.pods.Open(bounded(t), c.owner, testMethod, Caller{}, both()); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestP9_APodThatRefusesIsNoFaultOfTheCaller: the pod at the address is another one, and says FORWARD_REFUSED: to the caller the owner is out of reach.
func TestP9_APodThatRefusesIsNoFaultOfTheCaller(t *testing.T) {
	st, err := status.New(codes.PermissionDenied, "no").WithDetails(&errdetails.ErrorInfo{Reason: "FORWARD_REFUSED", Domain: "penstock"})
	if err != nil {
		t.Fatal(err)
	}
	c := newChain(t, nil, func(any, grpc.ServerStream) error { return st.Err() })
	if _, err := c.pods.Invoke(bounded(t), c.owner, testMethod, Caller{}, &penstockv1.GetSessionRequest{}); !errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
	restarted := Pod{"another", c.owner.Address}
	if err := c.pods.Call(bounded(t), restarted, podv1.PodService_Adopt_FullMethodName, Caller{}, &podv1.AdoptRequest{}, &podv1.AdoptResponse{}); err == nil || c.gate.Refused()[CauseTarget] != 1 {
		t.Errorf("%v, %d refused", err, c.gate.Refused())
	}
}

// TestConnectionsAreSharedAndClosedWhenIdle: calls to one pod share a connection, which is closed when none has used it for a while, and made anew after.
func TestConnectionsAreSharedAndClosedWhenIdle(t *testing.T) {
	c := newChain(t, nil, echo)
	p := New(Config{Self: "relay", Keys: c.pods.cfg.Keys, Propagator: propagator(), Idle: time.Millisecond})
	defer p.Close()
	for range 3 {
		a, err := p.Open(bounded(t), c.owner, testMethod, Caller{}, both())
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.Open(bounded(t), c.owner, testMethod, Caller{}, both())
		if err != nil {
			t.Fatal(err)
		}
		if n := p.Connections(); n != 1 {
			t.Errorf("%d connections", n)
		}
		a.Close()
		if err := b.Send(NewMessage(mem.BufferSlice{mem.SliceBuffer("x")})); err != nil {
			t.Error(err)
		}
		if m, err := b.Recv(); err != nil || m.Len() != 1 {
			t.Errorf("the other call: %v", err)
		}
		b.Close()
		await(t, "the connection is closed", func() bool { return p.Connections() == 0 })
	}
}
