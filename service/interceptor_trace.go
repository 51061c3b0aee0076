package service

import (
	middleware "github.com/grpc-ecosystem/go-grpc-middleware/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// openings names the spans of the calls that last.
func openings() map[string]string {
	return map[string]string{
		penstockv1.TrackService_StreamTrack_FullMethodName: spanStreamTrack,
		penstockv1.TrackService_WatchTracks_FullMethodName: spanWatchTracks,
		penstockv1.SessionService_Signal_FullMethodName:    spanSignal,
	}
}

// traceStream gives calls that last the short span of their opening, where they are of a trace that is kept. What is refused by interceptors behind it has one too.
func (s *Service) traceStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	name, ok := s.openings[info.FullMethod]
	if !ok {
		return next(srv, stream)
	}
	md, _ := metadata.FromIncomingContext(stream.Context())
	ctx, o := s.startOpening(s.cfg.Propagator.Extract(stream.Context(), metadataCarrier(md)), name)
	err := next(srv, &middleware.WrappedServerStream{ServerStream: stream, WrappedContext: ctx})
	o.ended(err)
	return err
}

// metadataCarrier reads a call's metadata for a propagator.
type metadataCarrier metadata.MD

// Get implements propagation.TextMapCarrier.
func (c metadataCarrier) Get(key string) string {
	if v := metadata.MD(c).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (c metadataCarrier) Set(key, value string) { metadata.MD(c).Set(key, value) }

// Keys implements propagation.TextMapCarrier.
func (c metadataCarrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	return keys
}
