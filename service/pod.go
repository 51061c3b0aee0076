package service

import (
	"fmt"

	podv1 "github.com/penstock-media/penstock/api/penstock/pod/v1"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// podServer implements PodService: what pods ask of each other. Nobody else gets as far: the interceptor of proofs refuses them.
type podServer struct {
	podv1.UnimplementedPodServiceServer
	*Service
}

// podKeys returns the keys that follow from the pods' secrets, the current one first, or random ones.
func podKeys(secrets [][]byte) (*relay.Keys, error) {
	if len(secrets) == 0 {
		return relay.RandomKeys(), nil
	}
	keys, err := relay.NewKeys(secrets[0], secrets[1:]...)
	if err != nil {
		return nil, fmt.Errorf("%w: PodSecrets: %w", ErrConfig, err)
	}
	return keys, nil
}
