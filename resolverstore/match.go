package resolverstore

import "slices"

// This file is the pure core of resolution: facts in, pairs out. It keeps no state and reads no clock, so that every store
// decides alike.

// claim is a publication as the matcher sees it.
type claim struct {
	ref         PublicationRef
	participant Participant
	trackID     string
	mid         string
	// order grows with every new publication.
	order uint64
	// media is the id of the media it is joined with, if any.
	media string
	// weak: it was joined by elimination.
	weak bool
	// strict: its track ids were seen to be msid track ids, so that another one is other media.
	strict bool
}

// candidate is a media as the matcher sees it. Dead ones, and those of an older generation, are never passed in, except
// as the media of a claim that is joined already.
type candidate struct {
	Media
	// former is the publication that it was joined with last; zero if none.
	former PublicationRef
	// current: it is of the newest generation.
	current bool
	// held: it is from before its participant left; for now it is not handed out.
	held bool
	// revived: it is from before its participant left, and was handed out since nothing else came. What is newer replaces it.
	revived bool
	// stale: it is too old to be joined by elimination.
	stale bool
	// words are what its msid says, if it was read before.
	words Words
	read  bool
}

// rule is what made a pair.
type rule uint8

const (
	ruleExplicit rule = iota + 1
	ruleWords
	ruleParticipant
	ruleAnonymous
)

// weak reports whether the rule decides by elimination.
func (r rule) weak() bool { return r >= ruleParticipant }

// pair joins a publication and a media. superseded are older claims of the same user to the same media.
type pair struct {
	ref        PublicationRef
	media      string
	rule       rule
	superseded []PublicationRef
}

// directory finds participants by the names that an msid uses.
type directory map[string][]string

func newDirectory(participants []Participant) directory {
	d, ids := make(directory, len(participants)), make([]string, len(participants))
	for i, p := range participants {
		ids[i] = p.ID
		if name := p.msidName(); d[name] == nil {
			d[name] = ids[i : i+1 : i+1]
		} else {
			d[name] = append(d[name], p.ID)
		}
	}
	for i, p := range participants {
		if _, taken := d[p.ID]; !taken {
			d[p.ID] = ids[i : i+1 : i+1]
		}
	}
	return d
}

// msidName is the name by which an msid names the participant.
func (p Participant) msidName() string {
	if p.LookupPrefix != "" {
		return p.LookupPrefix
	}
	return p.ID
}

// matcher holds one decision's inputs, indexed.
type matcher struct {
	schemes []Scheme
	dir     directory
	claims  []claim
	media   []candidate

	words    []Words                  // of each media; zero when it has none
	byMID    map[string][]int         // these three hold only what open claims look for,
	byTrack  map[string][]int         // which is little in a call where nearly all is joined
	byOwner  map[PublicationRef][]int // nil entries are keys that are looked for
	holder   map[string]int           // media id -> the claim that is joined with it
	position map[string]int           // media id -> its index
	taken    map[string]bool
	done     map[PublicationRef]bool
}

func newMatcher(schemes []Scheme, participants []Participant, claims []claim, media []candidate) *matcher {
	m := &matcher{
		schemes: schemes, dir: newDirectory(participants), claims: claims, media: media,
		words: make([]Words, len(media)), byMID: map[string][]int{}, byTrack: map[string][]int{},
		byOwner: map[PublicationRef][]int{}, holder: make(map[string]int, len(claims)), position: make(map[string]int, len(media)),
		taken: map[string]bool{}, done: map[PublicationRef]bool{},
	}
	for i, c := range claims {
		if c.media != "" {
			m.holder[c.media] = i
		}
	}
	for i := range media {
		m.position[media[i].ID] = i
		if m.words[i] = media[i].words; !media[i].read {
			m.words[i] = readWords(schemes, media[i].StreamID, media[i].TrackID)
		}
	}
	for i := range claims {
		if c := &claims[i]; m.open(c) {
			m.byMID[c.mid], m.byTrack[c.trackID], m.byOwner[c.ref] = nil, nil, nil
		}
	}
	delete(m.byMID, "")
	delete(m.byTrack, "")
	for i := range media {
		m.index(i)
	}
	return m
}

