package service

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// The bounds of requests, as the contract documents them.
const (
	maxSessionID  = 128 // characters
	maxLabels     = 32
	maxLabelKey   = 63  // bytes
	maxLabelValue = 255 // bytes
	maxPage       = 1000
	defaultPage   = 100
	maxSDP        = 1 << 20 // bytes
	maxEvents     = 1000
	maxName       = 512 // bytes of participant ids, user ids and names
	maxICEServers = 16
	maxICEURLs    = 8
	maxICEURL     = 2048 // bytes
	maxCandidate  = 4096 // bytes
	minGrace      = time.Second
	maxGrace      = time.Hour
)

// faults collects what is wrong with a request.
type faults []fieldFault

// add notes a wrong field.
func (f *faults) add(field, format string, args ...any) {
	*f = append(*f, fieldFault{field, fmt.Sprintf(format, args...)})
}

// err returns nil if nothing is wrong.
func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return &failure{reason: penstockv1.ErrorReason_ERROR_REASON_INVALID_FIELD, fields: f}
}

// validate checks what a request says by itself, whatever the gateway's state. Requests of other services are not
// looked at.
func validate(req any) error {
	var f faults
	switch r := req.(type) {
	case *penstockv1.CreateSessionRequest:
		f.createSession(r)
	case *penstockv1.GetSessionRequest:
		f.session(r.GetSessionId())
	case *penstockv1.ListSessionsRequest:
		f.page(r.GetPageSize())
		f.labels(r.GetLabels())
	case *penstockv1.DeleteSessionRequest:
		f.session(r.GetSessionId())
	case *penstockv1.NegotiateRequest:
		f.session(r.GetSessionId())
		f.sdp(r.GetSdp())
	case *penstockv1.AddIceCandidateRequest:
		f.session(r.GetSessionId())
		f.candidate(r.GetCandidate())
	case *penstockv1.UpdateIceServersRequest:
		f.session(r.GetSessionId())
		f.iceServers(r.GetIceServers())
	case *penstockv1.ReportEventsRequest:
		f.session(r.GetSessionId())
		f.events(len(r.GetEvents()))
	case *penstockv1.ResolveTrackRequest:
		f.session(r.GetSessionId())
		f.selector(r.GetSelector())
	case *penstockv1.ListTracksRequest:
		f.session(r.GetSessionId())
		f.page(r.GetPageSize())
	case *penstockv1.WatchTracksRequest:
		f.session(r.GetSessionId())
	case *penstockv1.StreamTrackRequest:
		f.streamTrack(r)
	case *penstockv1.GetFrameRequest:
		f.session(r.GetSessionId())
		f.selector(r.GetSelector())
		if r.GetFormat().GetMaxFps() != 0 {
			f.add("format.max_fps", "must be 0: one picture has no rate")
		}
	}
	return f.err()
}

// events checks how many there are; each by itself is ignored if it cannot be used.
func (f *faults) events(n int) {
	if n > maxEvents {
		f.add("events", "has %d entries; at most %d go into one request", n, maxEvents)
	}
}

// session checks an id that names a session.
func (f *faults) session(id string) {
	if id == "" {
		f.add("session_id", "is empty; name a session")
		return
	}
	f.sessionID(id)
}

// sessionID checks the form of an id.
func (f *faults) sessionID(id string) {
	if len(id) > maxSessionID {
		f.add("session_id", "has %d characters; at most %d are allowed", len(id), maxSessionID)
		return
	}
	if strings.IndexFunc(id, func(r rune) bool { return !idCharacter(r) }) >= 0 {
		f.add("session_id", "may hold only the characters A-Z a-z 0-9 . _ ~ -")
	}
}

// idCharacter tells the characters that need no escaping in a URL (RFC 3986 section 2.3).
func idCharacter(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._~-", r)
}

// createSession checks all but whether the source is implemented.
func (f *faults) createSession(r *penstockv1.CreateSessionRequest) {
	if id := r.GetSessionId(); id != "" {
		f.sessionID(id)
	}
	f.labels(r.GetLabels())
	f.grace(r.GetGrace())
	f.iceServers(r.GetIceServers())
}

// iceServers checks a list of STUN and TURN servers.
func (f *faults) iceServers(servers []*penstockv1.IceServer) {
	if n := len(servers); n > maxICEServers {
		f.add("ice_servers", "has %d entries; at most %d are allowed", n, maxICEServers)
		return
	}
	for i, s := range servers {
		f.iceServer(fmt.Sprintf("ice_servers[%d]", i), s)
	}
}

// grace checks an optional duration.
func (f *faults) grace(d *durationpb.Duration) {
	if d == nil {
		return
	}
	if err := d.CheckValid(); err != nil || d.AsDuration() < minGrace || d.AsDuration() > maxGrace {
		f.add("grace", "must be between %v and %v; leave it out for the server's default", minGrace, maxGrace)
	}
}

// labels checks the caller's notes.
func (f *faults) labels(labels map[string]string) {
	if n := len(labels); n > maxLabels {
		f.add("labels", "has %d entries; at most %d are allowed", n, maxLabels)
		return
	}
	for k, v := range labels {
		if k == "" || len(k) > maxLabelKey {
			f.add("labels", "has a key of %d bytes; keys have 1 to %d", len(k), maxLabelKey)
		}
		if len(v) > maxLabelValue {
			f.add("labels", "has a value of %d bytes; values have at most %d", len(v), maxLabelValue)
		}
	}
}

