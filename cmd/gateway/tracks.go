package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// tracksCmd lists tracks, or watches them.
type tracksCmd struct {
	clientFlags    `embed:""`
	reconnectFlags `embed:""`
	Session        string `name:"session" env:"PENSTOCK_SESSION" required:"" placeholder:"ID" help:"The session."`
	Watch          bool   `name:"watch" env:"PENSTOCK_WATCH" help:"Go on telling what changes, until interrupted or the session ends."`
}

// Run implements the command.
func (c *tracksCmd) Run(ctx context.Context, std *stdio) error {
	conn, err := c.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	client := penstockv1.NewTrackServiceClient(conn)
	if c.Watch {
		err = c.watch(ctx, client, std.Out)
	} else {
		err = c.list(ctx, client, std.Out)
	}
	if ctx.Err() != nil {
		return nil // interrupted, which is how watching ends
	}
	return explain("tracks", c.Addr, err)
}

func (c *tracksCmd) list(ctx context.Context, client penstockv1.TrackServiceClient, out io.Writer) error {
	w := newTrackTable(out)
	for token := ""; ; {
		page, err := client.ListTracks(ctx, &penstockv1.ListTracksRequest{SessionId: c.Session, PageToken: token})
		if err != nil {
			return err
		}
		for _, t := range page.GetTracks() {
			w.row("", t)
		}
		if token = page.GetNextPageToken(); token == "" {
			return w.Flush()
		}
	}
}

func (c *tracksCmd) watch(ctx context.Context, client penstockv1.TrackServiceClient, out io.Writer) error {
	req := &penstockv1.WatchTracksRequest{SessionId: c.Session}
	broken := breaks{limit: c.Reconnect}
	for begun := false; ; {
		err := c.watchOnce(ctx, client, req, func(change *penstockv1.WatchTracksResponse) error {
			begun = true
			broken.mended()
			req.AfterRevision = change.GetRevision()
			return printChange(out, change)
		})
		if err == nil || !begun || status.Code(err) != codes.Unavailable || !broken.again(ctx) {
			return err
		}
	}
}

// watchOnce tells changes until the stream ends or breaks.
func (c *tracksCmd) watchOnce(
	ctx context.Context, client penstockv1.TrackServiceClient, req *penstockv1.WatchTracksRequest, tell func(*penstockv1.WatchTracksResponse) error,
) error {
	stream, err := client.WatchTracks(ctx, req)
	if err != nil {
		return err
	}
	for {
		change, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := tell(change); err != nil {
			return err
		}
	}
}

func printChange(out io.Writer, change *penstockv1.WatchTracksResponse) error {
	w := newTrackTable(out)
	sign := "~"
	if change.GetSnapshot() {
		sign = "="
	}
	for _, t := range change.GetTracks() {
		w.row(sign, t)
	}
	for _, r := range change.GetRemoved() {
		fmt.Fprintf(w, "-\t%s\t%s\n", r.GetTrackId(), word(r.GetReason().String(), "TRACK_END_REASON_"))
	}
	return w.Flush()
}

// trackTable writes tracks in columns. Errors of writing come from Flush.
type trackTable struct{ *tabwriter.Writer }

func newTrackTable(out io.Writer) trackTable {
	t := trackTable{tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	fmt.Fprintln(t, "\tTRACK\tSTATE\tUSER\tPARTICIPANT\tSOURCE\tKIND\tCODEC\tSIZE\tCONSUMERS")
	return t
}

func (t trackTable) row(sign string, track *penstockv1.Track) {
	pub := track.GetPublication()
	size := "-"
	if track.GetWidth() > 0 {
		size = fmt.Sprintf("%d×%d", track.GetWidth(), track.GetHeight())
	}
	fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", sign, track.GetTrackId(),
		word(track.GetState().String(), "TRACK_STATE_"), dash(pub.GetParticipant().GetUserId()),
		dash(pub.GetParticipant().GetParticipantId()), word(pub.GetSource().String(), "SOURCE_"),
		word(track.GetKind().String(), "MEDIA_KIND_"), word(track.GetMedia().GetCodec().String(), "CODEC_"),
		size, track.GetConsumerCount())
}

// word turns the name of an enum's value into a word: "SOURCE_SCREEN_SHARE" is "screen-share".
func word(name, prefix string) string {
	name = strings.TrimPrefix(name, prefix)
	if name == "UNSPECIFIED" {
		return "-"
	}
	return strings.ToLower(strings.ReplaceAll(name, "_", "-"))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
