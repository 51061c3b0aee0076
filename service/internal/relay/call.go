package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// Invoke makes a unary call on a pod. The request is a proto.Message, which keeps its unknown fields, or a *Message; the reply the caller sends or frees. The deadline, the
// end and the trace of ctx go along. Errors: the pod's status with its details, unchanged; ctx's; ErrUnreachable, ErrAddress, ErrLooped, ErrClosed.
func (p *Pods) Invoke(ctx context.Context, to Pod, method string, caller Caller, request any) (reply *Message, err error) {
	p.stats.open.Add(1)
	defer func() { p.stats.invoked(&err, reply) }()
	cc, release, err := p.acquire(to)
	if err != nil {
		return nil, err
	}
	defer release()
	out, err := p.outgoing(ctx, to, method, caller)
	if err != nil {
		return nil, err
	}
	answer := &Message{}
	var header, trailer metadata.MD
	err = cc.Invoke(out, method, request, answer, grpc.Header(&header), grpc.Trailer(&trailer))
	passOn(ctx, header, trailer)
	if err != nil {
		answer.Free()
		return nil, told(ctx, to, err)
	}
	return answer, nil
}

// Call makes a unary call on a pod's own service, and decodes the reply. Errors are those of Invoke.
func (p *Pods) Call(ctx context.Context, to Pod, method string, caller Caller, request, reply any) (err error) {
	p.stats.open.Add(1)
	defer func() { p.stats.invoked(&err, nil) }()
	cc, release, err := p.acquire(to)
	if err != nil {
		return err
	}
	defer release()
	out, err := p.outgoing(ctx, to, method, caller)
	if err != nil {
		return err
	}
	return told(ctx, to, cc.Invoke(out, method, request, reply))
}

// Stream is a streaming call on a pod. Send and Recv may be called at the same time, each by one goroutine. Close must be called.
type Stream struct {
	grpc.ClientStream
	ctx     context.Context
	to      Pod
	cancel  context.CancelFunc
	release func()
	stats   *stats
	lost    atomic.Bool // with the pod
}

// Open makes a streaming call on a pod, which ends with ctx, or with Close. Errors are those of Invoke, of Send and Recv too; Recv returns io.EOF when the pod has ended it
// with OK.
func (p *Pods) Open(ctx context.Context, to Pod, method string, caller Caller, desc *grpc.StreamDesc) (*Stream, error) {
	p.stats.open.Add(1)
	cc, release, err := p.acquire(to)
	if err != nil {
		p.stats.streamed(failed(err))
		return nil, err
	}
	out, err := p.outgoing(ctx, to, method, caller)
	if err != nil {
		release()
		p.stats.streamed(failed(err))
		return nil, err
	}
	out, cancel := context.WithCancel(out)
	s, err := cc.NewStream(out, desc, method)
	if err != nil {
		cancel()
		release()
		err = told(ctx, to, err)
		p.stats.streamed(failed(err))
		return nil, err
	}
	open := &Stream{ClientStream: s, ctx: ctx, to: to, cancel: cancel, stats: &p.stats}
	open.release = sync.OnceFunc(func() {
		release()
		p.stats.streamed(open.lost.Load())
	})
	return open, nil
}

// Send sends a proto.Message or a *Message, which is spent even on an error. After the pod has ended the call it returns io.EOF; Recv tells why.
func (s *Stream) Send(m any) error {
	err := s.SendMsg(m)
	if raw, ok := m.(*Message); ok {
		raw.Free()
	}
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return told(s.ctx, s.to, err)
}

// Recv returns the next message, which the caller sends or frees.
func (s *Stream) Recv() (*Message, error) {
	m := &Message{}
	err := s.RecvMsg(m)
	if err == nil {
		s.stats.recved.Add(uint64(m.Len()))
		return m, nil
	}
	m.Free()
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	err = told(s.ctx, s.to, err)
	s.lost.Store(failed(err))
	return nil, err
}

// Close ends the call. It is idempotent, and safe to call while Send and Recv run, which it ends.
func (s *Stream) Close() {
	s.cancel()
	s.release()
}

// told returns what an error of a call to a pod is to who made it. A status that the pod's service made has details, and stays as it is; one that the transport made
// says only that the pod is out of reach. What a pod thinks of this one is nothing to the caller either.
func told(ctx context.Context, to Pod, err error) error {
	if err == nil {
		return nil
	}
	st := status.Convert(err)
	for _, d := range st.Details() {
		info, ok := d.(*errdetails.ErrorInfo)
		if !ok {
			continue
		}
		if penstockv1.ErrorReason_value["ERROR_REASON_"+info.GetReason()] == int32(penstockv1.ErrorReason_ERROR_REASON_FORWARD_REFUSED) {
			return fmt.Errorf("%w: %s at %s refuses: %s", ErrUnreachable, to.Incarnation, to.Address, st.Message())
		}
		return err
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case st.Code() == codes.DeadlineExceeded:
		return context.DeadlineExceeded
	}
	return fmt.Errorf("%w: %s at %s: %v: %s", ErrUnreachable, to.Incarnation, to.Address, st.Code(), st.Message())
}

// withMetadata returns a context with the proof and the trace as the only metadata to send. The trace is that of ctx's span, or the caller's where there is none.
func withMetadata(ctx context.Context, propagator propagation.TextMapPropagator, proof string) context.Context {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		if in, ok := metadata.FromIncomingContext(ctx); ok {
			ctx = propagator.Extract(ctx, carrier(in))
		}
	}
	out := metadata.Pairs(Metadata, proof)
	propagator.Inject(ctx, carrier(out))
	return metadata.NewOutgoingContext(ctx, out)
}

// passOn sends what the pod's service said beside its reply to the caller, where ctx is that of a call.
func passOn(ctx context.Context, header, trailer metadata.MD) {
	if h := own(header); len(h) > 0 {
		_ = grpc.SetHeader(ctx, h) // no call, or it has ended
	}
	if t := own(trailer); len(t) > 0 {
		_ = grpc.SetTrailer(ctx, t) // as above
	}
}

// own returns the metadata that a service has set, without the transport's.
func own(md metadata.MD) metadata.MD {
	var out metadata.MD
	for k, v := range md {
		if k == "content-type" || strings.HasPrefix(k, "grpc-") || strings.HasPrefix(k, ":") {
			continue
		}
		if out == nil {
			out = metadata.MD{}
		}
		out[k] = v
	}
	return out
}

// carrier reads and writes metadata for a propagator.
type carrier metadata.MD

// Get implements propagation.TextMapCarrier.
func (c carrier) Get(key string) string {
	if v := metadata.MD(c).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (c carrier) Set(key, value string) { metadata.MD(c).Set(key, value) }

// Keys implements propagation.TextMapCarrier.
func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	return keys
}
