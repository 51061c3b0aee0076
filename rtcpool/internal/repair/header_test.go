package repair

import (
	"bytes"
	"testing"

	"github.com/pion/rtp"
)

func rtpBytes(t testing.TB, p *rtp.Packet) []byte {
	t.Helper()
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHeaderExtensionsInBothForms(t *testing.T) {
	for _, profile := range []uint16{OneByteProfile, TwoByteProfile} {
		p := &rtp.Packet{Header: rtp.Header{Version: 2, CSRC: []uint32{1, 2}}, Payload: []byte{9, 8, 7}}
		p.Extension, p.ExtensionProfile = true, profile
		for id, value := range map[uint8][]byte{3: {1, 2}, 5: {4}, 14: {7, 7, 7}} {
			if err := p.SetExtension(id, value); err != nil {
				t.Fatal(err)
			}
		}
		p.Padding, p.PaddingSize = true, 4
		got, elements, payload, ok := Parts(rtpBytes(t, p))
		if !ok || got != profile || !bytes.Equal(payload, []byte{9, 8, 7}) {
			t.Fatalf("profile %x: %v, payload %v", got, ok, payload)
		}
		for id, want := range map[uint8][]byte{3: {1, 2}, 5: {4}, 14: {7, 7, 7}, 4: nil, 0: nil} {
			if b := Extension(got, elements, id); !bytes.Equal(b, want) {
				t.Errorf("profile %x, id %d: %v, want %v", profile, id, b, want)
			}
		}
	}
}

func FuzzRTPParts(f *testing.F) {
	f.Add([]byte{0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1}, uint8(1))
	f.Add([]byte{0xb0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xbe, 0xde, 0, 1, 0x10, 5, 0xf0, 0, 1}, uint8(1))
	f.Add([]byte{0x90, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0x10, 0, 0, 1, 1, 2, 5, 5}, uint8(1))
	f.Fuzz(func(t *testing.T, raw []byte, id uint8) {
		profile, elements, payload, ok := Parts(raw)
		if !ok {
			return
		}
		var h rtp.Header
		if _, err := h.Unmarshal(raw); err == nil && h.Extension && id > 0 && id < 15 {
			if want := h.GetExtension(id); want != nil && (profile == OneByteProfile || profile == TwoByteProfile) &&
				!bytes.Equal(want, Extension(profile, elements, id)) {
				t.Errorf("id %d: %v, pion reads %v", id, Extension(profile, elements, id), want)
			}
		}
		if len(payload) >= 2 {
			seq := uint16(payload[0])<<8 | uint16(payload[1])
			rest := bytes.Clone(payload[2:])
			back := Restore(raw, payload, 96, seq, 7)
			if _, _, p, ok := Parts(back); !ok || !bytes.Equal(p, rest) {
				t.Errorf("restored %v: %v, want %v", ok, p, rest)
			}
		}
	})
}
