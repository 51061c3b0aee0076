package sfutest_test

import (
	"testing"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/pion/rtcp"
)

// A receiver may ask for one packet many times at once: each is answered out of the same memory.
func TestSamePacketAskedForManyTimes(t *testing.T) {
	r := newReceiver(t)
	sfu := newSFU(t, r, sfutest.MSIDStream)
	if err := sfu.Publish(testContext(t), newTrack(t, sfu, bob(), screen, clips.BobScreen())); err != nil {
		t.Fatal(err)
	}
	track := r.next(t)
	seq := read(t, track, 1)[0].SequenceNumber
	nack := make([]rtcp.Packet, 8)
	for i := range nack {
		nack[i] = &rtcp.TransportLayerNack{MediaSSRC: uint32(track.SSRC()), Nacks: []rtcp.NackPair{{PacketID: seq, LostPackets: 0xffff}}}
	}
	for range 50 {
		for _, one := range nack {
			if err := r.pc.WriteRTCP([]rtcp.Packet{one}); err != nil {
				t.Fatal(err)
			}
		}
		read(t, track, 1)
	}
}
