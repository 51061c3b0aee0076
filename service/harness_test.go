package service

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
)

// hang bounds every test: what takes so long will never come.
const hang = 2 * time.Minute

// largeMessage is the receive limit of the tests' client, in bytes.
const largeMessage = 64 << 20

// manyWorkers is more than any test's tracks: no picture waits for a worker. On a busy machine a pool of few would leave some out, and say so.
const manyWorkers = 16

// gateway is the whole service on a real socket of the loopback interface.
type gateway struct {
	t        *testing.T
	svc      *Service
	decoders *media.DecodePool
	server   *grpc.Server
	lines    *lines
	addr     string
	conn     *grpc.ClientConn
	sessions penstockv1.SessionServiceClient
	tracks   penstockv1.TrackServiceClient
	store    resolverstore.Store
	ctx      context.Context
}

// startGateway starts a gateway that ends with the test. Each tweak changes the configuration.
func startGateway(t *testing.T, tweaks ...func(*Config)) *gateway {
	t.Helper()
	return startGatewayWith(t, media.NewDecodePool(manyWorkers), tweaks...)
}

// startGatewayWith starts a gateway that decodes by a pool, which it closes.
func startGatewayWith(t *testing.T, decoders *media.DecodePool, tweaks ...func(*Config)) *gateway {
	t.Helper()
	return startGatewayOn(t, decoders, func(cfg resolverstore.Config) resolverstore.Store { return resolverstore.NewMemory(cfg) }, tweaks...)
}

// startGatewayOn starts a gateway on a store that it closes.
func startGatewayOn(t *testing.T, decoders *media.DecodePool, storeOf func(resolverstore.Config) resolverstore.Store, tweaks ...func(*Config)) *gateway {
	t.Helper()
	log := slog.New(slog.NewTextHandler(newTestWriter(t), &slog.HandlerOptions{Level: slog.LevelInfo}))
	t.Cleanup(decoders.Close)
	pool, err := rtcpool.New(rtcpool.Config{
		Decoders: decoders, Logger: log, Tracer: noop.NewTracerProvider().Tracer(""), Loopback: true,
	})
	must(t, err)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	owner, addr := rand.Text(), listener.Addr().String()
	store := storeOf(resolverstore.Config{Logger: log, RepublishTTL: 200 * time.Millisecond, Owner: owner, OwnerAddress: addr})
	t.Cleanup(func() { must(t, store.Close()) })
	t.Cleanup(func() { must(t, pool.Close(context.Background())) })
	cfg := Config{Pool: pool, Store: store, Logger: log, Owner: owner, OwnerAddress: addr, Grace: 2 * hang} // nothing expires but where a test says when
	for _, f := range tweaks {
		f(&cfg)
	}
	svc, err := New(cfg)
	must(t, err)
	g := &gateway{t: t, svc: svc, store: store, decoders: decoders, addr: addr}
	g.server, g.lines = svc.NewServer(), &lines{Listener: listener}
	stop := serving(t, g.server, g.lines)
	var cancel context.CancelFunc
	g.ctx, cancel = context.WithTimeout(context.Background(), hang)
	g.conn = g.dial()
	g.sessions, g.tracks = penstockv1.NewSessionServiceClient(g.conn), penstockv1.NewTrackServiceClient(g.conn)
	t.Cleanup(func() {
		cancel()
		svc.Close()
		must(t, g.conn.Close())
		stop()
	})
	return g
}

// serving has a server serve a listener until stop is called, which waits for it.
func serving(t *testing.T, server *grpc.Server, l net.Listener) (stop func()) {
	t.Helper()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	return func() {
		t.Helper()
		server.Stop()
		if err := <-served; !errors.Is(err, grpc.ErrServerStopped) { // it says so if it had not begun to serve when it was stopped
			must(t, err)
		}
	}
}

// lines are a gateway's connections.
type lines struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

