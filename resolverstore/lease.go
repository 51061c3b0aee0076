package resolverstore

import "math"

// encodeLease writes what a lease tells, in the form of wire.go. Which pod it is its key says.
func encodeLease(p *Pod) string {
	busy := p.Load.Busy
	if !(busy >= 0) { // also what is no number
		busy = 0
	}
	return newWriter().text(p.Address).uint(uint64(max(p.Load.Sessions, 0))).uint(uint64(max(p.Load.MaxSessions, 0))).
		uint(uint64(min(busy, 1) * perMille)).flag(p.Load.Draining).done()
}

// perMille is the unit of a load in a lease.
const perMille = 1000

// maxAddress bounds the address of a pod, in bytes: a host name and a port.
const maxAddress = 300

// decodeLease reads a lease. One that cannot be read is still one: its pod lives.
func decodeLease(incarnation, v string) (Pod, error) {
	r := newReader(v)
	p := Pod{Incarnation: incarnation, Address: r.text()}
	p.Load.Sessions, p.Load.MaxSessions = clampInt(r.uint()), clampInt(r.uint())
	p.Load.Busy, p.Load.Draining = float64(min(r.uint(), perMille))/perMille, r.flag()
	if r.err == nil && len(p.Address) > maxAddress {
		r.err = errWire
	}
	if r.err != nil {
		return Pod{Incarnation: incarnation}, r.err
	}
	return p, nil
}

func clampInt(v uint64) int { return int(min(v, math.MaxInt32)) }
