package service

import (
	"context"
	"errors"
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

// tap begins to wait for a call's first message. gRPC calls it when the call's header has come.
func (a *arrivals) tap(ctx context.Context, _ *tap.Info) (context.Context, error) {
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
	return &arrival{come: func() {}}
}

// registrar registers services whose unary calls take note of their requests: that they are there, and that they cannot be decoded, which gRPC itself would tell
// without a reason, before any interceptor.
type registrar struct{ grpc.ServiceRegistrar }

// RegisterService implements grpc.ServiceRegistrar.
func (r registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	noting := *desc
	noting.Methods = slices.Clone(desc.Methods)
	for i := range noting.Methods {
		noting.Methods[i].Handler = notes(noting.Methods[i].Handler)
	}
	r.ServiceRegistrar.RegisterService(&noting, impl)
}

// notes wraps the handler of a method.
func notes(handle grpc.MethodHandler) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, chain grpc.UnaryServerInterceptor) (any, error) {
		return handle(srv, ctx, func(request any) error {
			a := arrivalOf(ctx)
			a.come()
			a.fault = decode(request)
			return nil
		}, chain)
	}
}

// undecodable is what the caller is told of a message that is none.
func undecodable(err error) error {
	return fail(penstockv1.ErrorReason_ERROR_REASON_MALFORMED_REQUEST, err)
}

// receive receives a message of a stream. What the transport finds wrong gets the reason that it would have got here.
func receive(stream grpc.ServerStream, m any, count *refusals) error {
	ctx := stream.Context()
	err := stream.RecvMsg(m)
	if err == nil {
		arrivalOf(ctx).come()
		return nil
	}
	var late *limitError
	switch code := status.Code(err); {
	case ctx.Err() != nil && errors.As(context.Cause(ctx), &late):
		return late
	case code == codes.ResourceExhausted:
		return count.refuse(limitMessage, maxRequest)
	case code == codes.Internal:
		return undecodable(err)
	}
	return err
}
