package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// sessionID names the demo's session.
const sessionID = "demo"

// Config is what the demo needs.
type Config struct {
	// Gateway is the gRPC address of a gateway on this machine, host:port.
	Gateway string
	// Dir is where the files go. It is made when it is missing.
	Dir string
	// Fault is passed to the publisher.
	Fault Fault
	// StepLimit bounds the wait for what a step of the call should bring.
	StepLimit time.Duration
	// Out is where people read; Live redraws a table on it, for a terminal. Err takes the publisher's log.
	Out, Err io.Writer
	Live     bool
}

// stage is a running demo.
type stage struct {
	cfg      Config
	sessions penstockv1.SessionServiceClient
	tracks   penstockv1.TrackServiceClient
	board    *board
	workers  []*worker
	glimpse  image.Image // what GetFrame gave
}

// Run plays the call. It returns nil only if every track arrived, was decoded and by its content belongs to the right
// participant and source; else ErrFailed, after having printed what failed.
func Run(ctx context.Context, cfg Config) error {
	conn, err := grpc.NewClient(cfg.Gateway, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)))
	if err != nil {
		return fmt.Errorf("connect to the gateway at %s: %w", cfg.Gateway, err)
	}
	defer func() { _ = conn.Close() }() // all calls are over
	s := &stage{
		cfg: cfg, board: newBoard(),
		sessions: penstockv1.NewSessionServiceClient(conn), tracks: penstockv1.NewTrackServiceClient(conn),
	}
	begin := time.Now()
	show := startScreen(cfg.Out, cfg.Live, s.board)
	playErr := s.perform(ctx, show)
	show.stop()
	failures := s.judge(playErr)
	pageErr := s.writeFiles(failures, time.Since(begin))
	if pageErr != nil {
		failures = append(failures, pageErr.Error())
	}
	return report(cfg, failures, time.Since(begin))
}

// perform opens the session, lets the workers wait for their tracks, and plays the script.
func (s *stage) perform(ctx context.Context, show *screen) error {
	_, err := s.sessions.CreateSession(ctx, &penstockv1.CreateSessionRequest{SessionId: sessionID})
	if err != nil {
		return fmt.Errorf("create the session: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	for _, r := range cast() {
		w := &worker{role: r, session: sessionID, tracks: s.tracks, board: s.board}
		s.workers = append(s.workers, w)
		running.Go(func() { w.run(ctx) })
	}
	defer func() {
		cancel()
		running.Wait()
	}()
	return s.playScript(ctx, show)
}

func (s *stage) playScript(ctx context.Context, show *screen) error {
	publisher, err := startPublisher(ctx, s.cfg.Gateway, sessionID, s.cfg.Fault, s.cfg.Err)
	if err != nil {
		return err
	}
	for _, step := range script() {
		show.say(step.title)
		if err := step.play(ctx, publisher, s.board, s.cfg.StepLimit); err != nil {
			return errors.Join(err, publisher.close())
		}
	}
	show.say("a look at alice: one picture by GetFrame")
	if err := s.look(ctx); err != nil {
		return errors.Join(err, publisher.close())
	}
	show.say("the session is deleted")
	return errors.Join(s.finish(ctx), publisher.close())
}

// look takes one picture of alice's camera by GetFrame.
func (s *stage) look(ctx context.Context) error {
	alice, _ := find(aliceCamera)
	ctx, cancel := context.WithTimeout(ctx, s.cfg.StepLimit)
	defer cancel()
	response, err := s.tracks.GetFrame(ctx, &penstockv1.GetFrameRequest{
		SessionId: sessionID, MaxReceiveMessageBytes: maxMessageBytes,
		Selector: &penstockv1.TrackSelector{Selector: &penstockv1.TrackSelector_Participant{Participant: &penstockv1.ParticipantTrack{
			ParticipantId: alice.participant.ParticipantID, Source: alice.source,
		}}},
	})
	if err != nil {
		return fmt.Errorf("get a frame: %w", err)
	}
	s.glimpse, err = jpeg.Decode(bytes.NewReader(response.GetFrame().GetPayload()))
	if err != nil {
		return fmt.Errorf("get a frame: %w: %w", ErrPicture, err)
	}
	if id, ok := clips.ReadWatermark(clips.Luma(s.glimpse)); !ok || id != alice.clip.Watermark {
		return fmt.Errorf("get a frame: %w: watermark %d, want %d", ErrPicture, id, alice.clip.Watermark)
	}
	return nil
}

// finish deletes the session: every stream must end by itself.
func (s *stage) finish(ctx context.Context) error {
	if _, err := s.sessions.DeleteSession(ctx, &penstockv1.DeleteSessionRequest{SessionId: sessionID}); err != nil {
		return fmt.Errorf("delete the session: %w", err)
	}
	last := step{title: "the session is deleted", want: "every stream ends", done: ended(aliceCamera, aliceMicrophone, bobCamera, bobMicrophone, bobScreen)}
	return last.await(ctx, nil, s.board, s.cfg.StepLimit)
}

// judge lists everything that is not as it should be.
func (s *stage) judge(playErr error) []string {
	var failures []string
	all, _ := s.board.list()
	for _, t := range all {
		who := fmt.Sprintf("%s's %s", t.role.participant.UserID, t.role.sourceName())
		for _, fault := range t.faults {
			failures = append(failures, who+": "+fault)
		}
		switch {
		case errors.Is(playErr, ErrFailed): // broken off at a fault: what was still to come is not missing
		case t.frames == 0:
			failures = append(failures, who+": no frame came")
		case t.rightMarks == 0 && len(t.faults) == 0:
			failures = append(failures, who+": too little came to tell whose it is")
		}
	}
	if playErr != nil && (!errors.Is(playErr, ErrFailed) || len(failures) == 0) {
		failures = append(failures, playErr.Error())
	}
	return failures
}

// report prints the verdict.
func report(cfg Config, failures []string, took time.Duration) error {
	if len(failures) == 0 {
		_, err := fmt.Fprintf(cfg.Out, "\nOK in %.1f s: every track arrived, and its content belongs to the right participant and source.\nLook at %s/index.html\n", took.Seconds(), cfg.Dir)
		return err
	}
	fmt.Fprintf(cfg.Out, "\nFAILED after %.1f s:\n", took.Seconds())
	for _, f := range failures {
		fmt.Fprintf(cfg.Out, "  - %s\n", f)
	}
	return ErrFailed
}