// Accept implements net.Listener.
func (l *lines) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		l.conns = append(l.conns, c)
		l.mu.Unlock()
	}
	return c, err
}

// cut breaks all that there are.
func (l *lines) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close() // some are closed
	}
	l.conns = nil
}

// dial returns another connection, which the caller closes.
func (g *gateway) dial(opts ...grpc.DialOption) *grpc.ClientConn {
	g.t.Helper()
	opts = append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(largeMessage)),
	}, opts...)
	conn, err := grpc.NewClient(g.addr, opts...)
	must(g.t, err)
	return conn
}

// create makes a session.
func (g *gateway) create(id string) *penstockv1.Session {
	g.t.Helper()
	r, err := g.sessions.CreateSession(g.ctx, &penstockv1.CreateSessionRequest{SessionId: id})
	must(g.t, err)
	return r.GetSession()
}

// sfu returns an SFU that offers to a session, and ends with the test.
func (g *gateway) sfu(session string, msid sfutest.MSID) *sfutest.SFU {
	g.t.Helper()
	s, err := sfutest.New(sfutest.Config{
		Signaller: sfutest.GRPCSignaller{Client: g.sessions, SessionID: session}, MSID: msid,
	})
	must(g.t, err)
	g.t.Cleanup(func() { must(g.t, s.Close()) })
	return s
}

// newTrack returns a track of a participant, whose user is named "user-" and its id.
func newTrack(t *testing.T, s *sfutest.SFU, participant string, source penstockv1.Source, clip clips.Clip) *sfutest.Track {
	t.Helper()
	track, err := s.NewTrack(sfutest.Participant{ParticipantID: participant, UserID: "user-" + participant}, source, clip)
	must(t, err)
	return track
}

// byParticipant selects a logical track.
func byParticipant(id string, source penstockv1.Source) *penstockv1.TrackSelector {
	return &penstockv1.TrackSelector{Selector: &penstockv1.TrackSelector_Participant{
		Participant: &penstockv1.ParticipantTrack{ParticipantId: id, Source: source},
	}}
}

// byID selects one track.
func byID(id string) *penstockv1.TrackSelector {
	return &penstockv1.TrackSelector{Selector: &penstockv1.TrackSelector_TrackId{TrackId: id}}
}

// reader reads a stream.
type reader struct {
	t      *testing.T
	stream penstockv1.TrackService_StreamTrackClient
	cancel context.CancelFunc
}

// open opens a stream, which ends with the test.
func (g *gateway) open(r *penstockv1.StreamTrackRequest) *reader {
	g.t.Helper()
	ctx, cancel := context.WithCancel(g.ctx)
	g.t.Cleanup(cancel)
	s, err := g.tracks.StreamTrack(ctx, r)
	must(g.t, err)
	return &reader{g.t, s, cancel}
}

// next returns the next message.
func (r *reader) next() *penstockv1.StreamTrackResponse {
	r.t.Helper()
	m, err := r.stream.Recv()
	must(r.t, err)
	return m
}

// until returns the first message that is wanted.
func (r *reader) until(wanted func(*penstockv1.StreamTrackResponse) bool) *penstockv1.StreamTrackResponse {
	r.t.Helper()
	for {
		if m := r.next(); wanted(m) {
			return m
		}
	}
}

// header returns the next header.
func (r *reader) header() *penstockv1.StreamHeader {
	r.t.Helper()
	return r.until(func(m *penstockv1.StreamTrackResponse) bool { return m.GetHeader() != nil }).GetHeader()
}

// video returns the next picture.
func (r *reader) video() *penstockv1.VideoFrame {
	r.t.Helper()
	return r.until(func(m *penstockv1.StreamTrackResponse) bool { return m.GetVideo() != nil }).GetVideo()
}

// audio returns the next chunk.
func (r *reader) audio() *penstockv1.AudioFrame {
	r.t.Helper()
	return r.until(func(m *penstockv1.StreamTrackResponse) bool { return m.GetAudio() != nil }).GetAudio()
}