// index enters media i under what open claims look for.
func (m *matcher) index(i int) {
	md := &m.media[i]
	if !md.current {
		return
	}
	add := func(index map[string][]int, key string) {
		if found, sought := index[key]; sought && !slices.Contains(found, i) {
			index[key] = append(found, i)
		}
	}
	add(m.byMID, md.MID)
	add(m.byTrack, md.TrackID)
	add(m.byTrack, m.words[i].TrackID)
	w := m.words[i]
	if w.Source != SourceUnknown {
		for _, p := range m.dir[w.Participant] {
			m.addOwner(PublicationRef{p, w.Source}, i)
		}
	}
	m.addOwner(md.former, i)
}

func (m *matcher) addOwner(ref PublicationRef, i int) {
	if found, sought := m.byOwner[ref]; sought && !slices.Contains(found, i) {
		m.byOwner[ref] = append(found, i)
	}
}

func readWords(schemes []Scheme, streamID, trackID string) Words {
	for _, s := range schemes {
		if w, ok := s(streamID, trackID); ok {
			return w
		}
	}
	return Words{}
}

// contradicted returns the claims whose joined media cannot be theirs, by what is known now.
func (m *matcher) contradicted() []PublicationRef {
	var out []PublicationRef
	for i := range m.claims {
		c := &m.claims[i]
		if c.media == "" {
			continue
		}
		if j, ok := m.position[c.media]; ok && m.contradicts(c, j) {
			out = append(out, c.ref)
		}
	}
	return out
}

// contradicts reports whether media j cannot be the claim's.
func (m *matcher) contradicts(c *claim, j int) bool {
	md, w := &m.media[j], m.words[j]
	if md.Kind != c.ref.Source.Kind() || c.mid != "" && md.MID != c.mid {
		return true
	}
	if c.strict && c.trackID != "" && md.TrackID != c.trackID && w.TrackID != c.trackID {
		return true
	}
	owners := m.dir[w.Participant]
	switch {
	case w.Participant == "":
		return false
	case len(owners) == 0:
		// Words that name somebody unknown speak against all who are known, unless signalling itself says otherwise.
		explicit := c.mid != "" || c.trackID != "" && (c.trackID == md.TrackID || c.trackID == w.TrackID)
		return !w.Opaque && !explicit
	}
	return !slices.Contains(owners, c.ref.ParticipantID) || w.Source != SourceUnknown && w.Source != c.ref.Source
}

// decide returns the pairs to join, none of which is joined yet: strong ones first.
func (m *matcher) decide() []pair {
	pairs := m.strong(ruleExplicit, func(c *claim) []int {
		return append(slices.Clone(m.byMID[c.mid]), m.byTrack[c.trackID]...) // no index holds the empty string
	})
	pairs = append(pairs, m.strong(ruleWords, func(c *claim) []int { return m.byOwner[c.ref] })...)
	return append(pairs, m.weak()...)
}

