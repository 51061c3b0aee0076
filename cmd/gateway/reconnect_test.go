package main

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// breaking is a gateway of which each call of StreamTrack comes to another end, which a real one does only now and then.
type breaking struct {
	penstockv1.UnimplementedTrackServiceServer
	asked []*penstockv1.StreamTrackRequest
	ends  []error
	addr  string
}

// startBreaking starts one that ends with the test.
func startBreaking(t *testing.T, ends ...error) *breaking {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &breaking{ends: ends, addr: l.Addr().String()}
	server := grpc.NewServer()
	penstockv1.RegisterTrackServiceServer(server, b)
	serving(t, server, l)
	return b
}

// StreamTrack sends a header and a chunk, and ends as it shall; the first reasons come before anything is sent.
func (b *breaking) StreamTrack(r *penstockv1.StreamTrackRequest, s penstockv1.TrackService_StreamTrackServer) error {
	n := uint64(len(b.asked))
	b.asked = append(b.asked, r)
	end := b.ends[n]
	if info := errorInfo(end); info != nil && (info.GetReason() != "DRAINING" || info.GetMetadata()["waits"] != "") {
		return end
	}
	format := &penstockv1.StreamFormat{Format: &penstockv1.StreamFormat_Audio{Audio: &penstockv1.AudioFormat{SampleRateHz: 16000, Channels: 1}}}
	_ = s.Send(&penstockv1.StreamTrackResponse{Message: &penstockv1.StreamTrackResponse_Header{
		Header: &penstockv1.StreamHeader{ResumeToken: strings.Repeat("t", int(n)+1), Format: format}, //nolint:gosec // few
	}})
	_ = s.Send(&penstockv1.StreamTrackResponse{Message: &penstockv1.StreamTrackResponse_Audio{Audio: &penstockv1.AudioFrame{
		Info: &penstockv1.FrameInfo{Sequence: n + 10, PresentationTimeNs: int64(n) * 1e9}, SampleCount: 320, Payload: make([]byte, 640), //nolint:gosec // few
	}}})
	return end
}

// reason makes a gateway's error.
func reason(code codes.Code, name string, metadata map[string]string) error {
	st, _ := status.New(code, name).WithDetails(&errdetails.ErrorInfo{Reason: name, Domain: "penstock", Metadata: metadata})
	return st.Err()
}

// streamFrom runs the stream command.
func streamFrom(t *testing.T, addr string, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	var out, errs bytes.Buffer
	args = append([]string{"stream", "--session=call", "--participant=alice", "--source=microphone", "--addr=" + addr}, args...)
	code := run(ctx, args, &stdio{Out: &out, Err: &errs})
	return outcome{out.String(), errs.String(), code}
}

// TestStreamGoesOnAfterBreaks breaks a stream by the transport and by a drain, and refuses a token: the command opens it again each time, from where the last chunk ended, and without a token that
// is not taken.
func TestStreamGoesOnAfterBreaks(t *testing.T) {
	b := startBreaking(t, status.Error(codes.Unavailable, "connection lost"), reason(codes.Unavailable, "DRAINING", nil),
		reason(codes.InvalidArgument, "RESUME_TOKEN_INVALID", nil), nil)
	if o := streamFrom(t, b.addr); o.code != 0 {
		t.Fatalf("%d: %s%s", o.code, o.out, o.err)
	}
	if len(b.asked) != 4 {
		t.Fatalf("called %d times", len(b.asked))
	}
	for i, want := range []struct {
		token    string
		at       int64
		sequence uint64
	}{{"", 0, 0}, {"t", 20e6, 10}, {"tt", 1e9 + 20e6, 11}, {"", 0, 0}} {
		if r := b.asked[i]; r.GetResumeToken() != want.token || r.GetResumePresentationTimeNs() != want.at || r.GetResumeSequence() != want.sequence {
			t.Errorf("call %d: %v, want %v", i, r, want)
		}
	}
}

// TestStreamThatWaitsGoesElsewhere: a stream that is drained before it had a header is opened again.
func TestStreamThatWaitsGoesElsewhere(t *testing.T) {
	b := startBreaking(t, reason(codes.Unavailable, "DRAINING", map[string]string{"waits": "yes"}), nil)
	if o := streamFrom(t, b.addr); o.code != 0 || len(b.asked) != 2 {
		t.Errorf("%d after %d calls: %s", o.code, len(b.asked), o.err)
	}
}

// TestStreamGivesUp ends with the error where it is final, where nothing came yet, and where it shall not go on.
func TestStreamGivesUp(t *testing.T) {
	for name, c := range map[string]struct {
		end  error
		args []string
	}{
		"final":       {reason(codes.NotFound, "PARTICIPANT_LEFT", nil), nil},
		"at first":    {reason(codes.Unavailable, "SESSION_MOVING", nil), nil},
		"at once":     {reason(codes.Unavailable, "DRAINING", nil), []string{"--reconnect=0"}},
		"not pointed": {reason(codes.Unavailable, "SESSION_ELSEWHERE", map[string]string{"address": "127.0.0.1:9"}), nil},
	} {
		b := startBreaking(t, c.end)
		if o := streamFrom(t, b.addr, c.args...); o.code == 0 || len(b.asked) != 1 {
			t.Errorf("%s: %d after %d calls: %s", name, o.code, len(b.asked), o.err)
		}
	}
}

// TestStreamFollowsARedirect calls the pod that a gateway names, only if it shall, and the gateway again when that pod does not answer any more.
func TestStreamFollowsARedirect(t *testing.T) {
	pod := startBreaking(t, status.Error(codes.Unavailable, "connection lost"))
	usual := startBreaking(t, reason(codes.Unavailable, "SESSION_ELSEWHERE", map[string]string{"address": pod.addr}), nil)
	if o := streamFrom(t, usual.addr, "--direct"); o.code != 0 {
		t.Fatalf("%d: %s", o.code, o.err)
	}
	if len(pod.asked) != 1 || pod.asked[0].GetAcceptRedirect() || len(usual.asked) != 2 || !usual.asked[0].GetAcceptRedirect() ||
		usual.asked[1].GetAcceptRedirect() || usual.asked[1].GetResumeToken() != "t" {
		t.Errorf("the pod was asked %v, the gateway %v", pod.asked, usual.asked)
	}
}
