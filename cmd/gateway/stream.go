package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
	"github.com/penstock-media/penstock/cmd/gateway/internal/record"
)

// streamCmd streams one track.
type streamCmd struct {
	clientFlags    `embed:""`
	selectorFlags  `embed:""`
	reconnectFlags `embed:""`
	Direct         bool          `name:"direct" env:"PENSTOCK_DIRECT" help:"Call the pod that has the session itself, where the gateway names it; its address must be within reach."`
	Out            string        `name:"out" env:"PENSTOCK_OUT" short:"o" placeholder:"FILE" help:"Write into this file; its extension decides what is asked for: .y4m (pictures), .wav (samples), .ivf (VP8, VP9, AV1 as received), .h264 (as received), .ogg (Opus as received). Without it a live line is shown."`
	Duration       time.Duration `name:"duration" env:"PENSTOCK_DURATION" placeholder:"DURATION" help:"Stop after so much media; 0 goes on."`
	Frames         int           `name:"frames" env:"PENSTOCK_FRAMES" placeholder:"N" help:"Stop after so many frames; 0 goes on."`
	Wait           time.Duration `name:"wait" env:"PENSTOCK_WAIT" default:"30s" placeholder:"DURATION" help:"How long to wait for the first frame; 0 is for ever."`
	Width          uint32        `name:"width" env:"PENSTOCK_WIDTH" placeholder:"PIXELS" help:"Largest width of pictures; 0 is as received."`
	Height         uint32        `name:"height" env:"PENSTOCK_HEIGHT" placeholder:"PIXELS" help:"Largest height of pictures; 0 is as received."`
	FPS            float64       `name:"fps" env:"PENSTOCK_FPS" placeholder:"N" help:"Most pictures a second; 0 is as received."`
	Rate           uint32        `name:"rate" env:"PENSTOCK_RATE" default:"48000" placeholder:"HZ" help:"Sample rate of audio."`
	Channels       uint32        `name:"channels" env:"PENSTOCK_CHANNELS" default:"1" placeholder:"N" help:"Channels of audio."`
}

// Validate implements kong's hook.
func (c *streamCmd) Validate() error {
	if c.Frames < 0 || c.Duration < 0 || c.Wait < 0 || c.Reconnect < 0 {
		return &config.Error{Setting: "--frames, --duration, --wait, --reconnect", Problem: "are below 0", Mend: "use 0 for no limit, or for no reconnection"}
	}
	return nil
}

// Run implements the command.
func (c *streamCmd) Run(ctx context.Context, std *stdio) error {
	req, sink, err := c.prepare(std)
	if err != nil {
		return err
	}
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	err = c.receive(ctx, penstockv1.NewTrackServiceClient(conn), req, sink)
	if ctx.Err() != nil {
		err = nil // interrupted: what came is kept
	}
	if cerr := sink.close(); err == nil {
		err = cerr
	}
	return explain("stream", c.Addr, err)
}

// prepare returns what to ask for and where to put it.
func (c *streamCmd) prepare(std *stdio) (*penstockv1.StreamTrackRequest, sink, error) {
	selector, err := c.selector()
	if err != nil {
		return nil, nil, err
	}
	req := &penstockv1.StreamTrackRequest{
		SessionId: c.Session, Selector: selector, AcceptRedirect: c.Direct,
		MaxReceiveMessageBytes: uint32(c.MaxMessage), //nolint:gosec // gRPC takes no more
	}
	if c.Out == "" {
		return req, newLive(std.Out), nil
	}
	rec, err := record.NewRecorder(c.Out)
	if err != nil {
		return nil, nil, &config.Error{Setting: "--out", Problem: err.Error(), Mend: "or leave it out to see a live line"}
	}
	req.Format = rec.Request()
	if v := req.Format.GetVideo(); v != nil {
		v.Width, v.Height, v.MaxFps = c.Width, c.Height, c.FPS
	}
	if a := req.Format.GetAudio(); a != nil {
		a.SampleRateHz, a.Channels = c.Rate, c.Channels
	}
	return req, &fileSink{Recorder: rec, out: std.Out}, nil
}

