package service

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	podv1 "github.com/penstock-media/penstock/api/penstock/pod/v1"
	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/internal/identity"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// standIn is a pod that owns a session, has a lease, and answers every call as the test says, in raw messages.
type standIn struct {
	store *resolverstore.Redis
	pod   relay.Pod
}

// startStandIn starts one that ends with the test.
func startStandIn(t *testing.T, beside *pod, session string, serve grpc.StreamHandler) *standIn {
	t.Helper()
	seal, err := LeaseSeal(beside.svc.cfg.PodSecrets, podLease)
	must(t, err)
	return startStandInBy(t, beside, session, seal, serve)
}

// startStandInBy starts one that proves its lease by a seal.
func startStandInBy(t *testing.T, beside *pod, session string, seal *resolverstore.LeaseSeal, serve grpc.StreamHandler) *standIn {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	s := &standIn{pod: relay.Pod{Incarnation: rand.Text(), Address: listener.Addr().String()}}
	s.store, err = resolverstore.NewRedis(t.Context(), resolverstore.Config{
		Seal:  seal,
		Owner: s.pod.Incarnation, OwnerAddress: s.pod.Address, Heartbeat: podHeartbeat, LeaseTTL: hang,
	}, resolverstore.RedisOptions{URL: "unix://" + beside.link.server, Timeout: 30 * time.Second})
	must(t, err)
	_, _, err = s.store.CreateSession(beside.ctx, resolverstore.Session{
		Key: key(session), Fence: resolverstore.Fence{Owner: s.pod.Incarnation, Epoch: 1000}, State: resolverstore.SessionAwaitingOffer,
		Grace: hang, Expires: time.Now().Add(hang),
	})
	must(t, err)
	server := grpc.NewServer(grpc.ForceServerCodecV2(relay.Codec(encoding.GetCodecV2(grpcproto.Name))), grpc.UnknownServiceHandler(serve))
	stop := serving(t, server, listener)
	t.Cleanup(func() {
		stop()
		must(t, s.store.Close())
	})
	return s
}

// known waits until all pods know the leases of all.
func known(pods []*pod) {
	for _, p := range pods {
		p.t.Helper()
		for all, err := p.store.Pods(p.ctx); err != nil || len(all) < len(pods); all, err = p.store.Pods(p.ctx) {
			mustTick(p.t, p.gateway)
		}
	}
}

// method is a method of the contract, by its descriptors.
type method struct {
	name              string // as gRPC has it
	streams           bool
	request, response func() proto.Message
}

// contract lists all methods of both services, so that none that is added can be forgotten.
func contract(t *testing.T) []method {
	t.Helper()
	var all []method
	for _, name := range []protoreflect.FullName{"penstock.v1.SessionService", "penstock.v1.TrackService"} {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
		must(t, err)
		methods := d.(protoreflect.ServiceDescriptor).Methods()
		for i := range methods.Len() {
			m := methods.Get(i)
			maker := func(d protoreflect.MessageDescriptor) func() proto.Message {
				kind, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
				must(t, err)
				return func() proto.Message { return kind.New().Interface() }
			}
			all = append(all, method{
				name: fmt.Sprintf("/%s/%s", name, m.Name()), streams: m.IsStreamingClient() || m.IsStreamingServer(),
				request: maker(m.Input()), response: maker(m.Output()),
			})
		}
	}
	return all
}

