package service

import (
	"encoding/base64"

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