// event returns the next event that is wanted.
func (r *reader) event(wanted func(*penstockv1.StreamEvent) bool) *penstockv1.StreamEvent {
	r.t.Helper()
	return r.until(func(m *penstockv1.StreamTrackResponse) bool {
		return m.GetEvent() != nil && wanted(m.GetEvent())
	}).GetEvent()
}

// end reads on to the status.
func (r *reader) end() error {
	for {
		if _, err := r.stream.Recv(); err != nil {
			return err
		}
	}
}

// wantStatus checks a status and its ErrorInfo, and returns it.
func wantStatus(t *testing.T, err error, code codes.Code, reason string) *status.Status {
	t.Helper()
	st, ok := status.FromError(err)
	if !ok || err == nil {
		t.Fatalf("got %v, want a status %v", err, code)
	}
	info := detail[*errdetails.ErrorInfo](st)
	if st.Code() != code || info.GetReason() != reason || info.GetDomain() != "penstock" {
		t.Fatalf("got %v %v/%v: %q, want %v %v", st.Code(), info.GetDomain(), info.GetReason(), st.Message(), code, reason)
	}
	return st
}

// detail returns a status's detail of one type, or nil.
func detail[M any](st *status.Status) M {
	for _, d := range st.Details() {
		if m, ok := d.(M); ok {
			return m
		}
	}
	var none M
	return none
}

// must ends the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testWriter writes log lines to a test's output, until the test is over: a handler of a server that was stopped may end later.
type testWriter struct {
	mu   sync.Mutex
	t    *testing.T
	over bool
}

// newTestWriter returns one. It must be made before what writes to it is to be cleaned up.
func newTestWriter(t *testing.T) *testWriter {
	w := &testWriter{t: t}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.over = true
	})
	return w
}

// Write implements io.Writer.
func (w *testWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.t.Log(string(p))
	}
	return len(p), nil
}

// eventually waits, by asking again after each change of the session's tracks, until a condition holds.
func (g *gateway) eventually(session string, holds func() bool) {
	g.t.Helper()
	w, err := g.store.Watch(g.ctx, resolverstore.SessionKey{ID: session}, 0)
	must(g.t, err)
	defer w.Close()
	for !holds() {
		if _, err := w.Next(g.ctx); err != nil && !errors.Is(err, resolverstore.ErrSessionEnded) {
			g.t.Fatal(err)
		}
	}
}

// mediaOf returns the id of the media that a track carries.
func (g *gateway) mediaOf(session, track string) string {
	g.t.Helper()
	t, err := g.store.Resolve(g.ctx, resolverstore.SessionKey{ID: session}, resolverstore.Selector{TrackID: track})
	must(g.t, err)
	return t.Media.ID
}

// mustTick lets a little time go by, and ends a test that hangs.
func mustTick(t *testing.T, g *gateway) {
	t.Helper()
	timer := time.NewTimer(5 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.ctx.Done():
		t.Fatal(g.ctx.Err())
	}
}

// errReason returns the reason of an error that the gateway made.
func errReason(err error) (string, bool) {
	st, _ := status.FromError(err)
	info := detail[*errdetails.ErrorInfo](st)
	return info.GetReason(), info != nil
}

// readFile returns a file of the tree.
func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	must(t, err)
	return string(b)
}

// resolved returns alice's camera as the store knows it.
func (g *gateway) resolved(session string) resolverstore.Track {
	g.t.Helper()
	t, err := g.store.Resolve(g.ctx, resolverstore.SessionKey{ID: session}, resolverstore.Selector{ParticipantID: "alice", Source: resolverstore.Camera})
	must(g.t, err)
	return t
}

// key is the store's key of a session where there is but one tenant.
func key(id string) resolverstore.SessionKey { return resolverstore.SessionKey{ID: id} }
