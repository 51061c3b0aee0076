package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"google.golang.org/grpc"
)

// workMain is the worker process: it streams every track, counts frames and looks at nothing in them.
func workMain(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	var l load
	var gateway, ca string
	var padding bool
	flags := flag.NewFlagSet("work", flag.ContinueOnError)
	l.flags(flags)
	flags.StringVar(&gateway, "gateway", "", "address of the gateway's gRPC API")
	flags.StringVar(&ca, "ca", "", "PEM file of the gateway's certificate; empty is plaintext")
	flags.BoolVar(&padding, "row-padding", true, "take rows of pictures with padding")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := l.validate(); err != nil {
		return err
	}
	creds, err := credentialsOf(ca)
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(gateway,
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(discardCodec{})),
		// Windows that hold some pictures: the worker is not what is measured.
		grpc.WithInitialWindowSize(8<<20), grpc.WithInitialConnWindowSize(32<<20), grpc.WithReadBufferSize(256<<10))
	if err != nil {
		return fmt.Errorf("dial the gateway: %w", err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &worker{conn: conn, load: l, format: l.wanted(padding)}
	return w.run(ctx, cancel, in, out)
}

// wanted is what the worker asks for.
func (l load) wanted(padding bool) *penstockv1.StreamFormat {
	if l.kind == "audio" {
		return &penstockv1.StreamFormat{Format: &penstockv1.StreamFormat_Audio{Audio: &penstockv1.AudioFormat{
			SampleFormat: penstockv1.SampleFormat_SAMPLE_FORMAT_S16LE, SampleRateHz: 16000, Channels: 1, ChunkMs: 20,
		}}}
	}
	video := &penstockv1.VideoFormat{PixelFormat: penstockv1.PixelFormat_PIXEL_FORMAT_I420, AllowRowPadding: padding}
	switch l.format {
	case "jpeg":
		video.PixelFormat, video.AllowRowPadding = penstockv1.PixelFormat_PIXEL_FORMAT_JPEG, false
		video.Width, video.Height, video.MaxFps = 640, 360, 1
	case "glance":
		video.Width, video.Height, video.MaxFps = 64, 36, 1
	}
	return &penstockv1.StreamFormat{Format: &penstockv1.StreamFormat_Video{Video: video}}
}

type worker struct {
	conn    *grpc.ClientConn
	load    load
	format  *penstockv1.StreamFormat
	frames  atomic.Int64
	started sync.WaitGroup // one for each track, until its first frame
	streams sync.WaitGroup

	mu    sync.Mutex
	errs  []error
	delay []time.Duration // from the arrival of a frame's last packet to its own, since the last "reset"
}

func (w *worker) run(ctx context.Context, cancel func(), in io.Reader, out io.Writer) error {
	for s := range w.load.sessions {
		for p := range w.load.tracks * max(w.load.consumers, 1) {
			p %= w.load.tracks
			w.started.Add(1)
			w.streams.Go(func() {
				if err := w.stream(ctx, w.load.sessionID(s), participantID(p)); err != nil && ctx.Err() == nil {
					w.fail(fmt.Errorf("stream %s of %s: %w", participantID(p), w.load.sessionID(s), err))
					cancel() // a window without this track would be worth nothing
				}
			})
		}
	}
	var ready sync.WaitGroup
	ready.Go(func() {
		w.started.Wait()
		if ctx.Err() == nil {
			fmt.Fprintln(out, "ready")
		}
	})
	serveWords(ctx, in, out, w.answer)
	cancel()
	w.streams.Wait()
	ready.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.errs...)
}

// answer answers "count", "reset" (of the delays) and "delay" (their median and 99th percentile, in nanoseconds).
func (w *worker) answer(word string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch word {
	case "reset":
		w.delay = w.delay[:0]
	case "delay":
		if len(w.delay) == 0 {
			return "delay 0 0"
		}
		slices.Sort(w.delay)
		return fmt.Sprint("delay ", int64(w.delay[len(w.delay)/2]), " ", int64(w.delay[len(w.delay)*99/100]))
	}
	return fmt.Sprint(word, " ", w.frames.Load())
}

// maxDelays bounds the delays that are kept between two resets.
const maxDelays = 1 << 20

// arrived takes note of a frame.
func (w *worker) arrived(m message) {
	w.frames.Add(1)
	if m.received == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.delay) < maxDelays {
		w.delay = append(w.delay, time.Since(time.Unix(0, m.received)))
	}
}

func (w *worker) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errs = append(w.errs, err)
}

// stream receives one track until ctx ends.
func (w *worker) stream(ctx context.Context, session, participant string) error {
	first := sync.OnceFunc(w.started.Done)
	defer first()
	stream, err := w.load.open(ctx, w.conn, session, participant, w.format)
	if err != nil {
		return err
	}
	var m message
	for {
		if err := stream.RecvMsg(&m); err != nil {
			return err
		}
		if m.field == fieldAudio || m.field == fieldVideo {
			w.arrived(m)
			first()
		}
	}
}

// open calls StreamTrack for one track of the load.
func (l load) open(ctx context.Context, conn *grpc.ClientConn, session, participant string, format *penstockv1.StreamFormat) (grpc.ClientStream, error) {
	desc := &grpc.StreamDesc{StreamName: "StreamTrack", ServerStreams: true}
	stream, err := conn.NewStream(ctx, desc, penstockv1.TrackService_StreamTrack_FullMethodName)
	if err != nil {
		return nil, err
	}
	request := &penstockv1.StreamTrackRequest{
		SessionId: session, Format: format,
		Selector: &penstockv1.TrackSelector{Selector: &penstockv1.TrackSelector_Participant{
			Participant: &penstockv1.ParticipantTrack{ParticipantId: participant, Source: l.source()},
		}},
	}
	if err := stream.SendMsg(request); err != nil {
		return nil, err
	}
	return stream, stream.CloseSend()
}