// requestOf is a valid request of a session for a unary method that is forwarded.
func requestOf(t *testing.T, name string) proto.Message {
	t.Helper()
	requests := map[string]proto.Message{
		penstockv1.SessionService_GetSession_FullMethodName:    &penstockv1.GetSessionRequest{SessionId: "call"},
		penstockv1.SessionService_DeleteSession_FullMethodName: &penstockv1.DeleteSessionRequest{SessionId: "call"},
		penstockv1.SessionService_Negotiate_FullMethodName:     &penstockv1.NegotiateRequest{SessionId: "call", Sdp: "v=0\r\n"},
		penstockv1.SessionService_AddIceCandidate_FullMethodName: &penstockv1.AddIceCandidateRequest{
			SessionId: "call", Candidate: &penstockv1.IceCandidate{Candidate: "candidate:1 1 udp 1 127.0.0.1 9 typ host"},
		},
		penstockv1.SessionService_UpdateIceServers_FullMethodName: &penstockv1.UpdateIceServersRequest{SessionId: "call"},
		penstockv1.SessionService_ReportEvents_FullMethodName: &penstockv1.ReportEventsRequest{SessionId: "call", Events: []*penstockv1.CallEvent{
			{Event: &penstockv1.CallEvent_ParticipantJoined{ParticipantJoined: &penstockv1.ParticipantJoined{Participant: &penstockv1.Participant{ParticipantId: "a"}}}},
		}},
		penstockv1.TrackService_ResolveTrack_FullMethodName: &penstockv1.ResolveTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera)},
		penstockv1.TrackService_GetFrame_FullMethodName:     &penstockv1.GetFrameRequest{SessionId: "call", Selector: byParticipant("alice", camera)},
	}
	r, ok := requests[name]
	if !ok {
		t.Fatalf("%s is forwarded, and not in the table of this test", name)
	}
	return r
}

// TestP1_EveryMethodHasItsWay: each method of the contract is known to be forwarded, placed, followed, or answered from the store. A new one must be given a way.
func TestP1_EveryMethodHasItsWay(t *testing.T) {
	ways := map[string]string{
		penstockv1.SessionService_CreateSession_FullMethodName: "placed",
		penstockv1.SessionService_Signal_FullMethodName:        "followed",
		penstockv1.TrackService_StreamTrack_FullMethodName:     "followed",
		penstockv1.SessionService_ListSessions_FullMethodName:  "answered from the store",
		penstockv1.TrackService_ListTracks_FullMethodName:      "answered from the store",
		penstockv1.TrackService_WatchTracks_FullMethodName:     "answered from the store",
	}
	for name := range routes() {
		ways[name] = "forwarded"
	}
	for _, m := range contract(t) {
		if ways[m.name] == "" {
			t.Errorf("nobody knows which pod serves %s", m.name)
		}
		delete(ways, m.name)
		if _, named := m.request().(ofSession); routes()[m.name] != (route{}) && !named {
			t.Errorf("%s is forwarded, and its request names no session", m.name)
		}
	}
	if len(ways) > 0 {
		t.Errorf("no methods are %v", ways)
	}
}

// TestP1_UnaryCallsPassByteIdentical forwards each unary call to a pod of a later version: what it gets, and what the caller gets, are the bytes that were sent, fields that
// this version does not know included; so are the details of its errors. The pod knows the caller's deadline and trace, and no credentials.
func TestP1_UnaryCallsPassByteIdentical(t *testing.T) {
	p := startSteadyPods(t, 1)[0]
	type call struct {
		body []byte
		md   metadata.MD
		left bool // there is a deadline
	}
	calls := make(chan call, 1)
	var answer []byte
	var refusal error
	owner := startStandIn(t, p, "call", func(_ any, s grpc.ServerStream) error {
		m := &relay.Message{}
		if err := s.RecvMsg(m); err != nil {
			return err
		}
		b := make([]byte, m.Len())
		m.Head(b)
		m.Free()
		md, _ := metadata.FromIncomingContext(s.Context())
		_, left := s.Context().Deadline()
		calls <- call{b, md, left}
		if refusal != nil {
			return refusal
		}
		return s.SendMsg(relay.NewMessage(mem.BufferSlice{mem.SliceBuffer(answer)}))
	})
	gate := relay.NewGate(owner.pod.Incarnation, p.svc.keys, nil, nil, p.svc.cfg.Logger)
	const parent = "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01"
	ctx := metadata.AppendToOutgoingContext(p.ctx, "traceparent", parent, "authorization", "Bearer s3cr3t")
	raw := grpc.ForceCodecV2(relay.Codec(encoding.GetCodecV2(grpcproto.Name)))
	for _, name := range slices.Sorted(maps.Keys(routes())) {
		request := later(t, requestOf(t, name))
		answer = later(t, &penstockv1.GetSessionResponse{Session: &penstockv1.Session{SessionId: name}})
		refusal = nil
		reply := &relay.Message{}
		must(t, p.conn.Invoke(ctx, name, relay.NewMessage(mem.BufferSlice{mem.SliceBuffer(request)}), reply, raw))
		got := make([]byte, reply.Len())
		reply.Head(got)
		reply.Free()
		c := <-calls
		if !bytes.Equal(got, answer) || !bytes.Equal(c.body, request) {
			t.Errorf("%s: the owner got %x, not %x; the caller %x, not %x", name, c.body, request, got, answer)
		}
		forwarded, err := gate.Enter(metadata.NewIncomingContext(t.Context(), c.md), name)
		if f, ok := relay.Forwarded(orBackground(forwarded)); err != nil || !ok || f.From != p.svc.cfg.Owner || !strings.HasPrefix(f.Caller.Address, "127.0.0.1:") {
			t.Errorf("%s: forwarded by %+v, %v", name, f, err)
		}
		if tp := c.md.Get("traceparent"); !c.left || len(tp) != 1 || tp[0][:35] != parent[:35] || c.md.Get("authorization") != nil {
			t.Errorf("%s: the owner is told %v, a deadline: %v", name, c.md, c.left)
		}

		info, err := anypb.New(&errdetails.ErrorInfo{Reason: "OF_A_LATER_VERSION", Domain: errorDomain})
		must(t, err)
		st := status.New(codes.DataLoss, "as it was said").Proto()
		st.Details = []*anypb.Any{{TypeUrl: "type.googleapis.com/later", Value: []byte{1, 0xff}}, info}
		refusal = status.FromProto(st).Err()
		err = p.conn.Invoke(ctx, name, relay.NewMessage(mem.BufferSlice{mem.SliceBuffer(request)}), &relay.Message{}, raw)
		if got := status.Convert(err).Proto(); !proto.Equal(got, st) {
			t.Errorf("%s: the caller is told %v, the owner said %v", name, got, st)
		}
		<-calls
	}
}

