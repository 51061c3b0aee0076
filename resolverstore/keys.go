package resolverstore

import (
	"strconv"
	"strings"
)

// All that the Redis store keeps is named here. Every key starts with keyPrefix, whose number is the version of this layout,
// and has one hash tag, so that a script stays in one slot. Every key has an expiry.
//
//	penstock:1:{s:<tenant>/<id>}   hash     one session: all of its state; see the fields below. SessionTTL, or EndedTTL once it
//	                                        has ended; written again by each change and by the owner's sweep.
//	penstock:1:{s:<tenant>/<id>}   channel  of pub/sub (sharded in a cluster): what each change of that hash was.
//	penstock:1:{i:<shard>:<tenant>} zset    ids of a tenant's sessions, all of score 0, so in the order of bytes. Never trusted:
//	                                        each entry is checked against its hash. SessionTTL, renewed by who adds and sweeps.
//	penstock:1:{p:<incarnation>}   string   the lease of a pod: its address. LeaseTTL, renewed by the heartbeat.
//
// Tenants, ids and incarnations are escaped by escapeID, so that none holds a brace, a colon, a slash, a star or a newline.
//
// Fields of a session's hash, of which the first byte tells the kind, so that what follows may be any bytes:
//
//	v                       version: "<number>.<birth>.<writer's random>", changed by every change
//	f                       fence: "<epoch>.<owner>"
//	s                       the session's record
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
	fieldParticipant = 'p'
	fieldPublication = 'b'
	fieldMedia       = 'm'
	fieldTrack       = 't'
	fieldTombstone   = 'x'
	fieldDead        = 'd'
	fieldRemoval     = 'r'
	fieldProposal    = 'o'
)

// indexShards is how many slots the index of one tenant's sessions is spread over.
const indexShards = 16

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

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}
