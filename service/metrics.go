package service

import (
	"context"
	"errors"
	"strings"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/metrics"
)

// meters is what the service counts and times as it happens. What is held or counted elsewhere is looked at by observe. Its zero value does nothing.
type meters struct {
	calls, errors, streamsEnded, sessionsEnded *metrics.Counter
	adopted, redirects, forwarded              *metrics.Counter

	call, resolve, open, firstFrame *metrics.Histogram
}

// newMeters takes the instruments that the service uses, and has the rest asked for.
func newMeters(s *Service) (meters, error) {
	set := s.cfg.Metrics
	return meters{
		calls: set.Counter("penstock_grpc_calls_total"), errors: set.Counter("penstock_errors_total"), streamsEnded: set.Counter("penstock_streams_ended_total"),
		sessionsEnded: set.Counter("penstock_sessions_ended_total"), adopted: set.Counter("penstock_sessions_adopted_total"),
		redirects: set.Counter("penstock_redirects_total"), forwarded: set.Counter("penstock_forwarded_calls_total"),
		call: set.Histogram("penstock_grpc_call_seconds"), resolve: set.Histogram("penstock_resolve_seconds"),
		open: set.Histogram("penstock_stream_open_seconds"), firstFrame: set.Histogram("penstock_stream_first_frame_seconds"),
	}, set.Register(s.observe)
}

// observe tells what is open here and what is counted elsewhere. It holds no lock for longer than it takes to look at one session.
func (s *Service) observe(o *metrics.Observer) {
	s.observeSessions(o)
	o.Observe("penstock_sessions_limit", float64(s.cfg.Limits.Sessions))
	o.Observe("penstock_streams", float64(s.streams.n.Load()))
	o.Observe("penstock_streams_limit", float64(s.cfg.Limits.Streams))
	o.Observe("penstock_resolve_waiting", float64(s.resolving.Load()))
	o.Observe("penstock_grpc_calls_open", float64(s.unaries.Load()), "unary")
	o.Observe("penstock_grpc_calls_open", float64(s.streaming.Load()), "stream")
	o.Flag("penstock_draining", s.Draining())
	st := s.Stats()
	o.Observe("penstock_sessions_taken_over_total", float64(st.TakenOver))
	o.Observe("penstock_sessions_deposed_total", float64(st.Deposed))
	o.Observe("penstock_sessions_handed_over_total", float64(st.HandedOver))
	o.Observe("penstock_sessions_drained_total", float64(st.Drained))
	for cause, n := range st.ForwardsRefused {
		o.Observe("penstock_forwards_refused_total", float64(n), cause)
	}
	o.Flag("penstock_degraded", st.Degraded)
	o.Observe("penstock_store_lost_total", float64(st.StoreLost))
	auth := s.AuthStats()
	for fault, n := range auth.Refused {
		o.Observe("penstock_credentials_refused_total", float64(n), fault)
	}
	for why, n := range auth.Unchecked {
		o.Observe("penstock_credentials_unchecked_total", float64(n), why)
	}
	o.Observe("penstock_calls_forbidden_total", float64(auth.Forbidden))
	o.Observe("penstock_credentials_expired_total", float64(auth.Expired))
	keys, _ := s.auth.Keys()
	o.Observe("penstock_token_keys", float64(keys))
	o.Observe("penstock_token_key_failures_total", float64(auth.KeyFailures))
	for name, n := range st.Refused {
		o.Observe("penstock_limit_refusals_total", float64(n), name)
	}
	o.Observe("penstock_unauthenticated_total", float64(st.Unauthenticated))
	o.Observe("penstock_panics_total", float64(st.Panics))
	pods := s.pods.Stats()
	o.Observe("penstock_pod_connections", float64(pods.Connections))
	o.Observe("penstock_forwarded_open", float64(pods.Open))
	o.Observe("penstock_forwarded_received_bytes_total", float64(pods.ReceivedBytes))
	o.Observe("penstock_forwarded_calls_total", float64(pods.Unary), "unary", "ok")
	o.Observe("penstock_forwarded_calls_total", float64(pods.UnaryFailed), "unary", "failed")
	o.Observe("penstock_forwarded_calls_total", float64(pods.Streams), "stream", "ok")
	o.Observe("penstock_forwarded_calls_total", float64(pods.StreamsFailed), "stream", "failed")
}

// sessionStates and the others are what the values of labels stand for.
func sessionStates() map[resolverstore.SessionState]string {
	return map[resolverstore.SessionState]string{
		resolverstore.SessionAwaitingOffer: "awaiting_offer", resolverstore.SessionConnecting: "connecting",
		resolverstore.SessionConnected: "connected", resolverstore.SessionDisconnected: "disconnected",
	}
}

