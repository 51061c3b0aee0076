package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/connector/whip"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/internal/identity"
	"github.com/penstock-media/penstock/service/metrics"
)

// wantLimit checks that an error says which limit was reached, and when to try again where that helps.
func wantLimit(t *testing.T, err error, kind limitKind, value int) {
	t.Helper()
	st := wantStatus(t, err, codes.ResourceExhausted, "LIMIT_REACHED")
	info := limitTable[kind]
	got := detail[*errdetails.ErrorInfo](st).GetMetadata()
	if got["limit"] != info.name || got["setting"] != info.setting || strings.Contains(info.text, "%d") && got["value"] != fmt.Sprint(value) {
		t.Errorf("%s %d is told as %v", info.name, value, got)
	}
	if retry := detail[*errdetails.RetryInfo](st); (retry.GetRetryDelay().AsDuration() > 0) != (info.retry > 0) {
		t.Errorf("%s: to be tried again after %v", info.name, retry.GetRetryDelay().AsDuration())
	}
	if strings.Contains(st.Message(), "%") {
		t.Errorf("%s says %q", info.name, st.Message())
	}
}

// refused returns how often a limit was reached.
func (g *gateway) refused(kind limitKind) uint64 { return g.svc.Stats().Refused[limitTable[kind].name] }

// idle waits until no place is taken any more.
func (g *gateway) idle() {
	g.t.Helper()
	l := g.svc.limits
	for {
		l.callerCalls.mu.Lock()
		left := len(l.callerCalls.has)
		l.callerCalls.mu.Unlock()
		l.streams.mu.Lock()
		left += len(l.streams.has)
		l.streams.mu.Unlock()
		l.watchers.mu.Lock()
		left += len(l.watchers.has)
		l.watchers.mu.Unlock()
		if l.calls.n.Load() == 0 && l.watches.n.Load() == 0 && g.svc.streams.n.Load() == 0 && left == 0 {
			return
		}
		mustTick(g.t, g)
	}
}

// from returns clients whose connection comes from another address of loopback: another caller.
func (g *gateway) from(address string) (penstockv1.SessionServiceClient, penstockv1.TrackServiceClient) {
	g.t.Helper()
	conn := g.dialFrom(address)
	return penstockv1.NewSessionServiceClient(conn), penstockv1.NewTrackServiceClient(conn)
}

// dialFrom returns such a connection.
func (g *gateway) dialFrom(address string) *grpc.ClientConn {
	g.t.Helper()
	conn := g.dial(grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) {
		return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).DialContext(ctx, "tcp", to)
	}))
	g.t.Cleanup(func() { must(g.t, conn.Close()) })
	return conn
}

// waitFor opens a call of StreamTrack that waits for a track that is not there, and returns when it counts.
func (g *gateway) waitFor(tracks penstockv1.TrackServiceClient, who string) context.CancelFunc {
	g.t.Helper()
	ctx, cancel := context.WithCancel(g.ctx)
	g.t.Cleanup(cancel)
	s, err := tracks.StreamTrack(ctx, &penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant(who, camera)})
	must(g.t, err)
	_, err = s.Header() // is sent when the session's owner serves it
	must(g.t, err)
	return cancel
}

