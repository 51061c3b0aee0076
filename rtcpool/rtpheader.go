package rtcpool

import "encoding/binary"

const rtpHeaderBytes = 12

// The profiles of a header extension (RFC 8285 section 4.2 and 4.3).
const (
	oneByteProfile = 0xbede
	twoByteProfile = 0x1000 // the low four bits are the application's
)

// rtpParts cuts a packet (RFC 3550 section 5.1) into the bytes of its header extension, its profile, and its payload, padding
// removed. ok is false when it is not RTP. Nothing is copied.
func rtpParts(packet []byte) (profile uint16, extensions, payload []byte, ok bool) {
	if len(packet) < rtpHeaderBytes || packet[0]>>6 != 2 {
		return 0, nil, nil, false
	}
	at := rtpHeaderBytes + 4*int(packet[0]&0xf)
	if packet[0]&0x10 != 0 {
		if len(packet) < at+4 {
			return 0, nil, nil, false
		}
		profile = binary.BigEndian.Uint16(packet[at:])
		end := at + 4 + 4*int(binary.BigEndian.Uint16(packet[at+2:]))
		if len(packet) < end {
			return 0, nil, nil, false
		}
		extensions, at = packet[at+4:end], end
	}
	if len(packet) < at {
		return 0, nil, nil, false
	}
	payload = packet[at:]
	if packet[0]&0x20 != 0 {
		if len(payload) == 0 || int(payload[len(payload)-1]) > len(payload) {
			return 0, nil, nil, false
		}
		payload = payload[:len(payload)-int(payload[len(payload)-1])]
	}
	return profile, extensions, payload, true
}

// extension returns an element of a header extension by its id; nil when it is absent.
func extension(profile uint16, elements []byte, id uint8) []byte {
	if id == 0 {
		return nil
	}
	for len(elements) > 0 {
		var length int
		found, head := elements[0], 2
		switch {
		case found == 0: // a single byte of padding in both forms
			elements = elements[1:]
			continue
		case profile == oneByteProfile:
			found, length, head = found>>4, int(found&0xf)+1, 1
			if found == 15 {
				return nil // RFC 8285 section 4.2: stop here
			}
		case profile&0xfff0 == twoByteProfile && len(elements) >= 2:
			length = int(elements[1])
		default:
			return nil
		}
		if len(elements) < head+length {
			return nil
		}
		if found == id {
			return elements[head : head+length]
		}
		elements = elements[head+length:]
	}
	return nil
}