func sourceNames() map[resolverstore.SourceKind]string {
	return map[resolverstore.SourceKind]string{
		resolverstore.SourceOffers: "offers", resolverstore.SourceLiveKit: "livekit", resolverstore.SourceWHEP: "whep", resolverstore.SourceWHIP: "whip",
	}
}

func trackStates() map[resolverstore.TrackState]string {
	return map[resolverstore.TrackState]string{
		resolverstore.TrackPending: "pending", resolverstore.TrackLive: "live", resolverstore.TrackPaused: "paused",
	}
}

// sessionKind is by what sessions are counted, and trackKind tracks.
type (
	sessionKind struct {
		state  resolverstore.SessionState
		source resolverstore.SourceKind
	}
	trackKind struct {
		kind  media.Kind
		codec media.Codec
		state resolverstore.TrackState
	}
)

// observeSessions tells how many sessions, tracks and conversations there are.
func (s *Service) observeSessions(o *metrics.Observer) {
	sessions, tracks, conversations := make(map[sessionKind]int), make(map[trackKind]int), 0
	for _, v := range s.all() {
		state := v.mirror.stateNow()
		sessions[sessionKind{state, v.source}]++
		if v.hub.count(tracks) {
			conversations++
		}
	}
	for state, name := range sessionStates() {
		for source, from := range sourceNames() {
			o.Observe("penstock_sessions", float64(sessions[sessionKind{state, source}]), name, from)
		}
	}
	for state, name := range trackStates() {
		for codec := media.CodecUnknown; codec <= media.CodecAV1; codec++ {
			for _, kind := range []media.Kind{media.KindAudio, media.KindVideo} {
				if codec == media.CodecUnknown || codec.Kind() == kind {
					o.Observe("penstock_tracks", float64(tracks[trackKind{kind, codec, state}]), kind.String(), strings.ToLower(codec.String()), name)
				}
			}
		}
	}
	o.Observe("penstock_conversations", float64(conversations))
}

// all returns the open sessions.
func (s *Service) all() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*session, 0, len(s.sessions))
	for _, v := range s.sessions {
		all = append(all, v)
	}
	return all
}

// stateNow returns the state that was told last.
func (m *mirror) stateNow() resolverstore.SessionState {
	m.mu.Lock()
	defer m.mu.Unlock()
	return max(m.state, resolverstore.SessionAwaitingOffer)
}

// count counts the session's tracks, and tells whether a conversation is open.
func (h *hub) count(tracks map[trackKind]int) (talks bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range h.demand.tracks {
		k := trackKind{kind: mediaKind(w.track.Kind), state: w.track.State}
		if w.track.Media != nil {
			k.codec = mediaCodec(penstockv1.Codec(w.track.Media.Codec))
		}
		tracks[k]++
	}
	return h.open != nil
}

// reasonName is a reason as the value of a label.
func reasonName(r penstockv1.ErrorReason) string {
	return strings.ToLower(strings.TrimPrefix(r.String(), reasonPrefix))
}

// streamEnded counts how a call of StreamTrack ended.
func (m *meters) streamEnded(err error) {
	reason := "ok"
	if err != nil {
		r := reasonOf(err)
		if r == penstockv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
			r, _ = verdict(err)
		}
		if reason = reasonName(r); r == penstockv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
			reason = metrics.Other // the transport's
		}
	}
	m.streamsEnded.Add(1, reason)
}

// sessionEnded counts why a session is no longer here.
func (m *meters) sessionEnded(r resolverstore.SessionEndReason, moved bool) {
	reason := map[resolverstore.SessionEndReason]string{
		resolverstore.SessionDeleted: "deleted", resolverstore.SessionSignallingLost: "signalling_lost", resolverstore.SessionMediaLost: "media_lost",
		resolverstore.SessionDrained: "drained", resolverstore.SessionRemoteClosed: "remote_closed",
	}[r]
	if moved {
		reason = "moved"
	}
	m.sessionsEnded.Add(1, reason)
}

// resolution notes that somebody waits for a track. The caller must call what it returns, with how that ended.
func (s *Service) resolution(ctx context.Context) (over func(error)) {
	begun := time.Now()
	s.resolving.Add(1)
	return func(err error) {
		s.resolving.Add(-1)
		s.meters.resolve.Record(ctx, time.Since(begun).Seconds(), resolveResult(err))
	}
}

// resolveResult is the label value of how a wait for a track ended.
func resolveResult(err error) string {
	switch {
	case err == nil:
		return "live"
	case errors.Is(err, errTrackNotLive), errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled), errors.Is(err, errMoved), errors.Is(err, errDraining):
		return "cancelled"
	case errors.Is(err, resolverstore.ErrParticipantLeft), errors.Is(err, resolverstore.ErrTrackNotFound),
		errors.Is(err, resolverstore.ErrSessionEnded), errors.Is(err, resolverstore.ErrSessionNotFound):
		return "gone"
	}
	return "failed"
}
