package podtest

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	podv1 "github.com/penstock-media/penstock/api/penstock/pod/v1"
	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
)

// raw is a codec that leaves messages as they are.
type raw struct{}

// Name implements encoding.CodecV2.
func (raw) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

// Unmarshal implements encoding.CodecV2.
func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// overheard is a call that one pod made to another.
type overheard struct {
	method  string
	md      metadata.MD
	request []byte
}

// eavesdropper stands in front of a pod, hands on what other pods ask of it, and keeps it.
type eavesdropper struct {
	target *grpc.ClientConn
	mu     sync.Mutex
	calls  []overheard
}

// eavesdrop listens at an address until the test ends.
func eavesdrop(t *testing.T, at, target string) *eavesdropper {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{})))
	must(t, err)
	e := &eavesdropper{target: conn}
	server := grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.UnknownServiceHandler(e.handle))
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", at)
	must(t, err)
	t.Cleanup(func() { must(t, conn.Close()) })
	serving(t, server, l)
	return e
}

// handle hands on one call of one request.
func (e *eavesdropper) handle(_ any, in grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(in)
	md, _ := metadata.FromIncomingContext(in.Context())
	var request []byte
	if err := in.RecvMsg(&request); err != nil {
		return err
	}
	e.mu.Lock()
	e.calls = append(e.calls, overheard{method, md.Copy(), slices.Clone(request)})
	e.mu.Unlock()
	out, err := e.target.NewStream(metadata.NewOutgoingContext(in.Context(), carried(md)), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	if err := out.SendMsg(&request); err != nil {
		return err
	}
	if err := out.CloseSend(); err != nil {
		return err
	}
	for {
		var m []byte
		if err := out.RecvMsg(&m); err != nil {
			if status.Code(err) == codes.Unknown {
				return nil // io.EOF
			}
			return err
		}
		if err := in.SendMsg(&m); err != nil {
			return err
		}
	}
}

// carried is what of metadata a client may send.
func carried(md metadata.MD) metadata.MD {
	out := metadata.MD{}
	for k, v := range md {
		if !strings.HasPrefix(k, ":") && k != "content-type" && k != "user-agent" && !strings.HasPrefix(k, "grpc-") {
			out[k] = v
		}
	}
	return out
}

// first returns the first call of a method that was overheard.
func (e *eavesdropper) first(ctx context.Context, t *testing.T, method string) (found overheard) {
	t.Helper()
	awaitSo(ctx, t, method+" is forwarded", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		i := slices.IndexFunc(e.calls, func(o overheard) bool { return o.method == method })
		if i >= 0 {
			found = e.calls[i]
		}
		return i >= 0
	})
	return found
}

// replay says again what was overheard, perhaps altered, to a pod.
func replay(ctx context.Context, p *pod, o overheard) error {
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{})))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	var reply []byte
	return conn.Invoke(metadata.NewOutgoingContext(ctx, carried(o.md)), o.method, &o.request, &reply)
}

// alter changes one byte of one value.
func (o overheard) alter(key string) overheard {
	md := o.md.Copy()
	b := []byte(md[key][0])
	if b[len(b)/2]++; b[len(b)/2] == '9'+1 || b[len(b)/2] == 'Z'+1 || b[len(b)/2] == 'z'+1 {
		b[len(b)/2] = 'a'
	}
	md[key] = []string{string(b)}
	return overheard{o.method, md, o.request}
}

// TestP9_ForgedForward: what one pod says to another is overheard, and said again: as it was, with another request, to a pod that it was not meant for, for another
// method, with any part of the proof altered or left out. All of that is refused, logged and counted, and does nothing.
func TestP9_ForgedForward(t *testing.T) {
	t.Parallel()
	front := freeAddr(t)
	first := true
	c := startClusterOf(t, 3, func(*pod) []string {
		defer func() { first = false }()
		if first {
			return []string{"--pod-addr=" + front}
		}
		return nil
	})
	ear := eavesdrop(t, front, c.pods[0].grpc)
	id := c.createAt(c.pods[0], "call")
	sfu, err := sfutest.New(sfutest.Config{Signaller: sfutest.GRPCSignaller{Client: c.pods[1].sessions, SessionID: id}, FewCodecs: true})
	must(t, err)
	defer func() { must(t, sfu.Close()) }()
	track, err := sfu.NewTrack(sfutest.Participant{ParticipantID: "carol-1"}, penstockv1.Source_SOURCE_CAMERA, camera())
	must(t, err)
	must(t, sfu.Publish(c.ctx, track))
	heard := ear.first(c.ctx, t, penstockv1.SessionService_Negotiate_FullMethodName)

	wantStatus(t, "a forward that was served already", replay(c.ctx, c.pods[0], heard), codes.PermissionDenied, "FORWARD_REFUSED")
	wantStatus(t, "a forward that was meant for another pod", replay(c.ctx, c.pods[2], heard), codes.PermissionDenied, "FORWARD_REFUSED")
	other := heard
	other.method = penstockv1.SessionService_AddIceCandidate_FullMethodName
	other.request, err = proto.Marshal(&penstockv1.AddIceCandidateRequest{SessionId: id, Candidate: &penstockv1.IceCandidate{}})
	must(t, err)
	wantStatus(t, "a forward of another method", replay(c.ctx, c.pods[0], other), codes.PermissionDenied, "FORWARD_REFUSED")
	proofs := 0
	for key := range heard.md {
		if strings.HasPrefix(key, "penstock-") {
			proofs++
			wantStatus(t, "a forward with another "+key, replay(c.ctx, c.pods[0], heard.alter(key)), codes.PermissionDenied, "FORWARD_REFUSED")
		}
	}
	if proofs == 0 {
		t.Errorf("forwards carry no proof: %v", heard.md)
	}
	request, err := proto.Marshal(&podv1.AdoptRequest{SessionId: id, Owner: c.pods[0].incarnation(c.ctx), Epoch: 1})
	must(t, err)
	bare := overheard{method: podv1.PodService_Adopt_FullMethodName, request: request}
	for _, p := range c.pods {
		wantStatus(t, "what only pods may ask, without a proof", replay(c.ctx, p, bare), codes.PermissionDenied, "FORWARD_REFUSED")
	}
	c.pods[2].waitLog(c.ctx, "forwarded calls refused")

	elsewhere := c.createAt(c.pods[2], "elsewhere")
	changed := heard
	changed.request, err = proto.Marshal(&penstockv1.NegotiateRequest{SessionId: elsewhere, Generation: 1, Sdp: "v=0\r\n"})
	must(t, err)
	wantStatus(t, "a forward with another request", replay(c.ctx, c.pods[0], changed), codes.PermissionDenied, "FORWARD_REFUSED")
	if got := c.session(c.pods[2].clients, elsewhere).GetGeneration(); got != 0 {
		t.Errorf("it went on to the owner, whose generation is %d", got)
	}
	if got := c.pods[0].metric(c.ctx, "penstock_forwards_refused_total"); got < 4 {
		t.Errorf("%d refused forwards are counted", got)
	}
}
