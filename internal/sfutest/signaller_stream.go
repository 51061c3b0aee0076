package sfutest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/pion/webrtc/v4"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// StreamSignaller is a Trickler over the gateway's Signal stream. Open must be called first, and again after the stream was
// lost; calls in between fail. All methods are safe for concurrent use.
type StreamSignaller struct {
	Client    penstockv1.SessionServiceClient
	SessionID string
	// Hear gets all that the gateway says by itself, one message after another. It must not wait for any other method. It may be nil.
	Hear func(*penstockv1.SignalResponse)

	mu     sync.Mutex
	stream *signalStream // the last one opened
}

// signalStream is one Signal stream.
type signalStream struct {
	call   penstockv1.SessionService_SignalClient
	cancel context.CancelFunc
	done   chan struct{} // closed when nothing more comes
	err    error         // why, after done; io.EOF is OK

	sending sync.Mutex // one sends at a time
	mu      sync.Mutex
	last    uint64 // request id
	waiting map[uint64]chan *penstockv1.SignalResponse
}

// Open opens the conversation at a generation, in place of one that was open, and returns where things stand. The stream ends with ctx.
func (s *StreamSignaller) Open(ctx context.Context, generation uint64) (*penstockv1.Session, error) {
	ctx, cancel := context.WithCancel(ctx)
	call, err := s.Client.Signal(ctx)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("open Signal: %w", err)
	}
	next := &signalStream{
		call: call, cancel: cancel, done: make(chan struct{}), waiting: make(map[uint64]chan *penstockv1.SignalResponse),
	}
	go next.receive(s.Hear)
	open := &penstockv1.SignalOpen{SessionId: s.SessionID, Generation: generation}
	m, err := next.ask(ctx, &penstockv1.SignalRequest{Message: &penstockv1.SignalRequest_Open{Open: open}})
	if err != nil {
		cancel()
		<-next.done
		return nil, err
	}
	s.mu.Lock()
	before := s.stream
	s.stream = next
	s.mu.Unlock()
	if before != nil {
		before.cancel()
		<-before.done
	}
	return m.GetOpened(), nil
}

// Negotiate implements Signaller.
func (s *StreamSignaller) Negotiate(ctx context.Context, generation uint64, offer string) (string, error) {
	m, err := s.ask(ctx, &penstockv1.SignalRequest{Message: &penstockv1.SignalRequest_Offer{
		Offer: &penstockv1.SignalOffer{Generation: generation, Sdp: offer},
	}})
	if err != nil {
		return "", fmt.Errorf("negotiate: %w", err)
	}
	if dropped := m.GetDropped(); dropped != nil {
		return "", fmt.Errorf("%w: %v: %s", ErrDropped, dropped.GetReason(), dropped.GetMessage())
	}
	for _, r := range m.GetAnswer().GetRejectedMedia() {
		return "", fmt.Errorf("%w: mid %q: %s", ErrRejected, r.GetMid(), r.GetReason())
	}
	return m.GetAnswer().GetSdp(), nil
}

// ReportEvents implements Signaller.
func (s *StreamSignaller) ReportEvents(ctx context.Context, events ...*penstockv1.CallEvent) error {
	_, err := s.ask(ctx, &penstockv1.SignalRequest{Message: &penstockv1.SignalRequest_Events{
		Events: &penstockv1.SignalEvents{Events: events},
	}})
	if err != nil {
		return fmt.Errorf("report events: %w", err)
	}
	return nil
}

// AddCandidate implements Trickler.
func (s *StreamSignaller) AddCandidate(ctx context.Context, generation uint64, c webrtc.ICECandidateInit) error {
	_, err := s.ask(ctx, &penstockv1.SignalRequest{Message: &penstockv1.SignalRequest_Candidate{
		Candidate: &penstockv1.SignalCandidate{Generation: generation, Candidate: candidateMessage(c)},
	}})
	if err != nil {
		return fmt.Errorf("add a candidate: %w", err)
	}
	return nil
}

