package sfutest_test

import (
	"context"
	"errors"
	"net"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// sessions is a SessionService that answers as the offer asks it to.
type sessions struct {
	penstockv1.UnimplementedSessionServiceServer
	reported []*penstockv1.CallEvent
}

func (s *sessions) Negotiate(_ context.Context, r *penstockv1.NegotiateRequest) (*penstockv1.NegotiateResponse, error) {
	if r.GetSessionId() != "call" || r.GetGeneration() != 7 {
		return nil, status.Errorf(codes.InvalidArgument, "session %q generation %d", r.GetSessionId(), r.GetGeneration())
	}
	answer := &penstockv1.Answer{Sdp: "answer"}
	switch r.GetSdp() {
	case "late":
		dropped := &penstockv1.Dropped{Reason: penstockv1.DropReason_DROP_REASON_CLOSED}
		return &penstockv1.NegotiateResponse{Result: &penstockv1.NegotiateResponse_Dropped{Dropped: dropped}}, nil
	case "partly":
		answer.RejectedMedia = []*penstockv1.RejectedMedia{{Mid: "3", Reason: "no such codec"}}
	}
	return &penstockv1.NegotiateResponse{Result: &penstockv1.NegotiateResponse_Answer{Answer: answer}}, nil
}

func (s *sessions) ReportEvents(_ context.Context, r *penstockv1.ReportEventsRequest) (*penstockv1.ReportEventsResponse, error) {
	s.reported = append(s.reported, r.GetEvents()...)
	return &penstockv1.ReportEventsResponse{}, nil
}

func TestGRPCSignaller(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	service := &sessions{}
	server := grpc.NewServer()
	penstockv1.RegisterSessionServiceServer(server, service)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = conn.Close()
		server.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) { // it says so if it had not begun to serve when it was stopped
			t.Error(err)
		}
	}()
	signaller := sfutest.GRPCSignaller{Client: penstockv1.NewSessionServiceClient(conn), SessionID: "call"}
	ctx := testContext(t)
	if answer, err := signaller.Negotiate(ctx, 7, "offer"); err != nil || answer != "answer" {
		t.Errorf("answer %q, %v", answer, err)
	}
	if _, err := signaller.Negotiate(ctx, 7, "late"); !errors.Is(err, sfutest.ErrDropped) {
		t.Errorf("late: %v", err)
	}
	if _, err := signaller.Negotiate(ctx, 7, "partly"); !errors.Is(err, sfutest.ErrRejected) {
		t.Errorf("partly refused: %v", err)
	}
	if _, err := signaller.Negotiate(ctx, 8, "offer"); status.Code(err) != codes.InvalidArgument {
		t.Errorf("wrong generation: %v", err)
	}
	if err := signaller.ReportEvents(ctx, &penstockv1.CallEvent{Sequence: 4}); err != nil || len(service.reported) != 1 || service.reported[0].GetSequence() != 4 {
		t.Errorf("reported %v, %v", service.reported, err)
	}
}
