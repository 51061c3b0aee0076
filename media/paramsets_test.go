package media

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// h264Packets are ways to packetize the NAL units of a picture (RFC 6184 sections 5.6 to 5.8).
func h264Packets() map[string]func(nals [][]byte) [][]byte {
	fragments := func(nal []byte) (out [][]byte) {
		const size = 300
		if len(nal) <= size+1 {
			return [][]byte{nal}
		}
		for at := 1; at < len(nal); at += size {
			end := min(at+size, len(nal))
			header := nal[0] & 0x1f
			if at == 1 {
				header |= 0x80
			}
			if end == len(nal) {
				header |= 0x40
			}
			out = append(out, append([]byte{nal[0]&0xe0 | nalFUA, header}, nal[at:end]...))
		}
		return out
	}
	aggregate := func(nals ...[]byte) []byte {
		out := []byte{0x60 | nalSTAPA}
		for _, nal := range nals {
			out = append(binary.BigEndian.AppendUint16(out, uint16(len(nal))), nal...)
		}
		return out
	}
	delimiter, message := []byte{9, 0xf0}, []byte{6, 5, 1, 0xaa, 0x80}
	return map[string]func(nals [][]byte) [][]byte{
		"packetization-mode=0": func(nals [][]byte) [][]byte { return nals },
		"packetization-mode=1": func(nals [][]byte) (out [][]byte) {
			out = append(out, aggregate(delimiter, message))
			for i, nal := range nals {
				if i%2 == 0 {
					out = append(out, fragments(nal)...)
					continue
				}
				out = append(out, aggregate(nal))
			}
			return out
		},
	}
}

// Several slices a picture, and parameter sets in a=fmtp alone: there are none in the packets.
func TestF22_H264WithSetsInTheDescriptionOnly(t *testing.T) {
	want := strings.Fields(strings.ReplaceAll(string(fixture(t, "h264-high.md5")), " ", "/"))
	var sets []string
	var pictures [][][]byte
	for _, unit := range clipUnits(t, "h264-high.h264") {
		var slices [][]byte
		for _, nal := range annexBNALs(unit) {
			switch kind := h264SetKind(nal); {
			case kind >= 0 && len(pictures) == 0:
				sets = append(sets, encodeSet(nal))
			case kind < 0:
				slices = append(slices, nal)
			}
		}
		pictures = append(pictures, slices)
	}
	for mode, packetize := range h264Packets() {
		t.Run(mode, func(t *testing.T) {
			noCMemory(t)
			track := newTestTrack(t, KindVideo)
			params := CodecParameters{
				Codec: CodecH264, PayloadType: 96, ClockRate: 90000,
				Fmtp: mode + ";profile-level-id=64001f;sprop-parameter-sets=" + strings.Join(sets, ","),
			}
			track.SetParameters(ReceiveParameters{Codecs: []CodecParameters{params}})
			decoded, encoded := subscribe(t, track, Request{Queue: patient}), subscribe(t, track, Request{Encoded: true, Queue: patient})
			s := &unitSender{t: t, track: track, params: params}
			for _, slices := range pictures {
				s.payloads(packetize(slices)...)
			}
			for i := range want {
				if got := frameSum(frame(t, decoded)); got != want[i] {
					t.Errorf("picture %d is %s, want %s", i, got, want[i])
				}
				unit := bytes.Join(frame(t, encoded).Payload.Parts(), nil)
				if hasSets := nalTypeIn(unit, nalSPS) && nalTypeIn(unit, nalPPS); hasSets != (i == 0) {
					t.Errorf("unit %d as received has parameter sets: %v", i, hasSets)
				}
			}
			if st := track.Stats(); st.Unusable != 0 || st.UnitsDropped != 0 || st.DecodeErrors != 0 || st.Width != 640 {
				t.Errorf("%+v", st)
			}
		})
	}
}

func nalTypeIn(unit []byte, kind byte) bool {
	for start := nextNAL(unit, 0); start >= 0; start = nextNAL(unit, start) {
		if unit[start]&0x1f == kind {
			return true
		}
	}
	return false
}
