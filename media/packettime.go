package media

// packetSamples returns the length of an audio packet in ticks of its RTP clock; 0 when it cannot be told.
func packetSamples(p CodecParameters, packet []byte) int {
	switch p.Codec {
	case CodecOpus:
		if n := opusSamples(packet); n <= 5760 { // 120 ms, RFC 6716 section 3.2.5
			return n
		}
		return 0
	case CodecPCMU, CodecPCMA:
		return len(packet) / max(p.Channels, 1)
	case CodecG722:
		return len(packet) // its RTP clock is 8 kHz by mistake (RFC 3551 section 4.5.2)
	default:
		return 0
	}
}

// opusSamples reads the length of an Opus packet at 48 kHz from its table of contents (RFC 6716 section 3.1).
func opusSamples(packet []byte) int {
	if len(packet) == 0 {
		return 0
	}
	config, code := packet[0]>>3, packet[0]&3
	var frame int
	switch {
	case config < 12: // SILK: 10, 20, 40, 60 ms
		frame = [...]int{480, 960, 1920, 2880}[config&3]
	case config < 16: // hybrid: 10, 20 ms
		frame = [...]int{480, 960}[config&1]
	default: // CELT: 2.5, 5, 10, 20 ms
		frame = [...]int{120, 240, 480, 960}[config&3]
	}
	switch {
	case code == 0:
		return frame
	case code < 3:
		return 2 * frame
	case len(packet) < 2:
		return 0
	default:
		return int(packet[1]&0x3f) * frame
	}
}
