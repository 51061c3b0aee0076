package main

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// reconnectFlags say what to do when a stream breaks.
type reconnectFlags struct {
	Reconnect time.Duration `name:"reconnect" env:"PENSTOCK_RECONNECT" default:"30s" placeholder:"DURATION" help:"How long to try to go on when a stream that had begun breaks, or waits at a pod that stops; 0 ends at once."`
}

// breaks counts how long a stream has been broken.
type breaks struct {
	limit time.Duration
	since time.Time // zero while it is not
	pause time.Duration
}

// mended takes note that something came.
func (b *breaks) mended() { b.since, b.pause = time.Time{}, 0 }

// again waits until the next attempt, each pause twice as long as the one before, and tells whether there is to be one.
func (b *breaks) again(ctx context.Context) bool {
	if b.since.IsZero() {
		b.since = time.Now()
	}
	b.pause = min(max(2*b.pause, 100*time.Millisecond), 2*time.Second)
	if time.Since(b.since)+b.pause > b.limit {
		return false
	}
	timer := time.NewTimer(b.pause/2 + rand.N(b.pause)/2) //nolint:gosec // that many do not come at once
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// errorInfo returns what the gateway says of an error; nil where the error is not the gateway's.
func errorInfo(err error) *errdetails.ErrorInfo {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	return nil
}

// onward receives one track as one stream, over breaks: it goes on by the resume token, at whichever pod answers, and follows a redirect.
type onward struct {
	usual  penstockv1.TrackServiceClient
	dial   func(address string) (*grpc.ClientConn, error)
	req    *penstockv1.StreamTrackRequest
	breaks breaks

	direct *grpc.ClientConn // to the pod that has the session, where that is called itself
	stream penstockv1.TrackService_StreamTrackClient
	begun  bool
	rate   uint32 // of samples
}

// close closes what was opened.
func (m *onward) close() {
	if m.direct != nil {
		_ = m.direct.Close() // it was open
		m.direct = nil
	}
}

// next returns the next message. Errors are those of the stream, when there is no going on.
func (m *onward) next(ctx context.Context) (*penstockv1.StreamTrackResponse, error) {
	for {
		msg, err := m.receive(ctx)
		switch {
		case err == nil:
			m.note(msg)
			return msg, nil
		case ctx.Err() != nil, !m.mend(ctx, err):
			return nil, err
		}
		m.stream = nil
	}
}

// receive opens the stream if need be, and receives.
func (m *onward) receive(ctx context.Context) (*penstockv1.StreamTrackResponse, error) {
	if m.stream == nil {
		client := m.usual
		if m.direct != nil {
			client = penstockv1.NewTrackServiceClient(m.direct)
		}
		var err error
		if m.stream, err = client.StreamTrack(ctx, m.req); err != nil {
			return nil, err
		}
	}
	return m.stream.Recv()
}

// mend finds out whether to try again after an error, and where.
func (m *onward) mend(ctx context.Context, err error) bool {
	info := errorInfo(err)
	switch {
	case info.GetReason() == "SESSION_ELSEWHERE" && m.direct == nil && m.req.GetAcceptRedirect():
		m.req.AcceptRedirect = false
		if direct, err := m.dial(info.GetMetadata()["address"]); err == nil { // else any pod will do
			m.direct = direct
		}
		return true
	case info.GetReason() == "RESUME_TOKEN_INVALID" && m.req.GetResumeToken() != "":
		m.req.ResumeToken, m.req.ResumePresentationTimeNs, m.req.ResumeSequence = "", 0, 0
		return true
	case status.Code(err) != codes.Unavailable:
		return false
	case m.direct != nil:
		m.close()
		return true
	}
	return (m.begun || info.GetReason() == "DRAINING") && m.breaks.again(ctx) // one that waits is drained before it begins
}

// note takes note of how far the stream has come.
func (m *onward) note(msg *penstockv1.StreamTrackResponse) {
	m.begun = true
	m.breaks.mended()
	var length time.Duration
	var info *penstockv1.FrameInfo
	switch v := msg.GetMessage().(type) {
	case *penstockv1.StreamTrackResponse_Header:
		m.req.ResumeToken = v.Header.GetResumeToken()
		if m.rate = v.Header.GetFormat().GetAudio().GetSampleRateHz(); m.rate == 0 {
			m.rate = v.Header.GetClockRateHz()
		}
		return
	case *penstockv1.StreamTrackResponse_Audio:
		info = v.Audio.GetInfo()
		length = time.Duration(v.Audio.GetSampleCount()) * time.Second / time.Duration(max(m.rate, 1))
	case *penstockv1.StreamTrackResponse_Video:
		info = v.Video.GetInfo()
	default:
		return
	}
	if m.req.GetResumeToken() == "" { // of a gateway that knows none
		return
	}
	m.req.ResumePresentationTimeNs, m.req.ResumeSequence = info.GetPresentationTimeNs()+int64(length), info.GetSequence()
}
