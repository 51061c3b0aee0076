package media

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtp"
)

// extensions is what a packet's RTP header extensions say.
type extensions struct {
	hasLevel, voice bool
	level           uint8
	hasRotation     bool
	rotation        int
	captured        time.Time
	dependency      frameDependency
}

// parseExtensions reads the negotiated extensions; malformed ones count as absent. Dependency descriptors are read in the order of arrival: one
// that comes before its structure says nothing.
func parseExtensions(h *rtp.Header, ids HeaderExtensions, dependencies *dependencyReader) (e extensions) {
	if !h.Extension {
		return e
	}
	if ids.AudioLevel != 0 {
		if b := h.GetExtension(ids.AudioLevel); len(b) >= 1 {
			e.hasLevel, e.voice, e.level = true, b[0]&0x80 != 0, b[0]&0x7f
		}
	}
	if ids.VideoOrientation != 0 {
		if b := h.GetExtension(ids.VideoOrientation); len(b) >= 1 {
			e.hasRotation, e.rotation = true, int(b[0]&3)*90
		}
	}
	if ids.AbsCaptureTime != 0 {
		if b := h.GetExtension(ids.AbsCaptureTime); len(b) >= 8 {
			e.captured = ntpTime(binary.BigEndian.Uint64(b))
		}
	}
	if ids.DependencyDescriptor != 0 {
		if b := h.GetExtension(ids.DependencyDescriptor); len(b) >= 3 {
			e.dependency = dependencies.read(b)
		}
	}
	return e
}

// ntpEpoch is the Unix time of the NTP era 0 (RFC 5905 section 6), negated.
const ntpEpoch = 2208988800

// ntpTime turns a 64-bit NTP timestamp (32.32 seconds since 1900) into a time; zero stays zero. Values with the
// top bit clear are taken as era 1 (after 2036), as RFC 4330 section 3 proposes.
func ntpTime(v uint64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	sec := int64(v >> 32)
	if sec&0x80000000 == 0 {
		sec += 1 << 32
	}
	frac := (v & 0xffffffff) * uint64(time.Second) >> 32
	return time.Unix(sec-ntpEpoch, int64(frac))
}
