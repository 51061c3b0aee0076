package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
)

// receiveMain is the receiver process: pion alone, which answers an offer that is posted to it, reads every packet and throws it
// away. It sends the feedback that the gateway sends: NACK, receiver reports, transport-wide congestion control.
func receiveMain(ctx context.Context, args []string, in io.Reader, out io.Writer) (err error) {
	if err := flag.NewFlagSet("receive", flag.ContinueOnError).Parse(args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	r := &receiver{}
	server := &http.Server{Handler: http.HandlerFunc(r.offer), ReadHeaderTimeout: connectTimeout}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	fmt.Fprintf(out, "listening http://%s/offer\n", listener.Addr())
	serveCounts(ctx, in, out, r.packets.Load)
	err = server.Close()
	serving.Wait()
	return errors.Join(err, r.close())
}

// receiver holds the peer connections of a process.
type receiver struct {
	packets atomic.Int64
	reading sync.WaitGroup

	mu    sync.Mutex
	peers []*webrtc.PeerConnection
}

// offer answers an offer as aiortc's example does.
func (r *receiver) offer(w http.ResponseWriter, request *http.Request) {
	var d webrtc.SessionDescription
	if err := json.NewDecoder(io.LimitReader(request.Body, 1<<20)).Decode(&d); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := r.answer(d)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	_ = json.NewEncoder(w).Encode(answer) // who asked is gone, or gets it
}

// answer connects and reads what is offered until close.
func (r *receiver) answer(offer webrtc.SessionDescription) (*webrtc.SessionDescription, error) {
	pc, err := newPeerConnection()
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.peers = append(r.peers, pc)
	r.mu.Unlock()
	pc.OnTrack(func(track *webrtc.TrackRemote, from *webrtc.RTPReceiver) {
		r.reading.Go(func() { r.read(track) })
		r.reading.Go(func() { drain(from.Read) })
	})
	if err := pc.SetRemoteDescription(offer); err != nil {
		return nil, fmt.Errorf("apply the offer: %w", err)
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return nil, fmt.Errorf("create an answer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return nil, fmt.Errorf("apply the answer: %w", err)
	}
	<-gathered // host candidates alone: it takes no time
	return pc.LocalDescription(), nil
}

// drain reads until nothing more comes.
func drain(read func([]byte) (int, interceptor.Attributes, error)) {
	buffer := make([]byte, 1500)
	for {
		if _, _, err := read(buffer); err != nil {
			return
		}
	}
}

// close ends all peer connections and waits for their readers.
func (r *receiver) close() (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, pc := range r.peers {
		err = errors.Join(err, pc.GracefulClose())
	}
	r.reading.Wait()
	return err
}

func (r *receiver) read(track *webrtc.TrackRemote) {
	buffer := make([]byte, 1500)
	for {
		if _, _, err := track.Read(buffer); err != nil {
			return
		}
		r.packets.Add(1)
	}
}
