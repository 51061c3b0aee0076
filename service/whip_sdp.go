package service

import (
	"strings"

	"github.com/penstock-media/penstock/resolverstore"
)

// describedMedia is a media description of an offer, and the source it stands for.
type describedMedia struct {
	source resolverstore.Source
	mid    string
}

// publishedMedia returns the media that an offer sends, by kind and order: the first video is the camera, the second
// the screen, and so with audio. Further ones stand for nothing. What is wrong with the offer is for the pool to find.
func publishedMedia(offer string) []describedMedia {
	video := []resolverstore.Source{resolverstore.Camera, resolverstore.ScreenShare}
	audio := []resolverstore.Source{resolverstore.Microphone, resolverstore.ScreenShareAudio}
	var out []describedMedia
	for i, section := range strings.Split("\n"+offer, "\nm=") {
		kind, _, _ := strings.Cut(section, " ")
		left := &audio
		if kind == "video" {
			left = &video
		} else if kind != "audio" {
			continue
		}
		mid, sends := readSection(section)
		if i == 0 || !sends || len(*left) == 0 {
			continue
		}
		out = append(out, describedMedia{source: (*left)[0], mid: mid})
		*left = (*left)[1:]
	}
	return out
}

// readSection returns a media description's mid (RFC 9143), and whether its direction lets the offerer send (RFC 8866
// section 6.7).
func readSection(section string) (mid string, sends bool) {
	sends = true
	for line := range strings.SplitSeq(section, "\n") {
		line = strings.TrimRight(line, " \r")
		if v, ok := strings.CutPrefix(line, "a=mid:"); ok && len(v) <= maxName {
			mid = v
		}
		if line == "a=recvonly" || line == "a=inactive" {
			sends = false
		}
	}
	return mid, sends
}