// iceServer checks the URIs (RFC 7064, RFC 7065). Their text is never repeated: it may hold credentials.
func (f *faults) iceServer(field string, s *penstockv1.IceServer) {
	if n := len(s.GetUrls()); n == 0 || n > maxICEURLs {
		f.add(field+".urls", "has %d entries; 1 to %d are allowed", n, maxICEURLs)
		return
	}
	for i, u := range s.GetUrls() {
		name := fmt.Sprintf("%s.urls[%d]", field, i)
		scheme, rest, ok := strings.Cut(u, ":")
		switch {
		case len(u) > maxICEURL:
			f.add(name, "has %d bytes; at most %d are allowed", len(u), maxICEURL)
		case !ok || rest == "" || !iceScheme(scheme):
			f.add(name, "must be a stun:, stuns:, turn: or turns: URI with a host")
		case strings.HasPrefix(scheme, "turn") && (s.GetUsername() == "" || s.GetCredential() == ""):
			f.add(field, "names a TURN server, which needs username and credential")
		}
	}
}

// iceScheme tells the URI schemes of ICE servers.
func iceScheme(s string) bool {
	return s == "stun" || s == "stuns" || s == "turn" || s == "turns"
}

// page checks a page size.
func (f *faults) page(size uint32) {
	if size > maxPage {
		f.add("page_size", "is %d; at most %d are allowed, and 0 is %d", size, maxPage, defaultPage)
	}
}

// sdp checks the size of an offer; what it says is the pool's to judge.
func (f *faults) sdp(s string) {
	switch {
	case s == "":
		f.add("sdp", "is empty; give the SFU's offer")
	case len(s) > maxSDP:
		f.add("sdp", "has %d bytes; at most %d are allowed", len(s), maxSDP)
	}
}

// candidate checks that there is one of sane size. A malformed one is ignored later, not refused.
func (f *faults) candidate(c *penstockv1.IceCandidate) {
	switch {
	case c == nil:
		f.add("candidate", "is missing; for end-of-candidates set it, with an empty candidate in it")
	case len(c.GetCandidate()) > maxCandidate:
		f.add("candidate.candidate", "has %d bytes; at most %d are allowed", len(c.GetCandidate()), maxCandidate)
	case c.GetSdpMlineIndex() > 1<<16-1:
		f.add("candidate.sdp_mline_index", "must be below 65536")
	}
}

// selector checks that exactly one track is named.
func (f *faults) selector(s *penstockv1.TrackSelector) {
	switch v := s.GetSelector().(type) {
	case *penstockv1.TrackSelector_TrackId:
		f.name("selector.track_id", v.TrackId)
	case *penstockv1.TrackSelector_Participant:
		f.name("selector.participant.participant_id", v.Participant.GetParticipantId())
		f.source("selector.participant.source", v.Participant.GetSource())
	case *penstockv1.TrackSelector_User:
		f.name("selector.user.user_id", v.User.GetUserId())
		f.source("selector.user.source", v.User.GetSource())
	default:
		f.add("selector", "names no track; set track_id, participant or user")
	}
}

// name checks an id that must not be empty.
func (f *faults) name(field, v string) {
	if v == "" || len(v) > maxName || !utf8.ValidString(v) {
		f.add(field, "must have 1 to %d bytes of UTF-8", maxName)
	}
}

// source checks that a source is known.
func (f *faults) source(field string, s penstockv1.Source) {
	if _, known := penstockv1.Source_name[int32(s)]; !known || s == penstockv1.Source_SOURCE_UNSPECIFIED {
		f.add(field, "is not known; use SOURCE_CAMERA, SOURCE_MICROPHONE, SOURCE_SCREEN_SHARE or SOURCE_SCREEN_SHARE_AUDIO")
	}
}

// streamTrack checks a stream's request, but for its format.
func (f *faults) streamTrack(r *penstockv1.StreamTrackRequest) {
	f.session(r.GetSessionId())
	f.selector(r.GetSelector())
	switch at := r.GetResumePresentationTimeNs(); {
	case at < 0:
		f.add("resume_presentation_time_ns", "is below 0")
	case r.GetResumeToken() == "" && (at != 0 || r.GetResumeSequence() != 0):
		f.add("resume_token", "is missing; resume_presentation_time_ns and resume_sequence mean nothing without it")
	}
	p := r.GetPolicy()
	if p.GetMaxQueueMs() > 10000 {
		f.add("policy.max_queue_ms", "is %d; at most 10000 are allowed", p.GetMaxQueueMs())
	}
	if p.GetReplayMs() > 5000 {
		f.add("policy.replay_ms", "is %d; at most 5000 are allowed", p.GetReplayMs())
	}
	if _, known := penstockv1.OverflowAction_name[int32(p.GetOverflow())]; !known {
		f.add("policy.overflow", "is not known; use OVERFLOW_ACTION_DROP_OLDEST or OVERFLOW_ACTION_DISCONNECT")
	}
}
