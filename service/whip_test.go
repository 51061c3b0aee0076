package service

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/connector/whip"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
)

// whipEndpoint serves WHIP over real HTTP and returns its address.
func (g *gateway) whipEndpoint() string {
	g.t.Helper()
	h, err := whip.New(whip.Config{Sessions: g.svc.WHIP(), Logger: g.svc.cfg.Logger})
	must(g.t, err)
	s := httptest.NewServer(h)
	g.t.Cleanup(s.Close)
	return s.URL + "/whip/"
}

// publishWHIP publishes with a client of its own, until the test ends.
func (g *gateway) publishWHIP(url string, c ...clips.Clip) (*sfutest.WHIPPublisher, error) {
	g.t.Helper()
	transport := &http.Transport{}
	g.t.Cleanup(transport.CloseIdleConnections)
	p, err := sfutest.PublishWHIP(g.ctx, sfutest.WHIPConfig{URL: url, Clips: c, Client: &http.Client{Transport: transport}})
	if err == nil {
		g.t.Cleanup(func() { _ = p.Close(context.Background()) }) // It may be gone already.
	}
	return p, err
}

// TestC1_WHIP publishes a camera, a screen and a microphone, streams them by what they are, and refuses a second publisher; the
// session ends with the publication and its id can be used again.
func TestC1_WHIP(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.WHIPCreate = true })
	url := g.whipEndpoint() + "studio"
	p, err := g.publishWHIP(url+"?user=bob", clips.BobCamera(), clips.BobScreen(), clips.AliceMicrophone())
	must(t, err)
	for source, clip := range map[penstockv1.Source]clips.Clip{camera: clips.BobCamera(), screen: clips.BobScreen()} {
		r := g.open(&penstockv1.StreamTrackRequest{SessionId: "studio", Selector: &penstockv1.TrackSelector{
			Selector: &penstockv1.TrackSelector_User{User: &penstockv1.UserTrack{UserId: "bob", Source: source}},
		}})
		wantVideo(t, r, clip)
	}
	sound := g.open(&penstockv1.StreamTrackRequest{SessionId: "studio", Selector: byParticipant("bob", microphone), Format: audioOf(&penstockv1.AudioFormat{SampleRateHz: 16000})})
	wantAudio(t, sound, clips.AliceMicrophone())
	s, err := g.sessions.GetSession(g.ctx, &penstockv1.GetSessionRequest{SessionId: "studio"})
	must(t, err)
	if s.GetSession().GetSourceKind() != penstockv1.SourceKind_SOURCE_KIND_WHIP || s.GetSession().GetGeneration() != 1 {
		t.Errorf("the session is %v", s)
	}
	if _, err := g.publishWHIP(url, clips.AliceCamera()); err == nil || !strings.Contains(err.Error(), "409") {
		t.Errorf("a second publisher got %v", err)
	}
	must(t, p.Close(g.ctx))
	wantEnded(t, sound, penstockv1.TrackEndReason_TRACK_END_REASON_SESSION_DELETED)
	if err := g.svc.WHIP().Unpublish(g.ctx, "studio", "any"); !errors.Is(err, whip.ErrNotFound) {
		t.Errorf("what has ended ends with %v", err)
	}
	_, err = g.publishWHIP(url, clips.AliceCamera())
	must(t, err)
	wantVideo(t, g.open(&penstockv1.StreamTrackRequest{SessionId: "studio", Selector: byParticipant("whip", camera)}), clips.AliceCamera())
}

// TestWHIPIntoExistingSession publishes where creating is not allowed: only into a session that is there, waits and is not
// offered to.
func TestWHIPIntoExistingSession(t *testing.T) {
	g := startGateway(t)
	url := g.whipEndpoint()
	if _, err := g.publishWHIP(url+"none", clips.BobCamera()); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("an unknown session gives %v", err)
	}
	g.create("made")
	_, err := g.publishWHIP(url+"made", clips.BobCamera())
	must(t, err)
	wantVideo(t, g.open(&penstockv1.StreamTrackRequest{SessionId: "made", Selector: byParticipant("whip", camera)}), clips.BobCamera())
	g.call("offered")
	if _, err := g.publishWHIP(url+"offered", clips.BobCamera()); err == nil || !strings.Contains(err.Error(), "409") {
		t.Errorf("a session with offers gives %v", err)
	}
}

