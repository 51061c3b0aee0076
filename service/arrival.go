package service

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// arrivals ends calls whose first message does not come in time: a client that sends the header of a call and half of a message would else hold a goroutine and
// a place of its connection for as long as it likes, before any interceptor sees it.
type arrivals struct {
	patience time.Duration
	count    *refusals
}

// arrival is that of one call's first message.
type arrival struct {
	come  func() // is called when it is there
	fault error  // it could not be decoded
}

// arrivalKey is the context key of an *arrival.
type arrivalKey struct{}

// tap begins to wait for a call's first message. gRPC calls it when the call's header has come. A call of Signal waits by itself, and can tell why it ends; of the
// others gRPC says that they were cancelled, before anybody here could.
func (a *arrivals) tap(ctx context.Context, call *tap.Info) (context.Context, error) {
	if call.FullMethodName == penstockv1.SessionService_Signal_FullMethodName {
		return ctx, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(a.patience, func() { cancel(a.count.refuse(limitFirstMessage, int(a.patience.Seconds()))) })
	over := context.AfterFunc(ctx, func() { late.Stop() }) // also where the call is reset, and nothing else hears of it
	return context.WithValue(ctx, arrivalKey{}, &arrival{come: func() {
		if over() {
			late.Stop()
		}
	}}), nil // gRPC cancels the parent when the call is over
}

// arrivalOf returns the arrival of a call's first message; of a call that was not tapped, one that nobody waits for.
func arrivalOf(ctx context.Context) *arrival {
	if a, ok := ctx.Value(arrivalKey{}).(*arrival); ok {
		return a
	}
	return untapped
}

// untapped is the arrival of a call that nobody waits for.
var untapped = &arrival{come: func() {}}

// registrar registers services whose unary calls take note of their requests: that they are there, and that they cannot be decoded, which gRPC itself would tell
// without a reason, before any interceptor.
type registrar struct {
	grpc.ServiceRegistrar
	count *refusals
}

// RegisterService implements grpc.ServiceRegistrar.
func (r registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	noting := *desc
	noting.Methods = slices.Clone(desc.Methods)
	for i := range noting.Methods {
		noting.Methods[i].Handler = r.notes(noting.Methods[i].Handler)
	}
	r.ServiceRegistrar.RegisterService(&noting, impl)
}

// notes wraps the handler of a method.
func (r registrar) notes(handle grpc.MethodHandler) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, chain grpc.UnaryServerInterceptor) (any, error) {
		return handle(srv, ctx, func(request any) error {
			in := &received{message: request}
			if err := decode(in); err != nil {
				return r.count.told(err)
			}
			a := arrivalOf(ctx)
			a.come()
			if a == untapped {
				return in.fault
			}
			a.fault = in.fault
			return nil
		}, chain)
	}
}

// told counts what gRPC has refused by itself, and told the caller.
func (r *refusals) told(err error) error {
	if status.Code(err) == codes.ResourceExhausted {
		r[limitMessage].Add(1)
	}
	return err
}

// undecodable is what the caller is told of a message that is none.
func undecodable(err error) error {
	return fail(penstockv1.ErrorReason_ERROR_REASON_MALFORMED_REQUEST, err)
}

// received is a message to be decoded by our codec: it keeps the fault where that fails, since gRPC would answer by itself, without a reason.
type received struct {
	message any
	fault   error
}

// arrivingStream is a stream whose messages are received in this way. What gRPC refuses by itself is counted.
type arrivingStream struct {
	grpc.ServerStream
	count *refusals
}

// RecvMsg implements grpc.ServerStream.
func (s arrivingStream) RecvMsg(m any) error {
	r := &received{message: m}
	if err := s.ServerStream.RecvMsg(r); err != nil {
		return s.count.told(err)
	}
	arrivalOf(s.Context()).come()
	if r.fault != nil {
		return undecodable(r.fault)
	}
	return nil
}