// TestO4_CallersHaveShares: a caller that has as many sessions, streams or calls as it may have is told so; another caller has its own; and what ends makes room.
func TestO4_CallersHaveShares(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Limits = Limits{CallerSessions: 1, CallerStreams: 2, CallerCalls: 3} })
	create := func(c penstockv1.SessionServiceClient, id string) error {
		_, err := c.CreateSession(g.ctx, &penstockv1.CreateSessionRequest{SessionId: id})
		return err
	}
	must(t, create(g.sessions, "call"))
	must(t, create(g.sessions, "call")) // the same request again makes none
	wantLimit(t, create(g.sessions, "more"), limitCallerSessions, 1)
	if rec, err := g.store.GetSession(g.ctx, key("more")); err == nil && rec.State != resolverstore.SessionEnded {
		t.Errorf("what was refused is left: %+v", rec)
	}
	otherSessions, otherTracks := g.from("127.0.0.2")
	must(t, create(otherSessions, "other"))

	cancel := g.waitFor(g.tracks, "a")
	g.waitFor(g.tracks, "b")
	wantLimit(t, streamCall(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("c", camera)})(g.ctx, g), limitCallerStreams, 2)
	g.waitFor(otherTracks, "d")
	resolving, stop := context.WithCancel(g.ctx)
	resolved := make(chan error, 1)
	go func() {
		_, err := g.tracks.ResolveTrack(resolving, &penstockv1.ResolveTrackRequest{SessionId: "call", Selector: byParticipant("e", camera)})
		resolved <- err
	}()
	for g.svc.limits.calls.n.Load() < 4 { // two streams of this caller, one of the other's, and the call that waits
		mustTick(t, g)
	}
	_, err := g.sessions.GetSession(g.ctx, &penstockv1.GetSessionRequest{SessionId: "call"})
	wantLimit(t, err, limitCallerCalls, 3)
	_, err = otherSessions.GetSession(g.ctx, &penstockv1.GetSessionRequest{SessionId: "call"})
	must(t, err)
	stop()
	if err := <-resolved; status.Code(err) != codes.Canceled {
		t.Errorf("the call that waited ended with %v", err)
	}
	cancel()
	for g.svc.limits.calls.n.Load() > 2 {
		mustTick(t, g)
	}
	g.waitFor(g.tracks, "c")
	_, err = g.sessions.DeleteSession(g.ctx, &penstockv1.DeleteSessionRequest{SessionId: "call"})
	must(t, err)
	for create(g.sessions, "again") != nil { // the share is free when the session is forgotten
		mustTick(t, g)
	}
	for _, id := range []string{"again", "other"} {
		_, err = otherSessions.DeleteSession(g.ctx, &penstockv1.DeleteSessionRequest{SessionId: id})
		must(t, err)
	}
	g.idle()
	if a, b, c := g.refused(limitCallerSessions), g.refused(limitCallerStreams), g.refused(limitCallerCalls); a == 0 || b != 1 || c != 1 {
		t.Errorf("counted are %d, %d and %d refusals", a, b, c)
	}
}

// TestO4_AllCallsAreBounded: with every place taken by calls that wait, the next call is refused whoever makes it, health is not, and watches of health have a bound of
// their own.
func TestO4_AllCallsAreBounded(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Limits = Limits{Calls: 2, HealthWatches: 1} })
	g.create("call")
	first := g.waitFor(g.tracks, "a")
	g.waitFor(g.tracks, "b")
	other, _ := g.from("127.0.0.2")
	_, err := other.GetSession(g.ctx, &penstockv1.GetSessionRequest{SessionId: "call"})
	wantLimit(t, err, limitCalls, 2)
	health := healthpb.NewHealthClient(g.conn)
	_, err = health.Check(g.ctx, &healthpb.HealthCheckRequest{})
	must(t, err)
	ctx, cancel := context.WithCancel(g.ctx)
	defer cancel()
	w, err := health.Watch(ctx, &healthpb.HealthCheckRequest{})
	must(t, err)
	_, err = w.Recv()
	must(t, err)
	again, err := health.Watch(g.ctx, &healthpb.HealthCheckRequest{})
	must(t, err)
	_, err = again.Recv()
	wantLimit(t, err, limitCallerHealthWatches, 1)
	first()
	for g.svc.limits.calls.n.Load() == 2 {
		mustTick(t, g)
	}
	g.session("call")
}

