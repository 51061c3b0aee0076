package service

import (
	"cmp"
	"slices"
	"strings"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
)

// LiveSession is what an operator is shown of an open session of this process. Ids are those that callers and peers gave: they must be escaped.
type LiveSession struct {
	Tenant, ID, State, Source string
	Generation                uint64
	Signalling                bool // a conversation is open
	Tracks                    []LiveTrack
	MoreTracks                int // that are not among them
}

// LiveTrack is one track of it, and what is received for it.
type LiveTrack struct {
	ID, Participant, Source, State string
	Codec                          string // empty before the first packet
	Media                          media.TrackStats
}

// Live returns the open sessions in the order of their ids, no more than most with no more than mostTracks tracks each, and how many sessions there are.
func (s *Service) Live(most, mostTracks int) (sessions []LiveSession, all int) {
	open := s.all()
	slices.SortFunc(open, func(a, b *session) int {
		return cmp.Or(strings.Compare(a.key.Tenant, b.key.Tenant), strings.Compare(a.key.ID, b.key.ID))
	})
	for _, v := range open[:min(most, len(open))] {
		sessions = append(sessions, v.live(mostTracks))
	}
	return sessions, len(open)
}

// live returns what is shown of a session.
func (v *session) live(mostTracks int) LiveSession {
	out := LiveSession{
		Tenant: v.key.Tenant, ID: v.key.ID, State: sessionStates()[v.mirror.stateNow()], Source: sourceNames()[v.source],
		Signalling: v.hub.listening(),
	}
	rec := resolverstore.Session{}
	v.mirror.overlay(&rec)
	out.Generation = rec.Generation
	tracks := v.hub.knownTracks()
	slices.SortFunc(tracks, func(a, b resolverstore.Track) int { return strings.Compare(a.ID, b.ID) })
	out.MoreTracks = max(0, len(tracks)-mostTracks)
	for _, t := range tracks[:len(tracks)-out.MoreTracks] {
		out.Tracks = append(out.Tracks, v.liveTrack(t))
	}
	return out
}

// liveTrack returns what is shown of a track.
func (v *session) liveTrack(t resolverstore.Track) LiveTrack {
	out := LiveTrack{ID: t.ID, State: trackStates()[t.State]}
	if p := t.Publication; p != nil {
		out.Participant = p.Participant.ID
		out.Source = strings.ToLower(strings.TrimPrefix(penstockv1.Source(p.Source).String(), "SOURCE_"))
	}
	if m, ok := v.media(t); ok {
		out.Media = m.Stats()
		if codec := out.Media.Codec.Codec; codec != media.CodecUnknown {
			out.Codec = codec.String()
		}
	}
	return out
}

// knownTracks returns the tracks that the hub knows.
func (h *hub) knownTracks() []resolverstore.Track {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]resolverstore.Track, 0, len(h.demand.tracks))
	for _, w := range h.demand.tracks {
		out = append(out, w.track)
	}
	return out
}