// TestC1_WHIPResource trickles and restarts ICE on the publication's resource, and on others, which are not found.
func TestC1_WHIPResource(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.WHIPCreate = true })
	p, err := g.publishWHIP(g.whipEndpoint()+"studio", clips.BobCamera())
	must(t, err)
	resource := path.Base(p.Resource())
	w := g.svc.WHIP()
	must(t, w.Trickle(g.ctx, "studio", resource, []rtcpool.Candidate{{Candidate: "nonsense"}}, true))
	before, err := w.RestartICE(g.ctx, "studio", resource, "abcd", "0123456789012345678901", nil)
	must(t, err)
	after, err := w.RestartICE(g.ctx, "studio", resource, "efgh", "0123456789012345678901", nil)
	must(t, err)
	if a, b := iceUfrag(before), iceUfrag(after); a == "" || a == b {
		t.Errorf("restarts answered with the credentials %q and %q", a, b)
	}
	for _, other := range [][2]string{{"studio", "other"}, {"other", resource}, {"studio", ""}} {
		if err := w.Trickle(g.ctx, other[0], other[1], nil, true); !errors.Is(err, whip.ErrNotFound) {
			t.Errorf("trickle to %v gives %v", other, err)
		}
		if _, err := w.RestartICE(g.ctx, other[0], other[1], "abcd", "0123456789012345678901", nil); !errors.Is(err, whip.ErrNotFound) {
			t.Errorf("a restart of %v gives %v", other, err)
		}
		if err := w.Unpublish(g.ctx, other[0], other[1]); !errors.Is(err, whip.ErrNotFound) {
			t.Errorf("unpublishing %v gives %v", other, err)
		}
	}
}

// iceUfrag returns the first ICE user name of an SDP.
func iceUfrag(sdp string) string {
	_, rest, _ := strings.Cut(sdp, "a=ice-ufrag:")
	ufrag, _, _ := strings.Cut(rest, "\r")
	return ufrag
}

// TestWHIPBadOffer leaves no session behind.
func TestWHIPBadOffer(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.WHIPCreate = true })
	for offer, malformed := range map[string]bool{"hello": true, "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n": false} {
		_, err := g.svc.WHIP().Publish(g.ctx, "x", whip.Publisher{UserID: "u"}, offer)
		var bad *whip.InvalidOfferError
		if !errors.As(err, &bad) || bad.Malformed != malformed || bad.Detail == "" {
			t.Errorf("%q gives %v", offer, err)
		}
		if n := g.svc.Sessions(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	}
	if _, err := g.svc.WHIP().Publish(g.ctx, "a/b", whip.Publisher{UserID: "u"}, "v=0"); !errors.Is(err, whip.ErrNotFound) {
		t.Errorf("a bad id gives %v", err)
	}
	g.svc.Drain(g.ctx, 0)
	if _, err := g.svc.WHIP().Publish(g.ctx, "x", whip.Publisher{UserID: "u"}, "v=0"); !errors.Is(err, whip.ErrUnavailable) {
		t.Errorf("draining gives %v", err)
	}
}

func TestPublishedMedia(t *testing.T) {
	section := func(kind, mid, direction string) string {
		return "m=" + kind + " 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:" + mid + "\r\na=" + direction + "\r\n"
	}
	offer := "v=0\r\na=mid:session\r\n" + section("audio", "0", "sendonly") + section("application", "1", "sendrecv") +
		section("video", "2", "recvonly") + section("video", "3", "sendrecv") + section("video", "4 ", "sendonly") +
		section("video", "5", "sendonly") + "m=audio 9 x 0\n"
	if got, want := fmt.Sprint(publishedMedia(offer)), "[{2 0} {1 3} {3 4} {4 }]"; got != want {
		t.Errorf("published %s, want %s", got, want)
	}
}

func FuzzPublishedMedia(f *testing.F) {
	f.Add("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n")
	f.Add("m=audio\nm=\nm=video \na=mid:" + strings.Repeat("x", 5000))
	f.Fuzz(func(t *testing.T, offer string) {
		got := publishedMedia(offer)
		if len(got) > 4 {
			t.Fatalf("%d media", len(got))
		}
		for _, m := range got {
			if m.source.Kind() == 0 || len(m.mid) > maxName {
				t.Fatalf("media %v", m)
			}
		}
	})
}