// receive puts what comes into the sink until the track ends or enough has come.
func (c *streamCmd) receive(ctx context.Context, client penstockv1.TrackServiceClient, req *penstockv1.StreamTrackRequest, to sink) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := fmt.Errorf("no frame came within %v; is the track live? 'gateway tracks' tells, and --wait waits longer", c.Wait)
	if c.Wait > 0 {
		timer := time.AfterFunc(c.Wait, func() { cancel(late) })
		defer timer.Stop()
		to = &firstFrame{sink: to, came: func() { timer.Stop() }}
	}
	from := &onward{usual: client, dial: c.dialTo, req: req, breaks: breaks{limit: c.Reconnect}}
	defer from.close()
	counter := enough{frames: c.Frames, duration: c.Duration}
	for {
		msg, err := from.next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && errors.Is(context.Cause(ctx), late):
			return late
		case err != nil:
			return err
		}
		frame, ok, err := deliver(to, msg)
		if err != nil {
			return err
		}
		if ok && counter.add(frame) {
			return nil
		}
	}
}

// deliver puts one message into the sink, and returns the frame if it was one.
func deliver(to sink, msg *penstockv1.StreamTrackResponse) (record.Frame, bool, error) {
	switch m := msg.GetMessage().(type) {
	case *penstockv1.StreamTrackResponse_Header:
		return record.Frame{}, false, to.header(m.Header)
	case *penstockv1.StreamTrackResponse_Event:
		return record.Frame{}, false, to.event(m.Event)
	case *penstockv1.StreamTrackResponse_Audio:
		f := record.Frame{Audio: m.Audio}
		return f, true, to.frame(f)
	case *penstockv1.StreamTrackResponse_Video:
		f := record.Frame{Video: m.Video}
		return f, true, to.frame(f)
	default:
		return record.Frame{}, false, nil // of a newer contract
	}
}

// enough counts frames and media time against what was asked for.
type enough struct {
	frames   int
	duration time.Duration
	n        int
	start    time.Duration
}

// add tells whether the frame was the last that is wanted.
func (e *enough) add(f record.Frame) bool {
	at := time.Duration(f.Info().GetPresentationTimeNs())
	if e.n == 0 {
		e.start = at
	}
	e.n++
	return e.frames > 0 && e.n >= e.frames || e.duration > 0 && at-e.start >= e.duration
}

// describe tells an event in words.
func describe(e *penstockv1.StreamEvent) string {
	switch e := e.GetEvent().(type) {
	case *penstockv1.StreamEvent_Paused:
		if e.Paused.GetMuted() {
			return "muted by its publisher"
		}
		return "paused by the SFU"
	case *penstockv1.StreamEvent_Resumed:
		return "resumed"
	case *penstockv1.StreamEvent_FormatChanged:
		f := e.FormatChanged
		return fmt.Sprintf("format is now %s %d×%d", word(f.GetCodec().String(), "CODEC_"), f.GetWidth(), f.GetHeight())
	case *penstockv1.StreamEvent_Gap:
		return fmt.Sprintf("gap of %d ms: %s", e.Gap.GetMilliseconds(), word(e.Gap.GetCause().String(), "GAP_CAUSE_"))
	case *penstockv1.StreamEvent_GoingAway:
		return "the gateway is going away in " + e.GoingAway.GetGrace().AsDuration().String()
	case *penstockv1.StreamEvent_Ended:
		return "ended: " + word(e.Ended.GetReason().String(), "TRACK_END_REASON_")
	case *penstockv1.StreamEvent_FrameTooLarge:
		return fmt.Sprintf("pictures of %d bytes are not sent, as --max-message is %d", e.FrameTooLarge.GetMessageBytes(), e.FrameTooLarge.GetMaxReceiveMessageBytes())
	case *penstockv1.StreamEvent_Undecodable:
		return fmt.Sprintf("%s cannot be decoded: %s", word(e.Undecodable.GetCodec().String(), "CODEC_"), e.Undecodable.GetReason())
	default:
		return strings.TrimSpace(fmt.Sprint(e))
	}
}