// orBackground returns a context that is not nil.
func orBackground(ctx context.Context) context.Context {
	if ctx == nil {
		return context.Background()
	}
	return ctx
}

// TestP1_CallsAreAnsweredWithoutTheOwnerWhereTheyCan: an owner that cannot be reached for a moment, while its lease lives, leaves those calls that the store can serve, and others are told to
// try again.
func TestP1_CallsAreAnsweredWithoutTheOwnerWhereTheyCan(t *testing.T) {
	p := startSteadyPods(t, 1)[0]
	startStandIn(t, p, "call", func(any, grpc.ServerStream) error { return status.Error(codes.Unavailable, "the transport says so") })
	_, err := p.sessions.AddIceCandidate(p.ctx, requestOf(t, penstockv1.SessionService_AddIceCandidate_FullMethodName).(*penstockv1.AddIceCandidateRequest))
	st := wantStatus(t, err, codes.Unavailable, "SESSION_MOVING")
	if detail[*errdetails.RetryInfo](st).GetRetryDelay().AsDuration() <= 0 || strings.Contains(st.Message(), "transport") || strings.Contains(st.Message(), "127.0.0.1") {
		t.Errorf("told is %v", st)
	}
	if r, err := p.sessions.GetSession(p.ctx, &penstockv1.GetSessionRequest{SessionId: "call"}); err != nil || r.GetSession().GetSessionId() != "call" {
		t.Errorf("the session is %v, %v", r, err)
	}
	if _, err := p.sessions.ReportEvents(p.ctx, requestOf(t, penstockv1.SessionService_ReportEvents_FullMethodName).(*penstockv1.ReportEventsRequest)); err != nil {
		t.Errorf("events: %v", err)
	}
	if _, err := p.sessions.DeleteSession(p.ctx, &penstockv1.DeleteSessionRequest{SessionId: "call"}); err != nil {
		t.Errorf("deletion: %v", err)
	}
	if r, err := p.sessions.Negotiate(p.ctx, &penstockv1.NegotiateRequest{SessionId: "call", Sdp: "v=0\r\n"}); err != nil || r.GetDropped() == nil {
		t.Errorf("a late offer: %v, %v", r, err)
	}
}

