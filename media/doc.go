// Package media turns RTP packets into frames that a worker can use.
//
// A [Track] is one received media: packets go in by [Track.WriteRTP], are put into
// order, assembled into access units and, only while somebody consumes, decoded on a
// bounded [DecodePool], converted once per distinct format and fanned out to
// the [Consumer] rings. The source never blocks on a consumer.
//
// All C code is behind the small bindings in media/internal; no pointer of theirs outlives
// its owner, and every C allocation of ours is counted.
package media
