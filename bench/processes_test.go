package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/pion/webrtc/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// watched is a process's output that tells when a line was written.
type watched struct {
	mu    sync.Mutex
	text  bytes.Buffer
	wrote chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.wrote <- struct{}{}:
	default:
	}
	return w.text.Write(p)
}

// TestGenerate: the generator's tracks arrive at a real peer, each under its own name, and it ends with its input.
func TestGenerate(t *testing.T) {
	for _, kind := range []string{"video", "audio"} {
		t.Run(kind, func(t *testing.T) {
			ctx := testContext(t)
			l := load{kind: kind, sessions: 1, tracks: 3}
			pc, err := newPeerConnection()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = pc.GracefulClose() }()
			got := make(chan string, l.tracks)
			pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
				if p, _, err := track.ReadRTP(); err == nil && len(p.Payload) > 0 {
					got <- track.StreamID()
				}
			})
			in, end := io.Pipe()
			out := &watched{wrote: make(chan struct{}, 1)}
			done := make(chan error, 1)
			go func() {
				done <- generate(ctx, l, func(int) exchange { return answerWith(pc) }, in, out)
			}()
			seen := map[string]bool{}
			for range l.tracks {
				select {
				case id := <-got:
					seen[id] = true
				case err := <-done:
					t.Fatalf("the generator ended: %v", err)
				case <-ctx.Done():
					t.Fatalf("only %v arrived", seen)
				}
			}
			_ = end.Close()
			if err := <-done; err != nil {
				t.Error(err)
			}
			word := map[string]string{"video": "VIDEO", "audio": "AUDIO"}[kind]
			if len(seen) != l.tracks || !seen["publisher-2:TRACK_TYPE_"+word] {
				t.Errorf("tracks are %v", seen)
			}
			if out.text.String() != "ready\n" {
				t.Errorf("it said %q", out.text.String())
			}
		})
	}
}

// answerWith answers with a peer connection of this process.
func answerWith(pc *webrtc.PeerConnection) exchange {
	return func(_ context.Context, offer string, _ []*sendTrack) (string, error) {
		if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
			return "", err
		}
		answer, err := pc.CreateAnswer(nil)
		if err != nil {
			return "", err
		}
		gathered := webrtc.GatheringCompletePromise(pc)
		if err := pc.SetLocalDescription(answer); err != nil {
			return "", err
		}
		<-gathered
		return pc.LocalDescription().SDP, nil
	}
}

// framesServer streams a header, a few frames and an event on every track, and then waits.
type framesServer struct {
	penstockv1.UnimplementedTrackServiceServer
	mu       sync.Mutex
	requests []*penstockv1.StreamTrackRequest
}

func (s *framesServer) StreamTrack(r *penstockv1.StreamTrackRequest, stream grpc.ServerStreamingServer[penstockv1.StreamTrackResponse]) error {
	s.mu.Lock()
	s.requests = append(s.requests, r)
	s.mu.Unlock()
	for _, m := range responses() {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}

// responses hold four frames.
func responses() []*penstockv1.StreamTrackResponse {
	header := &penstockv1.StreamTrackResponse{Message: &penstockv1.StreamTrackResponse_Header{Header: &penstockv1.StreamHeader{ClockRateHz: 1}}}
	event := &penstockv1.StreamTrackResponse{Message: &penstockv1.StreamTrackResponse_Event{Event: &penstockv1.StreamEvent{PresentationTimeNs: 1}}}
	video := &penstockv1.StreamTrackResponse{Message: &penstockv1.StreamTrackResponse_Video{Video: &penstockv1.VideoFrame{Payload: make([]byte, 100_000)}}}
	audio := &penstockv1.StreamTrackResponse{Message: &penstockv1.StreamTrackResponse_Audio{Audio: &penstockv1.AudioFrame{Payload: make([]byte, 640)}}}
	return []*penstockv1.StreamTrackResponse{header, video, event, audio, video, audio}
}

// TestWork: the worker counts frames, and nothing else, of every track, says when all have come, and ends with its input.
func TestWork(t *testing.T) {
	ctx := testContext(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	frames := &framesServer{}
	server := grpc.NewServer()
	penstockv1.RegisterTrackServiceServer(server, frames)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	defer serving.Wait()
	defer server.Stop()

	in, ask := io.Pipe()
	out := &watched{wrote: make(chan struct{}, 1)}
	done := make(chan error, 1)
	go func() {
		done <- dispatch(ctx, []string{"work", "-gateway", listener.Addr().String(), "-kind", "audio", "-sessions", "2", "-tracks", "3"}, in, out)
	}()
	await := func() string {
		select {
		case <-out.wrote:
		case <-ctx.Done():
			t.Fatal("the worker says nothing")
		}
		out.mu.Lock()
		defer out.mu.Unlock()
		defer out.text.Reset()
		return out.text.String()
	}
	if s := await(); s != "ready\n" {
		t.Fatalf("it said %q", s)
	}
	for s := ""; s != "count 24\n"; s = await() {
		if ctx.Err() != nil {
			t.Fatalf("the last count is %q", s)
		}
		if _, err := io.WriteString(ask, "count\n"); err != nil {
			t.Fatal(err)
		}
	}
	_ = ask.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := len(frames.requests); n != 6 || frames.requests[0].GetFormat().GetAudio().GetSampleRateHz() != 16000 {
		t.Errorf("%d streams were asked for: %v", n, frames.requests)
	}
}

func TestDiscardCodec(t *testing.T) {
	want := []int{1, 3, 4, 2, 3, 2}
	for i, r := range responses() {
		b, err := proto.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var m message
		split := mem.BufferSlice{mem.SliceBuffer(nil), mem.SliceBuffer(b[:1]), mem.SliceBuffer(b[1:])}
		if err := (discardCodec{}).Unmarshal(split, &m); err != nil || int(m.field) != want[i] || m.bytes != len(b) {
			t.Errorf("message %d: %+v %v", i, m, err)
		}
	}
	if err := (discardCodec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer{0xff}}, new(message)); err == nil {
		t.Error("half a tag is taken")
	}
	if err := (discardCodec{}).Unmarshal(nil, new(int)); err == nil {
		t.Error("another type is taken")
	}
	if _, err := (discardCodec{}).Marshal(1); err == nil {
		t.Error("no protobuf is taken")
	}
}