// TestP9_EveryMethodRefusesForgedForwards: with a proof that is none, of another secret, of another method or too old, each method of each service refuses, before it looks at the call; so do the
// methods for pods without any. The log of calls is not filled by them: the gate tells of them together.
func TestP9_EveryMethodRefusesForgedForwards(t *testing.T) {
	var log warnings
	p := startSteadyPods(t, 1, func(c *Config) {
		c.Token, c.Logger = "0123456789abcdef", slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	})[0]
	var all []string
	for _, m := range contract(t) {
		all = append(all, m.name)
	}
	own := []string{podv1.PodService_Adopt_FullMethodName, podv1.PodService_ServeWhip_FullMethodName, podv1.PodService_GetEnd_FullMethodName}
	if n := len(podv1.PodService_ServiceDesc.Methods); n != len(own) {
		t.Fatalf("PodService has %d methods, this test knows %d", n, len(own))
	}
	all = append(append(all, own...), "/grpc.health.v1.Health/Check")
	call := func(name string, proofs ...string) error {
		md := metadata.Pairs("authorization", "Bearer 0123456789abcdef")
		md.Append(relay.Metadata, proofs...)
		s, err := p.conn.NewStream(metadata.NewOutgoingContext(p.ctx, md), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, name, grpc.ForceCodecV2(relay.Codec(encoding.GetCodecV2(grpcproto.Name))))
		must(t, err)
		_ = s.SendMsg(relay.NewMessage(mem.BufferSlice{mem.SliceBuffer{}})) // RecvMsg tells
		_ = s.CloseSend()
		m := &relay.Message{}
		defer m.Free()
		return s.RecvMsg(m)
	}
	for _, name := range all {
		wantStatus(t, call(name, "x"), codes.PermissionDenied, "FORWARD_REFUSED")
		wantStatus(t, call(name, ""), codes.PermissionDenied, "FORWARD_REFUSED")
	}
	for _, name := range own {
		wantStatus(t, call(name), codes.PermissionDenied, "FORWARD_REFUSED")
	}
	if n, want := p.svc.Stats().ForwardsRefused["stranger"], uint64(2*len(all)+len(own)); n != want {
		t.Errorf("%d refusals are counted, not %d", n, want)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if text := log.text.String(); !strings.Contains(text, "forwarded calls refused") || strings.Contains(text, "finished call") {
		t.Errorf("logged is:\n%s", text)
	}
}

// warnings keeps what is logged. It is safe for concurrent use.
type warnings struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (w *warnings) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

// TestP9_LoopsAreRefused: a pod that gets a forwarded call for a session of a third one sends it no further, and says that the session has moved; what it can answer from the store it does not
// answer either, since the caller's pod can as well.
func TestP9_LoopsAreRefused(t *testing.T) {
	pods := startSteadyPods(t, 2)
	reached := make(chan string, 1)
	startStandIn(t, pods[0], "call", func(_ any, s grpc.ServerStream) error {
		name, _ := grpc.MethodFromServerStream(s)
		reached <- name
		return nil
	})
	to := relay.Pod{Incarnation: pods[1].svc.cfg.Owner, Address: pods[1].addr}
	for name := range routes() {
		if _, err := pods[0].svc.pods.Invoke(pods[0].ctx, to, name, relay.Caller{Identity: identity.Anybody()}, requestOf(t, name)); err == nil {
			t.Errorf("%s is served", name)
		} else {
			wantStatus(t, err, codes.Unavailable, "SESSION_MOVING")
		}
	}
	select {
	case name := <-reached:
		t.Errorf("%s was forwarded again", name)
	default:
	}
}

// TestP9_TheFirstPodAuthenticates: with a token asked for, a caller without it is refused where it calls; with it the owner serves the call, which carries no token.
func TestP9_TheFirstPodAuthenticates(t *testing.T) {
	const token = "0123456789abcdef"
	pods := startSteadyPods(t, 2, func(c *Config) { c.Token = token })
	with := metadata.AppendToOutgoingContext(pods[0].ctx, "authorization", "Bearer "+token)
	_, err := pods[0].sessions.CreateSession(with, &penstockv1.CreateSessionRequest{SessionId: "call"})
	must(t, err)
	candidate := requestOf(t, penstockv1.SessionService_AddIceCandidate_FullMethodName).(*penstockv1.AddIceCandidateRequest)
	if _, err = pods[1].sessions.AddIceCandidate(with, candidate); err != nil {
		t.Errorf("with the token: %v", err)
	}
	_, err = pods[1].sessions.AddIceCandidate(pods[1].ctx, candidate)
	wantStatus(t, err, codes.Unauthenticated, "UNAUTHENTICATED")
}
