package resolverstore

import "strings"

// Words are what an msid (RFC 8830) says of its media.
type Words struct {
	// Participant is the lookup prefix or the id of the publisher.
	Participant string
	// Source is what it is; SourceUnknown when the msid does not tell.
	Source Source
	// TrackID is the published track's id where the msid holds one besides its own track id.
	TrackID string
	// Opaque marks words that may be no words at all, but a random id. They name a participant only if there is one of that name.
	Opaque bool
}

// Scheme reads an msid's words. It returns false for an msid that is not of its kind. It gets bytes from peers.
type Scheme func(streamID, trackID string) (Words, bool)

// sourceForeign is a source that a scheme names but that is none of ours. It never matches.
const sourceForeign Source = 255

// DefaultSchemes returns the schemes in the order of their strictness: Stream, LiveKit, plain.
func DefaultSchemes() []Scheme { return []Scheme{StreamScheme, LiveKitScheme, PlainScheme} }

// StreamScheme reads the msid of Stream's SFU: the stream id is `<prefix>:TRACK_TYPE_<source>`.
func StreamScheme(streamID, _ string) (Words, bool) {
	prefix, kind, ok := cutLast(streamID, ":TRACK_TYPE_")
	if !ok || prefix == "" {
		return Words{}, false
	}
	return Words{Participant: prefix, Source: streamSource(kind)}, true
}

func streamSource(word string) Source {
	switch word {
	case "VIDEO":
		return Camera
	case "AUDIO":
		return Microphone
	case "SCREEN_SHARE":
		return ScreenShare
	case "SCREEN_SHARE_AUDIO":
		return ScreenShareAudio
	default:
		return sourceForeign
	}
}

// LiveKitScheme reads the msid of LiveKit's SFU: the stream id is the participant's sid ("PA_…"), possibly followed by "|" and
// the track's sid.
func LiveKitScheme(streamID, _ string) (Words, bool) {
	if !strings.HasPrefix(streamID, "PA_") {
		return Words{}, false
	}
	participant, track, _ := strings.Cut(streamID, "|")
	return Words{Participant: participant, TrackID: track}, true
}

// PlainScheme takes the whole stream id for the participant.
func PlainScheme(streamID, _ string) (Words, bool) {
	if streamID == "" || streamID == "-" {
		return Words{}, false
	}
	return Words{Participant: streamID, Opaque: true}, true
}

// cutLast is strings.Cut at the last separator.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
