package service

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// metricsUnary counts and times calls. It sees the status that the caller gets.
func (s *Service) metricsUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (reply any, err error) {
	begun := time.Now()
	s.unaries.Add(1)
	err = errPanicked
	defer func() {
		s.unaries.Add(-1)
		s.meters.call.Record(ctx, time.Since(begun).Seconds(), methodName(info.FullMethod))
		s.meters.called(info.FullMethod, err)
	}()
	reply, err = next(ctx, req)
	return reply, err
}

// metricsStream counts streams. How long they last says nothing.
func (s *Service) metricsStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	s.streaming.Add(1)
	err = errPanicked
	defer func() {
		s.streaming.Add(-1)
		s.meters.called(info.FullMethod, err)
		if info.FullMethod == penstockv1.TrackService_StreamTrack_FullMethodName {
			s.meters.streamEnded(err)
		}
	}()
	err = next(srv, stream)
	return err
}

// errPanicked is what a call is counted as whose handler did not return.
var errPanicked = fail(penstockv1.ErrorReason_ERROR_REASON_INTERNAL, nil).status().Err()

// called counts a call that ended.
func (m *meters) called(method string, err error) {
	m.calls.Add(1, methodName(method), codeName(status.Code(err)))
	if err == nil {
		return
	}
	if r := reasonOf(err); r != penstockv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		m.errors.Add(1, reasonName(r))
	}
}

// methodName is a method as the value of a label: service and method, without the package. The table of metrics lists those that are served, and counts others as one.
func methodName(full string) string {
	full = strings.TrimPrefix(full, "/")
	service, method, _ := strings.Cut(full, "/")
	return service[strings.LastIndexByte(service, '.')+1:] + "/" + method
}

// codeName is a status code as the value of a label.
func codeName(c codes.Code) string {
	names := [...]string{
		"ok", "canceled", "unknown", "invalid_argument", "deadline_exceeded", "not_found", "already_exists", "permission_denied", "resource_exhausted",
		"failed_precondition", "aborted", "out_of_range", "unimplemented", "internal", "unavailable", "data_loss", "unauthenticated",
	}
	if int(c) < len(names) {
		return names[c]
	}
	return "unknown"
}

// unknownMethod serves methods that are not: in gRPC's own answer there is no reason. It is behind all interceptors, so that such calls are counted, logged and limited as
// others are, and strangers do not get to know which there are.
func unknownMethod(any, grpc.ServerStream) error { return errUnknownMethod }
