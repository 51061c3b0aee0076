package media

// unwrapper turns counters that wrap around into ones that do not: RTP sequence numbers (16 bit) and
// timestamps (32 bit), RFC 3550 section 5.1. Each value is taken as the one nearest to the highest seen.
type unwrapper struct {
	bits    uint
	started bool
	highest int64
}

// next returns the unwrapped value.
func (u *unwrapper) next(v uint32) int64 {
	if !u.started {
		u.started = true
		// One whole cycle up, so that what comes just before the first value is not negative.
		u.highest = int64(v) + 1<<u.bits
		return u.highest
	}
	mod := int64(1) << u.bits
	diff := (int64(v) - u.highest) & (mod - 1)
	if diff >= mod/2 {
		diff -= mod
	}
	x := u.highest + diff
	if diff > 0 {
		u.highest = x
	}
	return x
}
