package resolverstore

import "maps"

// clone returns a copy of the call that shares nothing that changes: a draft, which takes the call's place once it is stored.
func (c *call) clone() *call {
	n := *c
	n.dead, n.removals = c.dead.clone(), c.removals.clone()
	n.tombstones = tombstones{left: maps.Clone(c.tombstones.left)}
	n.proposed = maps.Clone(c.proposed)
	n.participants = cloneMap(c.participants)
	n.publications, n.media, n.tracks = cloneMap(c.publications), cloneMap(c.media), cloneMap(c.tracks)
	for _, p := range n.publications {
		p.track, p.media = nil, nil
	}
	for _, m := range n.media {
		m.pub, m.track = nil, nil
	}
	for _, t := range n.tracks {
		ref, media := t.joins()
		t.pub, t.media = nil, nil
		n.link(t, ref, media)
	}
	return &n
}

// cloneMap copies a map and what it points at.
func cloneMap[K comparable, V any](in map[K]*V) map[K]*V {
	out, room := make(map[K]*V, len(in)), make([]V, 0, len(in))
	for k, v := range in {
		room = append(room, *v)
		out[k] = &room[len(room)-1]
	}
	return out
}

// joins names what the track points at.
func (t *track) joins() (ref PublicationRef, media string) {
	if t.pub != nil {
		ref = t.pub.ref()
	}
	if t.media != nil {
		media = t.media.ID
	}
	return ref, media
}

// link lets a track, a publication and a media that are given by name point at each other. It reports false if one is unknown.
func (c *call) link(t *track, ref PublicationRef, media string) bool {
	if ref != (PublicationRef{}) {
		if t.pub = c.publications[ref]; t.pub == nil {
			return false
		}
		t.pub.track = t
	}
	if media == "" {
		return true
	}
	if t.media = c.media[media]; t.media == nil {
		return false
	}
	t.media.track, t.media.pub = t, t.pub
	if t.pub != nil {
		t.pub.media = t.media
	}
	return true
}

// unlink takes back what link did.
func (t *track) unlink() {
	if p := t.pub; p != nil && p.track == t {
		p.track, p.media = nil, nil
	}
	if m := t.media; m != nil && m.track == t {
		m.track, m.pub = nil, nil
	}
	t.pub, t.media = nil, nil
}
