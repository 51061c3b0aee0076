package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
)

// PublisherConfig is what the publisher process needs.
type PublisherConfig struct {
	// Gateway is the gRPC address, host:port on the loopback interface.
	Gateway string
	// Session is the id of the session to publish into.
	Session string
	// Fault is what it does wrong on purpose.
	Fault Fault
	// Commands come one a line: "publish", "unpublish", "mute" or "unmute" and names of tracks. When they end, so does
	// the publisher. Replies go to Replies, one line each: "ok", or "error" and why.
	Commands io.Reader
	Replies  io.Writer
}

// publisher is the SFU of the demo together with its signalling.
type publisher struct {
	sfu    *sfutest.SFU
	fault  Fault
	tracks map[string]*sfutest.Track // published ones
}

// Publish runs the publisher process. It returns when the commands end.
func Publish(ctx context.Context, cfg PublisherConfig) error {
	conn, err := grpc.NewClient(cfg.Gateway, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect to the gateway at %s: %w", cfg.Gateway, err)
	}
	defer func() { _ = conn.Close() }() // all calls are over
	signaller := sfutest.GRPCSignaller{Client: penstockv1.NewSessionServiceClient(conn), SessionID: cfg.Session}
	sfu, err := sfutest.New(sfutest.Config{Signaller: signaller, MSID: sfutest.MSIDStream})
	if err != nil {
		return err
	}
	p := &publisher{sfu: sfu, fault: cfg.Fault, tracks: map[string]*sfutest.Track{}}
	err = p.serve(ctx, cfg)
	if closeErr := sfu.Close(); err == nil {
		err = closeErr
	}
	return err
}

func (p *publisher) serve(ctx context.Context, cfg PublisherConfig) error {
	lines := bufio.NewScanner(cfg.Commands)
	for lines.Scan() {
		reply := "ok"
		if err := p.do(ctx, strings.Fields(lines.Text())); err != nil {
			reply = "error " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		if _, err := fmt.Fprintln(cfg.Replies, reply); err != nil {
			return fmt.Errorf("reply: %w", err)
		}
	}
	return lines.Err()
}

func (p *publisher) do(ctx context.Context, words []string) error {
	if len(words) < 2 {
		return fmt.Errorf("%w: %q", ErrCommand, words)
	}
	verb, names := words[0], words[1:]
	if verb == "publish" {
		return p.publish(ctx, names)
	}
	tracks := make([]*sfutest.Track, 0, len(names))
	for _, name := range names {
		track, known := p.tracks[name]
		if !known {
			return fmt.Errorf("%w: %s is not published", ErrCommand, name)
		}
		tracks = append(tracks, track)
	}
	switch verb {
	case "unpublish":
		for _, name := range names {
			delete(p.tracks, name)
		}
		return p.sfu.Unpublish(ctx, tracks...)
	case "mute", "unmute":
		return p.sfu.Mute(ctx, tracks[0], verb == "mute")
	default:
		return fmt.Errorf("%w: %q", ErrCommand, verb)
	}
}

// publish announces tracks and sends them, in one negotiation.
func (p *publisher) publish(ctx context.Context, names []string) error {
	tracks := make([]*sfutest.Track, 0, len(names))
	for _, name := range names {
		r, known := find(name)
		if !known {
			return fmt.Errorf("%w: no track %q", ErrCommand, name)
		}
		track, err := p.sfu.NewTrack(r.participant, r.source, clipOf(r, p.fault))
		if err != nil {
			return err
		}
		p.tracks[name] = track
		tracks = append(tracks, track)
	}
	if p.fault == FaultMissing && names[0] == bobScreen {
		return p.sfu.Announce(ctx, tracks...)
	}
	return p.sfu.Publish(ctx, tracks...)
}
