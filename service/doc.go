// Package service is the gateway's gRPC face: SessionService and TrackService of penstock.v1.
//
// It introduces the peer connections of rtcpool to the store of resolverstore, which do not know each other, and
// serves media's frames. [New] takes everything that a [Service] needs, [Service.NewServer] makes the gRPC server
// with the interceptor chain, and [Service.WHIP] is what the WHIP endpoint publishes into.
//
// Domain packages know no status codes: errors.go holds the one table that turns their errors into statuses.
package service