// TestO4_RatesAreOfCallers: a caller that floods is refused, with the time to wait, while another one is served; in time it is served again.
func TestO4_RatesAreOfCallers(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Limits = Limits{CallerRate: 1, CallerBurst: 40} })
	g.create("call")
	other, _ := g.from("127.0.0.2")
	get := func(c penstockv1.SessionServiceClient) error {
		_, err := c.GetSession(g.ctx, &penstockv1.GetSessionRequest{SessionId: "call"})
		return err
	}
	refusals := 0
	for i := range 400 {
		if err := get(g.sessions); err != nil {
			wantLimit(t, err, limitCallerRate, 1)
			refusals++
		}
		if i%100 == 0 {
			must(t, get(other))
		}
	}
	if refusals == 0 || g.refused(limitCallerRate) != uint64(refusals) {
		t.Errorf("%d of 400 were refused, %d counted", refusals, g.refused(limitCallerRate))
	}
	_, err := healthpb.NewHealthClient(g.conn).Check(g.ctx, &healthpb.HealthCheckRequest{})
	must(t, err) // a probe from the same address
	for get(g.sessions) != nil {
		mustTick(t, g)
	}
	g.idle()
}

// TestO4_BucketsRefillAndForget: by the clock, a bucket gives what its rate says and no more; so many callers are remembered and no more.
func TestO4_BucketsRefillAndForget(t *testing.T) {
	var count refusals
	b := newBuckets(limitCallerRate, 10, 20, &count)
	now := time.Unix(1000, 0)
	b.now = func() time.Time { return now }
	took := func(caller string) (n int) {
		for b.take(caller) == nil {
			n++
		}
		return n
	}
	if n := took("a"); n != 20 {
		t.Errorf("%d at once, want 20", n)
	}
	var limit *limitError
	if err := b.take("a"); !errors.As(err, &limit) || limit.RetryAfter() != 100*time.Millisecond {
		t.Errorf("then %v", err)
	}
	now = now.Add(time.Second)
	if n := took("a"); n != 10 {
		t.Errorf("%d after a second, want 10", n)
	}
	if n := took("b"); n != 20 {
		t.Errorf("another one has %d, want 20", n)
	}
	for i := range 2 * maxBuckets {
		if err := b.take(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
		_ = b.take("a") // is heard of all the time, and not forgotten
	}
	if len(b.known) != maxBuckets || b.order.Len() != maxBuckets {
		t.Errorf("%d callers are remembered, want %d", len(b.known), maxBuckets)
	}
	if b.take("a") == nil {
		t.Error("a caller that goes on has a full bucket again")
	}
	if none := newBuckets(limitCallerRate, 0, 0, &count); none.take("a") != nil || len(none.known) != 0 {
		t.Error("without a limit somebody is remembered")
	}
}

// TestO4_SharesForgetWhoHasNone: nobody is remembered who has nothing, and giving back twice gives back once.
func TestO4_SharesForgetWhoHasNone(t *testing.T) {
	var count refusals
	s := newShares(limitCallerStreams, 2, &count)
	var releases []func()
	for i := range 1000 {
		release, err := s.acquire(fmt.Sprint(i % 500))
		must(t, err)
		releases = append(releases, release)
	}
	if _, err := s.acquire("7"); !errors.Is(err, errLimit) {
		t.Errorf("a third one: %v", err)
	}
	releases[7]()
	releases[7]()
	if s.has["7"] != 1 {
		t.Errorf("%d are left, want 1", s.has["7"])
	}
	for _, release := range releases {
		release()
	}
	if len(s.has) != 0 {
		t.Errorf("remembered are %v", s.has)
	}
}

// TestO4_CallersAreIdentitiesOrAddresses tells who counts as one caller.
func TestO4_CallersAreIdentitiesOrAddresses(t *testing.T) {
	g := startGateway(t)
	of := func(tenant, subject string) string {
		return g.svc.callerKey(identity.With(t.Context(), identity.Identity{Tenant: tenant, Subject: subject}))
	}
	if of("a", "b") == of("b", "a") || of("a", "bc") == of("ab", "c") || of("a", "") == of("a", "b") || of(`a" "b`, "c") == of("a", `b" "c`) {
		t.Error("two identities are one caller")
	}
	for address, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1", "[::ffff:192.0.2.1]:5": "192.0.2.1", "[2001:db8:1:2:3::4]:5": "2001:db8:1:2::/64", "@": "", "": "",
	} {
		if got := addressKey(address); got != want {
			t.Errorf("%q counts as %q, want %q", address, got, want)
		}
	}
}

