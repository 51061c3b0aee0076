package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"google.golang.org/grpc"
)

// connectTimeout bounds the setting up of everything.
const connectTimeout = 60 * time.Second

// generateMain is the generator process: it connects every session, says that it is ready, and sends until its input ends.
func generateMain(ctx context.Context, args []string, in io.Reader, out io.Writer) (err error) {
	var l load
	var gateway, receiver, ca string
	flags := flag.NewFlagSet("generate", flag.ContinueOnError)
	l.flags(flags)
	flags.StringVar(&gateway, "gateway", "", "address of the gateway's gRPC API")
	flags.StringVar(&ca, "ca", "", "PEM file of the gateway's certificate; empty is plaintext")
	flags.StringVar(&receiver, "receiver", "", "URL to which offers are posted instead")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := l.validate(); err != nil {
		return err
	}
	if (gateway == "") == (receiver == "") {
		return fmt.Errorf("%w: generate wants -gateway or -receiver", errUsage)
	}
	target := func(int) exchange { return postOffer(receiver) }
	if gateway != "" {
		creds, err := credentialsOf(ca)
		if err != nil {
			return err
		}
		conn, err := grpc.NewClient(gateway, grpc.WithTransportCredentials(creds))
		if err != nil {
			return fmt.Errorf("dial the gateway: %w", err)
		}
		defer func() { _ = conn.Close() }()
		client := penstockv1.NewSessionServiceClient(conn)
		target = func(session int) exchange { return offerSession(client, l, l.sessionID(session)) }
	}
	return generate(ctx, l, target, in, out)
}

func generate(ctx context.Context, l load, target func(session int) exchange, in io.Reader, out io.Writer) (err error) {
	sending, cancel := context.WithCancel(ctx)
	var senders []*sender
	defer func() {
		cancel()
		for _, s := range senders {
			err = errors.Join(err, s.close())
		}
	}()
	connecting, connected := context.WithTimeout(ctx, connectTimeout)
	defer connected()
	for i := range l.sessions {
		s, err := newSender(l)
		if err != nil {
			return err
		}
		senders = append(senders, s)
		if err := s.connect(connecting, target(i)); err != nil {
			return fmt.Errorf("session %d: %w", i, err)
		}
	}
	for i, s := range senders {
		// Sessions do not know each other either.
		if err := wait(ctx, l.interval()*time.Duration(i%7)/7); err != nil {
			return err
		}
		s.send(sending)
	}
	fmt.Fprintln(out, "ready")
	serveCounts(ctx, in, out, func() int64 { return 0 })
	return nil
}

// offerSession creates a session, tells who publishes, and negotiates.
func offerSession(client penstockv1.SessionServiceClient, l load, id string) exchange {
	return func(ctx context.Context, offer string, tracks []*sendTrack) (string, error) {
		if _, err := client.CreateSession(ctx, &penstockv1.CreateSessionRequest{SessionId: id}); err != nil {
			return "", fmt.Errorf("create session %s: %w", id, err)
		}
		report := &penstockv1.ReportEventsRequest{SessionId: id}
		for _, t := range tracks {
			publication := &penstockv1.Publication{
				Participant: &penstockv1.Participant{ParticipantId: participantID(t.index)},
				Source:      l.source(), TrackId: t.local.ID(), Mid: t.pion.Mid(),
			}
			published := &penstockv1.TrackPublished{Publication: publication}
			report.Events = append(report.Events, &penstockv1.CallEvent{Event: &penstockv1.CallEvent_TrackPublished{TrackPublished: published}})
		}
		if _, err := client.ReportEvents(ctx, report); err != nil {
			return "", fmt.Errorf("report what is published: %w", err)
		}
		reply, err := client.Negotiate(ctx, &penstockv1.NegotiateRequest{SessionId: id, Generation: 1, Sdp: offer})
		if err != nil {
			return "", fmt.Errorf("negotiate: %w", err)
		}
		if reply.GetAnswer() == nil {
			return "", fmt.Errorf("%w: the offer was dropped: %s", errChild, reply.GetDropped().GetMessage())
		}
		return reply.GetAnswer().GetSdp(), nil
	}
}

// postOffer posts the offer as JSON, as aiortc's own examples do, and gets the answer alike.
func postOffer(url string) exchange {
	type description struct {
		SDP  string `json:"sdp"`
		Type string `json:"type"`
	}
	return func(ctx context.Context, offer string, _ []*sendTrack) (string, error) {
		body, err := json.Marshal(description{offer, "offer"})
		if err != nil {
			return "", err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return "", err
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return "", fmt.Errorf("post the offer: %w", err)
		}
		defer func() { _ = response.Body.Close() }()
		var answer description
		if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&answer); err != nil || answer.SDP == "" {
			return "", fmt.Errorf("%w: the receiver answered %s", errChild, response.Status)
		}
		return answer.SDP, nil
	}
}