// strong pairs each open claim with the only media that a rule finds for it, unless two claim the same media.
func (m *matcher) strong(r rule, find func(*claim) []int) []pair {
	wanted := map[int][]int{} // media -> claims
	var order []int
	for i := range m.claims {
		c := &m.claims[i]
		if !m.open(c) {
			continue
		}
		if j, ok := m.only(c, find(c)); ok {
			if wanted[j] == nil {
				order = append(order, j)
			}
			wanted[j] = append(wanted[j], i)
		}
	}
	var pairs []pair
	for _, j := range order {
		// What two claim in earnest is for no other rule either.
		m.taken[m.media[j].ID] = true
		if p, ok := m.contest(j, wanted[j], r); ok {
			m.done[p.ref] = true
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// open reports whether a claim may get media: it has none, or an older generation's, or its media is inactive.
func (m *matcher) open(c *claim) bool {
	if m.done[c.ref] {
		return false
	}
	if c.media == "" || c.weak {
		return true
	}
	j, ok := m.position[c.media]
	return !ok || !m.media[j].current || !m.media[j].Active || m.media[j].revived
}

// waiting reports whether a claim has no media of the newest generation.
func (m *matcher) waiting(c *claim) bool {
	if m.done[c.ref] {
		return false
	}
	j, ok := m.position[c.media]
	return c.media == "" || !ok || !m.media[j].current
}

// only returns the one media of those found that the claim can have. Of several, the only one that is active and not from before a leave.
func (m *matcher) only(c *claim, found []int) (int, bool) {
	var fit, best []int
	for _, j := range found {
		md := &m.media[j]
		if slices.Contains(fit, j) || md.held || m.taken[md.ID] || m.contradicts(c, j) {
			continue
		}
		fit = append(fit, j)
		if md.Active && !md.revived {
			best = append(best, j)
		}
	}
	if len(fit) > 1 {
		fit = best
	}
	if len(fit) != 1 || m.media[fit[0]].ID == c.media {
		return 0, false
	}
	return fit[0], true
}

// contest decides who of the claims gets media j: the only one, or the newest if all are one user's same source.
func (m *matcher) contest(j int, claims []int, r rule) (pair, bool) {
	all := slices.Clone(claims)
	if h, held := m.holder[m.media[j].ID]; held && !m.claims[h].weak && !slices.Contains(all, h) {
		all = append(all, h)
	}
	best := &m.claims[all[0]]
	for _, i := range all[1:] {
		c := &m.claims[i]
		if !sameUserAndSource(best, c) {
			return pair{}, false
		}
		if c.order > best.order {
			best = c
		}
	}
	if best.media == m.media[j].ID {
		return pair{}, false
	}
	p := pair{ref: best.ref, media: m.media[j].ID, rule: r}
	for _, i := range all {
		if ref := m.claims[i].ref; ref != best.ref {
			p.superseded = append(p.superseded, ref)
			m.done[ref] = true
		}
	}
	return p, true
}

func sameUserAndSource(a, b *claim) bool {
	return a.ref.Source == b.ref.Source && a.participant.UserID != "" && a.participant.UserID == b.participant.UserID
}

// group is what the rules of elimination count: a participant's kind, or with an empty participant a kind of the whole call.
type group struct {
	participant string
	kind        Kind
}

// weak pairs by elimination: where a group has exactly one media unclaimed and one publication waiting.
func (m *matcher) weak() []pair {
	media, claims := map[group][]int{}, map[group][]int{}
	for j := range m.media {
		if g, ok := m.mediaGroup(j); ok {
			media[g] = append(media[g], j)
		}
	}
	for i := range m.claims {
		c := &m.claims[i]
		// A claim that knows its mid waits for that one.
		if c.mid != "" || !m.waiting(c) {
			continue
		}
		kind := c.ref.Source.Kind()
		claims[group{c.ref.ParticipantID, kind}] = append(claims[group{c.ref.ParticipantID, kind}], i)
		claims[group{"", kind}] = append(claims[group{"", kind}], i)
	}
	var pairs []pair
	for g, js := range media {
		if len(js) != 1 || len(claims[g]) != 1 || m.contradicts(&m.claims[claims[g][0]], js[0]) {
			continue
		}
		r := ruleParticipant
		if g.participant == "" {
			r = ruleAnonymous
		}
		pairs = append(pairs, pair{ref: m.claims[claims[g][0]].ref, media: m.media[js[0]].ID, rule: r})
	}
	// One publication may be the only one for named and for anonymous media at once: the named media goes first.
	slices.SortFunc(pairs, func(a, b pair) int { return int(a.rule) - int(b.rule) })
	return uniqueClaims(pairs)
}

func uniqueClaims(pairs []pair) []pair {
	seen := map[PublicationRef]bool{}
	return slices.DeleteFunc(pairs, func(p pair) bool {
		again := seen[p.ref]
		seen[p.ref] = true
		return again
	})
}

// mediaGroup returns the group in which media j may be joined by elimination. Media that had an owner before, or whose words
// name somebody who is not known, or that has no mid, is in none.
func (m *matcher) mediaGroup(j int) (group, bool) {
	md, w := &m.media[j], m.words[j]
	_, joined := m.holder[md.ID]
	if joined || !md.current || md.held || md.stale || m.taken[md.ID] || md.MID == "" || md.former != (PublicationRef{}) {
		return group{}, false
	}
	if w.Source != SourceUnknown {
		return group{}, false
	}
	switch owners := m.dir[w.Participant]; {
	case w.Participant == "", len(owners) == 0 && w.Opaque:
		return group{"", md.Kind}, true
	case len(owners) == 1:
		return group{owners[0], md.Kind}, true
	default:
		return group{}, false
	}
}
