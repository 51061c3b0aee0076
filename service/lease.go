package service

import (
	"encoding/base64"
	"net"
	"net/netip"

	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// LeaseSeal returns how pods prove their leases to each other by the secrets of Config.PodSecrets: the first one proves, each is believed, so that secrets can be changed pod
// by pod. Errors: ErrConfig.
func LeaseSeal(secrets [][]byte) (*resolverstore.LeaseSeal, error) {
	keys, err := podKeys(secrets)
	if err != nil {
		return nil, err
	}
	return &resolverstore.LeaseSeal{
		Seal: func(incarnation, address string) string {
			return base64.RawURLEncoding.EncodeToString(keys.MAC(relay.ForLease, []byte(incarnation), []byte(address)))
		},
		Verify: func(incarnation, address, seal string) bool {
			sum, err := base64.RawURLEncoding.Strict().DecodeString(seal)
			return err == nil && keys.Verify(relay.ForLease, sum, []byte(incarnation), []byte(address))
		},
	}, nil
}

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
