package rtcpool

import (
	"testing"

	"github.com/penstock-media/penstock/media"
)

func TestMediaArrives(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(vp8, "cam", "alice:TRACK_TYPE_VIDEO")
	f.add(opus, "mic", "alice:TRACK_TYPE_AUDIO")
	f.negotiate(s, 0)

	cam, mic := r.flowing(t, "cam"), r.flowing(t, "mic")
	if cam.Codec != media.CodecVP8 || cam.Kind != media.KindVideo || cam.StreamID != "alice:TRACK_TYPE_VIDEO" || !cam.Active {
		t.Errorf("camera: %+v", cam)
	}
	if mic.Codec != media.CodecOpus || mic.Kind != media.KindAudio || mic.Generation != 1 {
		t.Errorf("microphone: %+v", mic)
	}
	morePackets(t, cam.Track, 20)
	morePackets(t, mic.Track, 20)
}