// TestO4_ConversationsHaveARate: messages beyond it are refused one by one, in their replies, and the conversation goes on.
func TestO4_ConversationsHaveARate(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Limits = Limits{SignalRate: 1, SignalBurst: 10} })
	g.create("call")
	r := g.raw("call")
	const messages = 50
	sent := make(chan error, 1)
	go func() {
		for i := range messages {
			if err := r.Send(candidateOf(uint64(i+2), 1, "nonsense")); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	done, refused := 0, 0
	for range messages {
		e := r.reply().GetError()
		if e == nil {
			done++
			continue
		}
		refused++
		if codes.Code(e.GetCode()) != codes.ResourceExhausted || e.GetReason() != "LIMIT_REACHED" || e.GetMetadata()["limit"] != "signal_rate" || e.GetRetryAfter().AsDuration() <= 0 {
			t.Fatalf("refused by %v", e)
		}
	}
	must(t, <-sent)
	if done < 10 || refused == 0 || g.refused(limitSignalRate) != uint64(refused) {
		t.Errorf("%d were done, %d refused, %d counted", done, refused, g.refused(limitSignalRate))
	}
}

// TestO4_ConsumersOfATrack: one more than allowed is refused, by stream and by picture; when one leaves there is room.
func TestO4_ConsumersOfATrack(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Limits.Consumers = 2 })
	g.call("call")
	selector := byParticipant("alice", camera)
	first := g.stream("call", selector)
	second := g.stream("call", selector)
	wantLimit(t, streamCall(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: selector})(g.ctx, g), limitConsumers, 2)
	wantLimit(t, frameCall(&penstockv1.GetFrameRequest{SessionId: "call", Selector: selector})(g.ctx, g), limitConsumers, 2)
	second.video() // is unharmed
	first.cancel()
	for {
		err := frameCall(&penstockv1.GetFrameRequest{SessionId: "call", Selector: selector})(g.ctx, g)
		if err == nil {
			break
		}
		wantLimit(t, err, limitConsumers, 2)
	}
	second.cancel()
	g.idle()
}

// TestO4_OffersAndFactsAreBounded: an offer of too many media is refused before it is looked at; publications and participants that are too many are named, and the
// others count.
func TestO4_OffersAndFactsAreBounded(t *testing.T) {
	g := startGatewayOn(t, media.NewDecodePool(1), func(cfg resolverstore.Config) resolverstore.Store {
		cfg.MaxParticipants, cfg.MaxPublications = 3, 2
		return resolverstore.NewMemory(cfg)
	}, func(c *Config) { c.Limits.Media = 3 })
	g.create("call")
	wantLimit(t, negotiateCall("call", "v=0"+strings.Repeat("\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0", 4))(g.ctx, g), limitMedia, 3)
	_, err := g.svc.WHIP().Publish(g.ctx, "call", whip.Publisher{UserID: "u"}, "v=0"+strings.Repeat("\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0", 4))
	if !errors.Is(err, errLimit) {
		t.Errorf("a publisher of four media got %v", err)
	}
	sfu := g.sfu("call", 0)
	must(t, sfu.Publish(g.ctx, newTrack(t, sfu, "alice", camera, clips.AliceCamera())))
	report, err := g.sessions.ReportEvents(g.ctx, &penstockv1.ReportEventsRequest{SessionId: "call", Events: []*penstockv1.CallEvent{
		published("bob", camera), published("bob", microphone), published("alice", camera), published("carol", camera),
	}})
	must(t, err)
	if ignored := report.GetIgnored(); len(ignored) != 2 || ignored[0].GetIndex() != 1 || ignored[1].GetIndex() != 3 || g.refused(limitFacts) != 2 {
		t.Errorf("ignored are %v, and %d are counted", ignored, g.refused(limitFacts))
	}
}

