package service

import (
	"context"

	podv1 "github.com/penstock-media/penstock/api/penstock/pod/v1"
	"github.com/penstock-media/penstock/resolverstore"
)

// Adopt implements podv1.PodServiceServer: the owner agrees, since it is about to stop.
func (s *podServer) Adopt(ctx context.Context, r *podv1.AdoptRequest) (*podv1.AdoptResponse, error) {
	v, err := s.takeOver(ctx, resolverstore.SessionKey{Tenant: r.GetTenant(), ID: r.GetSessionId()},
		resolverstore.Fence{Owner: r.GetOwner(), Epoch: r.GetEpoch()}, true)
	if err != nil {
		return nil, err
	}
	s.meters.adopted.Add(1)
	return &podv1.AdoptResponse{Epoch: v.fence.Epoch}, nil
}