// candidateMessage returns a candidate in the words of the contract.
func candidateMessage(c webrtc.ICECandidateInit) *penstockv1.IceCandidate {
	out := &penstockv1.IceCandidate{Candidate: c.Candidate, SdpMid: c.SDPMid, UsernameFragment: c.UsernameFragment}
	if c.SDPMLineIndex != nil {
		index := uint32(*c.SDPMLineIndex)
		out.SdpMlineIndex = &index
	}
	return out
}

// CandidateInit returns a candidate of the gateway in the words of pion, for [SFU.AddCandidate].
func CandidateInit(c *penstockv1.IceCandidate) webrtc.ICECandidateInit {
	out := webrtc.ICECandidateInit{Candidate: c.GetCandidate(), SDPMid: c.SdpMid, UsernameFragment: c.UsernameFragment}
	if c.SdpMlineIndex != nil {
		index := uint16(c.GetSdpMlineIndex()) //nolint:gosec // the gateway counts media descriptions
		out.SDPMLineIndex = &index
	}
	return out
}

// ICEServers replaces the gateway's STUN and TURN servers.
func (s *StreamSignaller) ICEServers(ctx context.Context, servers ...*penstockv1.IceServer) error {
	_, err := s.ask(ctx, &penstockv1.SignalRequest{Message: &penstockv1.SignalRequest_IceServers{
		IceServers: &penstockv1.SignalIceServers{IceServers: servers},
	}})
	return err
}

// Lose cancels the stream, as a process that dies does, and waits until it is gone here.
func (s *StreamSignaller) Lose() {
	if c := s.current(); c != nil {
		c.cancel()
		<-c.done
	}
}

// Close says that nothing more comes, and waits for the gateway to end the stream. It returns the status; nil is OK.
func (s *StreamSignaller) Close() error {
	c := s.current()
	if c == nil {
		return nil
	}
	c.sending.Lock()
	err := c.call.CloseSend()
	c.sending.Unlock()
	if err != nil {
		return fmt.Errorf("close Signal: %w", err)
	}
	return s.Wait()
}

// Wait waits for the end of the stream and returns its status; nil is OK.
func (s *StreamSignaller) Wait() error {
	c := s.current()
	if c == nil {
		return nil
	}
	<-c.done
	c.cancel()
	if errors.Is(c.err, io.EOF) {
		return nil
	}
	return c.err
}

func (s *StreamSignaller) current() *signalStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream
}

// ask sends a request on the stream that is open and returns its reply.
func (s *StreamSignaller) ask(ctx context.Context, r *penstockv1.SignalRequest) (*penstockv1.SignalResponse, error) {
	c := s.current()
	if c == nil {
		return nil, ErrClosed
	}
	return c.ask(ctx, r)
}

// ask sends a request and waits for its reply. What the gateway calls an error is a status, as of a unary call.
func (c *signalStream) ask(ctx context.Context, r *penstockv1.SignalRequest) (*penstockv1.SignalResponse, error) {
	reply := make(chan *penstockv1.SignalResponse, 1)
	c.mu.Lock()
	c.last++
	r.RequestId = c.last
	c.waiting[r.RequestId] = reply
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, r.GetRequestId())
		c.mu.Unlock()
	}()
	c.sending.Lock()
	err := c.call.Send(r)
	c.sending.Unlock()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var m *penstockv1.SignalResponse
	select {
	case m = <-reply:
	case <-c.done:
		select {
		case m = <-reply: // It was the last that came.
		default:
			return nil, fmt.Errorf("the Signal stream ended: %w", c.err)
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if e := m.GetError(); e != nil {
		return nil, status.Error(codes.Code(e.GetCode()), e.GetReason()+": "+e.GetMessage()) //nolint:gosec // a gRPC code
	}
	return m, nil
}

// receive hands out replies, and all else to hear, until the stream ends.
func (c *signalStream) receive(hear func(*penstockv1.SignalResponse)) {
	defer close(c.done)
	for {
		m, err := c.call.Recv()
		if err != nil {
			c.err = err
			return
		}
		c.mu.Lock()
		reply := c.waiting[m.GetRequestId()]
		c.mu.Unlock()
		switch {
		case reply != nil:
			reply <- m
		case hear != nil:
			hear(m)
		}
	}
}
