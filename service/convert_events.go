package service

import (
	"unicode/utf8"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
)

// callEvents returns the events that can be used, the index in the request of each, and those that cannot be used. An
// event that is unknown or out of bounds is never an error: it must not keep the others from being applied.
func callEvents(in []*penstockv1.CallEvent) (events []resolverstore.Event, index []int, ignored []*penstockv1.IgnoredEvent) {
	for i, e := range in {
		event, reason := callEvent(e)
		if reason != "" {
			ignored = append(ignored, &penstockv1.IgnoredEvent{Index: uint32(i), Reason: reason})
			continue
		}
		events = append(events, event)
		index = append(index, i)
	}
	return events, index, ignored
}

// callEvent returns one event, or why it cannot be used.
func callEvent(in *penstockv1.CallEvent) (out resolverstore.Event, reason string) {
	out.Sequence = in.GetSequence()
	switch e := in.GetEvent().(type) {
	case *penstockv1.CallEvent_TrackPublished:
		p, reason := publication(e.TrackPublished.GetPublication())
		out.Published = &p
		return out, reason
	case *penstockv1.CallEvent_TrackUnpublished:
		out.Unpublished, reason = reference(e.TrackUnpublished)
	case *penstockv1.CallEvent_TrackMuted:
		out.Muted, reason = reference(e.TrackMuted)
	case *penstockv1.CallEvent_TrackUnmuted:
		out.Unmuted, reason = reference(e.TrackUnmuted)
	case *penstockv1.CallEvent_ParticipantJoined:
		p, reason := participant(e.ParticipantJoined.GetParticipant())
		out.Joined = &p
		return out, reason
	case *penstockv1.CallEvent_ParticipantUpdated:
		p, reason := participant(e.ParticipantUpdated.GetParticipant())
		out.Updated = &p
		return out, reason
	case *penstockv1.CallEvent_ParticipantLeft:
		out.Left = e.ParticipantLeft.GetParticipantId()
		reason = badName("participant_id", out.Left)
	case *penstockv1.CallEvent_Snapshot:
		out.Snapshot, reason = snapshot(e.Snapshot)
	default:
		reason = "the event is empty, or of a kind that this gateway does not know"
	}
	return out, reason
}

// trackEvent is what the events about a published track have in common.
type trackEvent interface {
	GetParticipantId() string
	GetSource() penstockv1.Source
}

// reference returns which publication an event is about, or why that cannot be told.
func reference(e trackEvent) (*resolverstore.PublicationRef, string) {
	if reason := badName("participant_id", e.GetParticipantId()); reason != "" {
		return nil, reason
	}
	s, reason := callSource(e.GetSource())
	return &resolverstore.PublicationRef{ParticipantID: e.GetParticipantId(), Source: s}, reason
}

// callSource returns a source, or that it is not known.
func callSource(s penstockv1.Source) (resolverstore.Source, string) {
	if _, known := penstockv1.Source_name[int32(s)]; !known || s == penstockv1.Source_SOURCE_UNSPECIFIED {
		return resolverstore.SourceUnknown, "the source is not known to this gateway"
	}
	return resolverstore.Source(s), ""
}

// participant returns a participant, or why it cannot be used.
func participant(p *penstockv1.Participant) (resolverstore.Participant, string) {
	out := resolverstore.Participant{
		ID: p.GetParticipantId(), UserID: p.GetUserId(), DisplayName: p.GetDisplayName(), LookupPrefix: p.GetTrackLookupPrefix(),
	}
	if reason := badName("participant_id", out.ID); reason != "" {
		return out, reason
	}
	return out, tooLong(out.UserID, out.DisplayName, out.LookupPrefix)
}

// publication returns a publication, or why it cannot be used.
func publication(p *penstockv1.Publication) (resolverstore.Publication, string) {
	who, reason := participant(p.GetParticipant())
	if reason != "" {
		return resolverstore.Publication{}, reason
	}
	s, reason := callSource(p.GetSource())
	out := resolverstore.Publication{Participant: who, Source: s, TrackID: p.GetTrackId(), MID: p.GetMid(), Muted: p.GetMuted()}
	if reason != "" {
		return out, reason
	}
	return out, tooLong(out.TrackID, out.MID)
}

// snapshot returns all that is in the call. One entry that cannot be used spoils the snapshot: applied without it,
// what the entry names would be taken for gone.
func snapshot(in *penstockv1.CallSnapshot) (*resolverstore.Snapshot, string) {
	out := &resolverstore.Snapshot{}
	for _, p := range in.GetParticipants() {
		who, reason := participant(p)
		if reason != "" {
			return nil, "a participant of the snapshot: " + reason
		}
		out.Participants = append(out.Participants, who)
	}
	for _, p := range in.GetPublications() {
		if _, unknown := callSource(p.GetSource()); unknown != "" {
			continue // No selector can name it, so that nothing known is lost.
		}
		pub, reason := publication(p)
		if reason != "" {
			return nil, "a publication of the snapshot: " + reason
		}
		out.Publications = append(out.Publications, pub)
	}
	return out, ""
}

// badName says what is wrong with an id that is needed.
func badName(field, v string) string {
	if v == "" {
		return field + " is empty"
	}
	return tooLong(v)
}

// tooLong says that one of the texts is out of bounds.
func tooLong(texts ...string) string {
	for _, v := range texts {
		if len(v) > maxName || !utf8.ValidString(v) {
			return "an id or name is longer than 512 bytes, or not UTF-8"
		}
	}
	return ""
}
