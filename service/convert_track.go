package service

import (
	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
)

// codecs are the contract's numbers of media's codecs. It is written nowhere but here.
var codecs = map[media.Codec]penstockv1.Codec{
	media.CodecOpus: penstockv1.Codec_CODEC_OPUS,
	media.CodecPCMU: penstockv1.Codec_CODEC_PCMU,
	media.CodecPCMA: penstockv1.Codec_CODEC_PCMA,
	media.CodecG722: penstockv1.Codec_CODEC_G722,
	media.CodecVP8:  penstockv1.Codec_CODEC_VP8,
	media.CodecVP9:  penstockv1.Codec_CODEC_VP9,
	media.CodecH264: penstockv1.Codec_CODEC_H264,
	media.CodecH265: penstockv1.Codec_CODEC_H265,
	media.CodecAV1:  penstockv1.Codec_CODEC_AV1,
}

// protoCodec returns the contract's number, which the store keeps too.
func protoCodec(c media.Codec) penstockv1.Codec { return codecs[c] }

// mediaCodec is the inverse of protoCodec.
func mediaCodec(c penstockv1.Codec) media.Codec {
	for m, p := range codecs {
		if p == c {
			return m
		}
	}
	return media.CodecUnknown
}

// protoTrack returns a track as the store knows it. Its kinds, states, sources and reasons have the contract's numbers.
func protoTrack(session string, t resolverstore.Track) *penstockv1.Track {
	out := &penstockv1.Track{
		TrackId: t.ID, SessionId: session, Kind: penstockv1.MediaKind(t.Kind), State: penstockv1.TrackState(t.State),
		EndReason: penstockv1.TrackEndReason(t.EndReason), Revision: t.Revision,
	}
	if p := t.Publication; p != nil {
		out.Publication = &penstockv1.Publication{
			Participant: &penstockv1.Participant{
				ParticipantId: p.Participant.ID, UserId: p.Participant.UserID,
				DisplayName: p.Participant.DisplayName, TrackLookupPrefix: p.Participant.LookupPrefix,
			},
			Source: penstockv1.Source(p.Source), TrackId: p.TrackID, Mid: p.MID, Muted: p.Muted,
		}
	}
	if m := t.Media; m != nil {
		out.Media = &penstockv1.Media{
			Mid: m.MID, StreamId: m.StreamID, TrackId: m.TrackID, Kind: penstockv1.MediaKind(m.Kind),
			Codec: penstockv1.Codec(m.Codec), Ssrc: m.SSRC, Generation: m.Generation,
		}
	}
	return out
}

// describe adds what only the process that receives the media knows.
func describe(t *penstockv1.Track, s media.TrackStats) {
	t.Width, t.Height = uint32(s.Width), uint32(s.Height)
	t.ConsumerCount = uint32(s.Consumers)
	if t.Media != nil && s.Codec.Codec != media.CodecUnknown {
		t.Media.Codec, t.Media.Ssrc = protoCodec(s.Codec.Codec), s.SSRC
	}
}

// trackSelector returns a request's selector for the store. The request has been validated.
func trackSelector(s *penstockv1.TrackSelector) resolverstore.Selector {
	switch v := s.GetSelector().(type) {
	case *penstockv1.TrackSelector_Participant:
		return resolverstore.Selector{
			ParticipantID: v.Participant.GetParticipantId(), Source: resolverstore.Source(v.Participant.GetSource()),
		}
	case *penstockv1.TrackSelector_User:
		return resolverstore.Selector{UserID: v.User.GetUserId(), Source: resolverstore.Source(v.User.GetSource())}
	default:
		return resolverstore.Selector{TrackID: s.GetTrackId()}
	}
}
