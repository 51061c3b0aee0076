package service

import (
	"encoding/base64"
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// leaseClocks is how far the clocks of two pods may differ, as for forwards.
const leaseClocks = 30 * time.Second

// LeaseSeal returns how pods prove their leases, which last for ttl, to each other by the secrets of Config.PodSecrets: the first one proves, each is believed, so that secrets can be changed pod
// by pod. A proof holds the time, by the pod's own clock, and is believed no longer than a lease can be there: an old lease that somebody puts back does not lead to whoever has its address by then. Errors: ErrConfig.
func LeaseSeal(secrets [][]byte, ttl time.Duration) (*resolverstore.LeaseSeal, error) {
	return leaseSealAt(secrets, ttl, time.Now)
}

// leaseSealAt is LeaseSeal by a clock.
func leaseSealAt(secrets [][]byte, ttl time.Duration, now func() time.Time) (*resolverstore.LeaseSeal, error) {
	keys, err := podKeys(secrets)
	if err != nil {
		return nil, err
	}
	return &resolverstore.LeaseSeal{
		Seal: func(incarnation, address string) string {
			at := binary.BigEndian.AppendUint64(nil, uint64(now().UnixMilli())) //nolint:gosec // as it is read
			return base64.RawURLEncoding.EncodeToString(append(at, keys.MAC(relay.ForLease, []byte(incarnation), []byte(address), at)...))
		},
		Verify: func(incarnation, address, seal string) bool {
			b, err := base64.RawURLEncoding.Strict().DecodeString(seal)
			if err != nil || len(b) < sealTime || !keys.Verify(relay.ForLease, b[sealTime:], []byte(incarnation), []byte(address), b[:sealTime]) {
				return false
			}
			age := now().Sub(time.UnixMilli(int64(binary.BigEndian.Uint64(b)))) //nolint:gosec // as it was written
			return -leaseClocks <= age && age <= ttl+leaseClocks
		},
	}, nil
}

// sealTime is the length of the time that a proof begins with, in bytes.
const sealTime = 8

// isPod tells whether a pod of an incarnation seems to live at a host, by its lease, proved or not: one with another secret cannot prove it here. Where the lease names no IP address the incarnation, which
// callers without credentials do not know, has to do. It serves for telling faults apart, and for nothing else.
func isPod(store resolverstore.Ownership) func(incarnation, host string) bool {
	return func(incarnation, host string) bool {
		address, alive := store.Claimed(incarnation)
		if !alive {
			return false
		}
		at, _, err := net.SplitHostPort(address)
		if err != nil {
			return false
		}
		want, err := netip.ParseAddr(at)
		if err != nil {
			return true
		}
		got, err := netip.ParseAddr(host)
		return err == nil && got.Unmap() == want.Unmap()
	}
}
