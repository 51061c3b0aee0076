package resolverstore

import (
	"cmp"
	"crypto/rand"
	"encoding/base32"
	"slices"
	"time"
)

// call is what is known of one session's call: the state machine behind Memory. It is not safe for concurrent use, and gets
// the time from its caller. After any change the caller calls settle.
type call struct {
	cfg *Config

	participants map[string]*participant
	publications map[PublicationRef]*publication
	media        map[string]*medium
	tracks       map[string]*track // those that have not ended
	tombstones   tombstones
	dead         *deadMedia
	removals     *history[removal] // tracks that ended
	proposed     map[proposal]time.Time

	generation uint64 // the newest
	order      uint64 // of the last publication
	snapshot   uint64 // sequence of the last snapshot
	revision   uint64
	// floor is the revision up to which removals were forgotten.
	floor   uint64
	changed bool // something changed since the revision was counted
	// unmatched: something changed that may let publications and media be joined or split.
	unmatched bool
}

type participant struct {
	Participant
	sequence uint64 // of the last event applied to it
}

type publication struct {
	Publication
	order uint64
	track *track
	media *medium
	rule  rule // by which media was joined
	// strict: see claim.strict.
	strict bool
	since  time.Time // when it began to wait
}

type medium struct {
	Media
	pub    *publication
	track  *track // the track that carries it, also while its publication is away
	former PublicationRef
	since  time.Time // when it came or was let go
	arrive time.Time
	// orphanOf is the participant who left and whose it was. It is held until heldUntil; zero is until the participant is back.
	orphanOf  string
	heldUntil time.Time
	// words are what its msid says, once that was read.
	words Words
	read  bool
}

// track is a Track that has not ended.
type track struct {
	id   string
	kind Kind
	pub  *publication
	// media is set while the track is joined, and while it waits for its publication's return until lingerUntil.
	media       *medium
	lingerUntil time.Time
	lingerEnd   TrackEndReason
	former      Publication // the publication it waits for
	shown       Track       // as last told
}

// removal is a track that ended.
type removal struct {
	track    Track
	revision uint64
}

// proposal is a pair that elimination found.
type proposal struct {
	ref   PublicationRef
	media string
}

func newCall(cfg *Config, revision uint64) *call {
	return &call{
		cfg: cfg, participants: map[string]*participant{}, publications: map[PublicationRef]*publication{},
		media: map[string]*medium{}, tracks: map[string]*track{}, tombstones: tombstones{left: map[string]tombstone{}},
		dead: newDeadMedia(cfg.MaxMedia), removals: newHistory[removal](cfg.MaxTombstones),
		proposed: map[proposal]time.Time{}, revision: revision, floor: revision,
	}
}

// settle joins what can be joined now, forgets what is too old, and counts the revision.
func (c *call) settle(now time.Time) {
	c.expire(now)
	if c.unmatched {
		c.join(now)
		c.unmatched = false
	}
	for _, p := range c.publications {
		if p.track == nil {
			p.track = c.newTrack(p.Source.Kind())
			p.track.pub, p.since = p, now
		}
	}
	c.tell()
}

// tell compares each track with how it was last told, and counts a revision if one differs or ended.
func (c *call) tell() {
	next := c.revision + 1
	for _, t := range c.tracks {
		if !t.told() {
			t.shown, c.changed = t.view(), true
			t.shown.Revision = next
		}
	}
	if c.changed {
		c.revision, c.changed = next, false
	}
}

// told reports whether the track is as it was last told. It allocates nothing, as it looks at every track at each change. The
// state follows from publication and media.
func (t *track) told() bool {
	pub, media := t.shown.Publication, t.shown.Media
	switch {
	case t.shown.ID != t.id, (pub == nil) != (t.pub == nil), (media == nil) != (t.media == nil):
		return false
	}
	return (pub == nil || *pub == t.pub.Publication) && (media == nil || *media == t.media.Media)
}

// view returns the track as callers see it, sharing nothing with the call.
func (t *track) view() Track {
	v := Track{ID: t.id, Kind: t.kind, State: TrackPending}
	if t.pub != nil {
		pub := t.pub.Publication
		v.Publication = &pub
	}
	if t.media != nil {
		m := t.media.Media
		v.Media = &m
	}
	if v.Publication != nil && v.Media != nil {
		v.State = TrackLive
		if v.Publication.Muted || !v.Media.Active {
			v.State = TrackPaused
		}
	}
	return v
}

func (c *call) newTrack(k Kind) *track {
	t := &track{id: newTrackID(), kind: k}
	c.tracks[t.id] = t
	return t
}

// newTrackID returns an id that was never used: 100 random bits.
func newTrackID() string {
	var b [13]byte
	_, _ = rand.Read(b[:]) // never fails: see crypto/rand
	return "TR_" + base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])[:20]
}

// endTrack ends a track and lets go of what it joined.
func (c *call) endTrack(t *track, reason TrackEndReason, now time.Time) {
	if t.media != nil {
		c.release(t.media, now)
	}
	if t.pub != nil {
		t.pub.track, t.pub.media = nil, nil
	}
	delete(c.tracks, t.id)
	c.changed = true
	if t.shown.ID == "" {
		return // nobody was told of it
	}
	end := t.shown
	end.State, end.EndReason, end.Revision = TrackEnded, reason, c.revision+1
	if old, dropped := c.removals.add(removal{end, c.revision + 1}, now); dropped {
		c.floor = old.revision
	}
}

// release lets a media go: it is free, but remembers whose it was.
func (c *call) release(m *medium, now time.Time) {
	if m.pub != nil {
		m.former = m.pub.ref()
		m.pub.media = nil
	}
	if m.track != nil {
		m.track.media = nil
	}
	m.pub, m.track, m.since = nil, nil, now
	c.unmatched = true
}

// linger takes the publication from a joined track and lets the track wait for its return.
func (c *call) linger(p *publication, reason TrackEndReason, now time.Time) {
	t := p.track
	if p.media == nil {
		if t != nil {
			c.endTrack(t, reason, now)
		}
		return
	}
	p.media.former, p.media.pub = p.ref(), nil
	t.former, t.pub, t.lingerEnd, t.lingerUntil = p.Publication, nil, reason, now.Add(c.cfg.RepublishTTL)
	p.track, p.media = nil, nil
}

func (p *publication) ref() PublicationRef {
	return PublicationRef{ParticipantID: p.Participant.ID, Source: p.Source}
}

// byOrder returns the publications, oldest first.
func (c *call) byOrder() []*publication {
	out := make([]*publication, 0, len(c.publications))
	for _, p := range c.publications {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *publication) int { return cmp.Compare(a.order, b.order) })
	return out
}

// end ends every track.
func (c *call) end(reason TrackEndReason, now time.Time) {
	for _, t := range c.sortedTracks() {
		c.endTrack(t, reason, now)
	}
	clear(c.participants)
	clear(c.publications)
	clear(c.media)
	clear(c.proposed)
	c.tombstones = tombstones{left: map[string]tombstone{}}
	c.tell()
}

// sortedTracks returns the tracks in the order of their ids.
func (c *call) sortedTracks() []*track {
	out := make([]*track, 0, len(c.tracks))
	for _, t := range c.tracks {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b *track) int { return cmp.Compare(a.id, b.id) })
	return out
}