// TestO4_CallsWithoutARequest: a call whose request does not come is ended; a stream that has begun may be silent for as long as it likes.
func TestO4_CallsWithoutARequest(t *testing.T) {
	g := startGateway(t, func(c *Config) {
		c.Limits.RequestTimeout, c.SignalPatience = time.Second, time.Second // long enough for those that do come, on a busy machine
	})
	g.create("call")
	r := g.raw("call")
	watch, err := g.tracks.WatchTracks(g.ctx, &penstockv1.WatchTracksRequest{SessionId: "call"})
	must(t, err)
	_, err = watch.Recv()
	must(t, err)
	var silent []grpc.ClientStream
	for _, method := range []string{penstockv1.SessionService_GetSession_FullMethodName, penstockv1.TrackService_WatchTracks_FullMethodName} {
		one, err := g.conn.NewStream(g.ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
		must(t, err)
		silent = append(silent, one)
	}
	for _, one := range silent {
		if err := one.RecvMsg(&penstockv1.WatchTracksResponse{}); status.Code(err) != codes.Canceled { // gRPC's own answer
			t.Errorf("without a request: %v", err)
		}
	}
	if n := g.refused(limitFirstMessage); n != 2 {
		t.Errorf("%d are counted", n)
	}
	must(t, r.Send(candidateOf(5, 1, "nonsense")))
	if m := r.reply(); m.GetRequestId() != 5 {
		t.Errorf("the reply is %v", m)
	}
	_, err = g.sessions.ReportEvents(g.ctx, &penstockv1.ReportEventsRequest{SessionId: "call", Events: []*penstockv1.CallEvent{published("bob", camera)}})
	must(t, err)
	_, err = watch.Recv()
	must(t, err)
}

// TestO4_IdleConnectionsAreClosed: one without calls is closed; one whose only call is silent is not.
func TestO4_IdleConnectionsAreClosed(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Limits.ConnectionIdle = 200 * time.Millisecond })
	g.create("call")
	_, tracks := g.from("127.0.0.3")
	silent, err := tracks.WatchTracks(g.ctx, &penstockv1.WatchTracksRequest{SessionId: "call"})
	must(t, err)
	_, err = silent.Recv()
	must(t, err)
	unused := g.dial()
	defer unused.Close()
	for state := unused.GetState(); state != connectivity.Ready; state = unused.GetState() {
		unused.Connect() // again, if it was closed before this goroutine looked
		if !unused.WaitForStateChange(g.ctx, state) {
			t.Fatal("no connection")
		}
	}
	if !unused.WaitForStateChange(g.ctx, connectivity.Ready) {
		t.Fatal("the connection without calls stays open")
	}
	_, err = g.sessions.ReportEvents(g.ctx, &penstockv1.ReportEventsRequest{SessionId: "call", Events: []*penstockv1.CallEvent{published("bob", camera)}})
	must(t, err)
	_, err = silent.Recv()
	must(t, err)
	_, err = penstockv1.NewSessionServiceClient(unused).GetSession(g.ctx, &penstockv1.GetSessionRequest{SessionId: "call"})
	must(t, err) // the client connects again by itself
}

// TestO4_EveryLimitIsTold: each limit has a name, a text and, where there is one, a setting; all are in the counts.
func TestO4_EveryLimitIsTold(t *testing.T) {
	counts := (&refusals{}).byName()
	for kind := range limitKinds {
		info := limitTable[kind]
		st := classify(&limitError{kind: kind, value: 7}).status()
		if info.name == "" || !strings.HasSuffix(info.text, ".") {
			t.Errorf("%+v", info)
		}
		if _, ok := counts[info.name]; !ok {
			t.Errorf("%s is not counted", info.name)
		}
		wantLimit(t, st.Err(), kind, 7)
	}
	for name := range counts {
		if !slices.Contains(strings.Fields(metrics.Limits), name) {
			t.Errorf("%s is no label of the metric", name)
		}
	}
	if len(counts) != int(limitKinds) {
		t.Errorf("%d names for %d limits", len(counts), limitKinds)
	}
	custom := classify(&limitError{kind: limitCallerRate, value: 7, retry: 3 * time.Second}).status()
	if got := detail[*errdetails.RetryInfo](custom); got.GetRetryDelay().AsDuration() != 3*time.Second {
		t.Errorf("%v", durationpb.New(got.GetRetryDelay().AsDuration()))
	}
}
