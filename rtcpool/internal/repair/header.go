package repair

import "encoding/binary"

// HeaderBytes is the fixed header of an RTP packet (RFC 3550 section 5.1).
const HeaderBytes = 12

// OneByteProfile and TwoByteProfile are the profiles of a header extension (RFC 8285 section 4.2 and 4.3).
const (
	OneByteProfile = 0xbede
	TwoByteProfile = 0x1000 // the low four bits are the application's
)

// Parts cuts a packet (RFC 3550 section 5.1) into the bytes of its header extension, its profile, and its payload, padding
// removed. ok is false when it is not RTP. Nothing is copied.
func Parts(packet []byte) (profile uint16, extensions, payload []byte, ok bool) {
	if len(packet) < HeaderBytes || packet[0]>>6 != 2 {
		return 0, nil, nil, false
	}
	at := HeaderBytes + 4*int(packet[0]&0xf)
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

// Extension returns an element of a header extension by its id; nil when it is absent.
func Extension(profile uint16, elements []byte, id uint8) []byte {
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
		case profile == OneByteProfile:
			found, length, head = found>>4, int(found&0xf)+1, 1
			if found == 15 {
				return nil // RFC 8285 section 4.2: stop here
			}
		case profile&0xfff0 == TwoByteProfile && len(elements) >= 2:
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

// Restore makes the original packet of a retransmission, in its place: header, then the payload without its first two bytes.
func Restore(raw, payload []byte, payloadType uint8, seq uint16, ssrc uint32) []byte {
	header := cap(raw) - cap(payload) // both are cut from the same bytes
	raw[0] &^= 0x20                   // padding is left out
	raw[1] = raw[1]&0x80 | payloadType
	binary.BigEndian.PutUint16(raw[2:], seq)
	binary.BigEndian.PutUint32(raw[8:], ssrc)
	return raw[:header+copy(raw[header:], payload[2:])]
}