// TestC1_WHIPPublisherWhoVanishes closes the peer connection without DELETE: the session ends at once, not after its grace, and
// its id is free, whoever created it. A publication that failed before, when it was answered already, changes nothing.
func TestC1_WHIPPublisherWhoVanishes(t *testing.T) {
	for _, created := range []bool{false, true} {
		t.Run(fmt.Sprint("created before ", created), func(t *testing.T) {
			store := &fullStore{}
			g := startGateway(t, func(c *Config) {
				store.Store, c.Store = c.Store, store
				c.WHIPCreate, c.Grace = true, time.Hour
			})
			if created {
				g.create("studio")
				other, _ := cameraPeer(t)
				store.full.Store(true)
				if _, err := g.svc.WHIP().Publish(g.ctx, "studio", whip.Publisher{UserID: "eve"}, gathered(t, other)); !errors.Is(err, whip.ErrUnavailable) {
					t.Errorf("a publication that the store does not take gives %v", err)
				}
				store.full.Store(false)
				must(t, other.GracefulClose())
			}
			g.publisherVanishes()
		})
	}
}

// fullStore takes no events while it is full.
type fullStore struct {
	resolverstore.Store
	full atomic.Bool
}

func (s *fullStore) ApplyEvents(ctx context.Context, k resolverstore.SessionKey, e []resolverstore.Event) (resolverstore.Applied, error) {
	if s.full.Load() {
		return resolverstore.Applied{}, resolverstore.ErrUnavailable
	}
	return s.Store.ApplyEvents(ctx, k, e)
}

// TestC1_WHIPPublisherOfABadName is refused before its offer is applied.
func TestC1_WHIPPublisherOfABadName(t *testing.T) {
	g := startGateway(t)
	g.create("studio")
	other, _ := cameraPeer(t)
	offer := gathered(t, other)
	for _, p := range []whip.Publisher{{}, {UserID: strings.Repeat("x", maxName+1)}, {UserID: "u", ParticipantID: "p\xff"}} {
		_, err := g.svc.WHIP().Publish(g.ctx, "studio", p, offer)
		var bad *whip.InvalidOfferError
		if !errors.As(err, &bad) {
			t.Errorf("the publisher %q gives %v", p, err)
		}
	}
	if s := g.svc.cfg.Pool.Stats(); s.Answered+s.Failed != 0 {
		t.Errorf("an offer was applied: %+v", s)
	}
	must(t, other.GracefulClose())
}

// publisherVanishes publishes into a session, streams, and closes the peer connection.
func (g *gateway) publisherVanishes() {
	g.t.Helper()
	t := g.t
	w := g.svc.WHIP()
	pc, track := cameraPeer(t)
	offer := gathered(t, pc)
	out, err := w.Publish(g.ctx, "studio", whip.Publisher{UserID: "bob"}, offer)
	must(t, err)
	must(t, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: out.AnswerSDP}))
	p := &stillPeer{every: 40 * time.Millisecond, stop: make(chan struct{})}
	p.show(keyFrame(t, "plain-640x360.ivf"))
	p.work.Go(func() { p.send(t, track) })
	r := g.open(&penstockv1.StreamTrackRequest{SessionId: "studio", Selector: byParticipant("bob", camera)})
	r.video()
	close(p.stop)
	p.work.Wait()
	must(t, pc.GracefulClose())
	wantEnded(t, r, penstockv1.TrackEndReason_TRACK_END_REASON_SESSION_EXPIRED)
	s, err := g.sessions.GetSession(g.ctx, &penstockv1.GetSessionRequest{SessionId: "studio"})
	must(t, err)
	if got := s.GetSession().GetEndReason(); got != penstockv1.SessionEndReason_SESSION_END_REASON_REMOTE_CLOSED {
		t.Errorf("the session ended by %v", got)
	}
	_, err = g.publishWHIP(g.whipEndpoint()+"studio", clips.AliceCamera())
	must(t, err)
}

func TestWHIPErrorsOfTheCaller(t *testing.T) {
	if err := whipError(fmt.Errorf("restarting: %w", rtcpool.ErrNoOffer)); !errors.Is(err, whip.ErrConflict) {
		t.Errorf("a restart before any offer gives %v", err)
	}
	g := startGateway(t, func(c *Config) { c.WHIPCreate = true })
	var bad *whip.InvalidOfferError
	_, err := g.svc.WHIP().Publish(g.ctx, "x", whip.Publisher{UserID: "u"}, "v=0\r\na=msid:\xff x\r\n")
	if !errors.As(err, &bad) || !strings.Contains(bad.Detail, "UTF-8") {
		t.Errorf("an offer that is not UTF-8 gives %v", err)
	}
}
