package resolverstore

import (
	"strconv"
	"strings"
)

// All that the Redis store keeps is named here. Every key starts with keyPrefix, whose number is the version of this layout,
// and has one hash tag, so that a script stays in one slot. Every key has an expiry.
//
//	penstock:1:{s:<tenant>/<id>}   hash     one session: all of its state; see the fields below. SessionTTL, or EndedTTL once it
//	                                        has ended and its owner knows; written again by each change and by the owner's sweep.
//	penstock:1:{s:<tenant>/<id>}   channel  of pub/sub (sharded in a cluster): what each change of that hash was.
//	penstock:1:{i:<shard>:<tenant>} zset    ids of a tenant's sessions, all of score 0, so in the order of bytes. Never trusted:
//	                                        each entry is checked against its hash. SessionTTL, renewed by who adds and sweeps.
//	penstock:1:{o:<shard>:<incarnation>} zset  sessions that a pod owns, as indexEntry writes them, all of score 0. It tells others what
//	                                        to take over when the pod is gone. Never trusted; SessionTTL, renewed by who adds and sweeps.
//	penstock:1:{p:<incarnation>}   string   the lease of a pod: address and load (encodeLease). LeaseTTL, renewed by the heartbeat.
//	penstock:1:{pods}              zset     incarnations of the pods that have a lease, or had one and left sessions, all of score 0. Never
//	                                        trusted; SessionTTL, renewed by who looks.
//
// Tenants, ids and incarnations are escaped by escapeID, so that none holds a brace, a colon, a slash, a star or a newline.
//
// Fields of a session's hash, of which the first byte tells the kind, so that what follows may be any bytes:
//
//	v                       version: "<number>.<birth>.<writer's random>", changed by every change
//	f                       fence: "<epoch>.<owner>"
//	s                       the session's record
//	e                       what is sealed: not part of the record, so that it is told with no change but its own
//	c                       counters of the call: generation, order, revision, …
//	p<participant>          a participant
//	b<source><participant>  a publication; the source is one byte
//	m<media>                a media
//	t<track>                a track that has not ended, and what it joins
//	x<participant>          a tombstone: the participant left
//	d<number>               a media that was removed
//	r<number>               a track that ended
//	o<number>               a pair found by elimination, that has to stand alone for a while
//
// Values are in the form of wire.go, whose first byte is its version.
const (
	keyPrefix = "penstock:1:"

	fieldVersion     = "v"
	fieldFence       = "f"
	fieldRecord      = "s"
	fieldCounters    = "c"
	fieldSealed      = "e"
	fieldParticipant = 'p'
	fieldPublication = 'b'
	fieldMedia       = 'm'
	fieldTrack       = 't'
	fieldTombstone   = 'x'
	fieldDead        = 'd'
	fieldRemoval     = 'r'
	fieldProposal    = 'o'
)

// indexShards is how many slots the index of one tenant's sessions is spread over, and that of one pod's.
const indexShards = 16

// podsName names the index of pods.
const podsName = keyPrefix + "{pods}"

// sessionName names a session's hash, and its channel.
func sessionName(k SessionKey) string {
	return keyPrefix + "{s:" + escapeID(k.Tenant) + "/" + escapeID(k.ID) + "}"
}

// leaseName names a pod's lease.
func leaseName(incarnation string) string { return keyPrefix + "{p:" + escapeID(incarnation) + "}" }

// indexName names one shard of the index of a tenant's sessions.
func indexName(tenant string, shard int) string {
	return keyPrefix + "{i:" + strconv.Itoa(shard) + ":" + escapeID(tenant) + "}"
}

// ownedName names one shard of the index of a pod's sessions.
func ownedName(incarnation string, shard int) string {
	return keyPrefix + "{o:" + strconv.Itoa(shard) + ":" + escapeID(incarnation) + "}"
}

// indexEntry is how the index of a pod's sessions names one.
func indexEntry(k SessionKey) string { return escapeID(k.Tenant) + "/" + escapeID(k.ID) }

// parseIndexEntry reads what indexEntry wrote, and nothing else.
func parseIndexEntry(s string) (SessionKey, error) {
	tenant, id, ok := strings.Cut(s, "/")
	if !ok {
		return SessionKey{}, errWire
	}
	k := SessionKey{Tenant: unescapeID(tenant), ID: unescapeID(id)}
	if k.ID == "" || indexEntry(k) != s {
		return SessionKey{}, errWire
	}
	return k, nil
}

// indexShard returns the shard that an id is in (FNV-1a).
func indexShard(id string) int {
	h := uint32(2166136261)
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return int(h % indexShards)
}

// escapeID writes an id so that it can be part of any key or pattern: all bytes but letters, digits, "-", "_" and "." become
// "%" and two hexadecimal digits.
func escapeID(id string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(id) {
		c := id[i]
		if plain(c) {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

// unescapeID undoes escapeID. What escapeID never writes becomes anything.
func unescapeID(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				c = byte(v)
			}
			i += 2
		}
		b.WriteByte(c)
	}
	return b.String()
}

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}
