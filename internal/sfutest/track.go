package sfutest

import (
	"crypto/rand"
	"fmt"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/pion/webrtc/v4"
	"google.golang.org/protobuf/proto"
)

// Participant is a publisher in the call.
type Participant struct {
	// ParticipantID is unique in the call. Required.
	ParticipantID string
	// UserID is the user behind it.
	UserID string
	// Name is shown to people.
	Name string
	// Prefix names it in msid stream ids of MSIDStream; empty is the ParticipantID.
	Prefix string
}

func (p Participant) message() *penstockv1.Participant {
	return &penstockv1.Participant{ParticipantId: p.ParticipantID, UserId: p.UserID, DisplayName: p.Name, TrackLookupPrefix: p.prefix()}
}

func (p Participant) prefix() string {
	if p.Prefix != "" {
		return p.Prefix
	}
	return p.ParticipantID
}

// MSID is what the SFU writes into a=msid (RFC 8830).
type MSID uint8

// The ways of writing it.
const (
	// MSIDStream names participant and source: "<prefix>:TRACK_TYPE_VIDEO".
	MSIDStream MSID = iota
	// MSIDTrackID is opaque; its track id is the one that is announced in the publication.
	MSIDTrackID
	// MSIDNone leaves it out.
	MSIDNone
)

// Track is something that a participant publishes. It is made by [SFU.NewTrack].
type Track struct {
	// Participant, Source and Clip are what it was made of.
	Participant Participant
	Source      penstockv1.Source
	Clip        clips.Clip

	publication *penstockv1.Publication
	pacer       *pacer
	sender      *webrtc.RTPSender // nil while it has no media; guarded by the SFU, as what follows
	form        form
}

// form is how offers tell of a track otherwise than pion does.
type form struct {
	inactive, stripped bool
	renamed            bool
	streamID, trackID  string
}

// edit brings the track's media description into its form.
func (t *Track) edit(m *section) {
	if t.form.renamed {
		m.setMSID(t.form.streamID, t.form.trackID)
	}
	if t.form.inactive {
		m.setDirection("inactive")
	}
	if t.form.stripped {
		m.setMSID("", "")
		m.withoutSources()
	}
}

// newTrack makes a track that writes its msid in the given way.
func newTrack(p Participant, source penstockv1.Source, clip clips.Clip, msid MSID) (*Track, error) {
	trackID := rand.Text()
	streamID := rand.Text()
	publication := &penstockv1.Publication{Participant: p.message(), Source: source}
	switch msid {
	case MSIDStream:
		streamID = p.prefix() + ":" + trackType(source)
	case MSIDTrackID:
		publication.TrackId = trackID
	}
	pacer, err := newPacer(clip, trackID, streamID)
	if err != nil {
		return nil, err
	}
	return &Track{Participant: p, Source: source, Clip: clip, publication: publication, pacer: pacer}, nil
}

// Packets counts the RTP packets sent.
func (t *Track) Packets() uint64 { return t.pacer.packets.Load() }

// String names it for messages.
func (t *Track) String() string {
	return fmt.Sprintf("the %v of %s", t.Source, t.Participant.ParticipantID)
}

// MSID returns the ids that pion gives it: what offers say unless it is renamed, or the SFU's MSID is MSIDNone.
func (t *Track) MSID() (streamID, trackID string) { return t.pacer.local.streamID, t.pacer.local.id }

// FirstTimestamp returns the RTP timestamp of the first packet ever sent; false before.
func (t *Track) FirstTimestamp() (timestamp uint32, ok bool) {
	_, first, started := t.pacer.state()
	return first, started
}

// NextTimestamp returns the RTP timestamp that the next unit will have: those of all packets so far are before it.
func (t *Track) NextTimestamp() uint32 {
	n, _, _ := t.pacer.state()
	return n.timestamp
}

// LastSequence returns the sequence number of the last packet.
func (t *Track) LastSequence() uint16 {
	n, _, _ := t.pacer.state()
	return n.sequence
}

// KeyFrameRequests counts the PLI and FIR received.
func (t *Track) KeyFrameRequests() uint64 { return t.pacer.keyRequests.Load() }

// Publication returns a copy of what is announced of it.
func (t *Track) Publication() *penstockv1.Publication {
	return proto.CloneOf(t.publication)
}

// trackType is the source in the words of Stream's SFU.
func trackType(s penstockv1.Source) string {
	switch s {
	case penstockv1.Source_SOURCE_MICROPHONE:
		return "TRACK_TYPE_AUDIO"
	case penstockv1.Source_SOURCE_CAMERA:
		return "TRACK_TYPE_VIDEO"
	case penstockv1.Source_SOURCE_SCREEN_SHARE:
		return "TRACK_TYPE_SCREEN_SHARE"
	case penstockv1.Source_SOURCE_SCREEN_SHARE_AUDIO:
		return "TRACK_TYPE_SCREEN_SHARE_AUDIO"
	default:
		return "TRACK_TYPE_UNSPECIFIED"
	}
}
