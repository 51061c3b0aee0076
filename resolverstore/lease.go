package resolverstore

import (
	"errors"
	"math"
)

// errSeal means that a lease was not written by a pod of this deployment, or is another pod's.
var errSeal = errors.New("resolverstore: the lease was not written by a pod that has the pods' secret, or not at this time")

// LeaseSeal proves that a pod wrote its lease, so that whoever can write to Redis cannot have calls sent elsewhere. The store does not know how. Both functions must be
// safe for concurrent use.
type LeaseSeal struct {
	// Seal returns the proof that the pod of an incarnation is at an address.
	Seal func(incarnation, address string) string
	// Verify tells whether it is one.
	Verify func(incarnation, address, seal string) bool
}

// encodeLease writes what a lease tells, in the form of wire.go, and its seal. Which pod it is its key says.
func encodeLease(p *Pod, seal string) string {
	busy := p.Load.Busy
	if !(busy >= 0) { // also what is no number
		busy = 0
	}
	return newWriter().text(p.Address).uint(uint64(max(p.Load.Sessions, 0))).uint(uint64(max(p.Load.MaxSessions, 0))).
		uint(uint64(min(busy, 1) * perMille)).flag(p.Load.Draining).text(seal).done()
}

// perMille is the unit of a load in a lease.
const perMille = 1000

// maxSeal bounds a seal, in bytes.
const maxSeal = 128

// maxAddress bounds the address of a pod, in bytes: a host name and a port.
const maxAddress = 300

// decodeLease reads a lease. One that cannot be read, or whose seal is wrong, is still one: its pod lives, or Redis could be made to have sessions taken over from it. But
// it has no address: nobody calls it.
func decodeLease(incarnation, v string, seal *LeaseSeal) (Pod, error) {
	r := newReader(v)
	p := Pod{Incarnation: incarnation, Address: r.text()}
	p.Load.Sessions, p.Load.MaxSessions = clampInt(r.uint()), clampInt(r.uint())
	p.Load.Busy, p.Load.Draining = float64(min(r.uint(), perMille))/perMille, r.flag()
	proof := r.text() // of a pod of before there were any it is empty
	if r.err == nil && (len(p.Address) > maxAddress || len(proof) > maxSeal) {
		r.err = errWire
	}
	if r.err == nil && seal != nil && !seal.Verify(incarnation, p.Address, proof) {
		r.err = errSeal
	}
	if r.err != nil {
		return Pod{Incarnation: incarnation}, r.err
	}
	return p, nil
}

// leaseAddress returns the address that a lease names, of which nothing is proved; empty where it cannot be read.
func leaseAddress(v string) string {
	r := newReader(v)
	address := r.text()
	if r.err != nil || len(address) > maxAddress {
		return ""
	}
	return address
}

func clampInt(v uint64) int { return int(min(v, math.MaxInt32)) }
