package service

import (
	"context"
	"fmt"

	"github.com/penstock-media/penstock/service/internal/identity"
)

// newAuthenticator returns what finds out who calls. Errors: ErrConfig.
func newAuthenticator(c *Config) (*identity.Authenticator, error) {
	cfg := identity.Config{
		Token: c.Token, TokenNow: c.TokenNow, JWT: c.JWT, Logger: c.Logger,
		Certificates: c.ClientCertificate != nil, CertificateRequired: c.ClientCertificateRequired,
	}
	for _, name := range c.ClientCertificateActions {
		action, ok := identity.ParseAction(name)
		if !ok {
			return nil, fmt.Errorf("%w: ClientCertificateActions: %q is no action", ErrConfig, name)
		}
		cfg.CertificateActions |= action
	}
	a, err := identity.New(context.Background(), cfg)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return a, nil
}

// AuthStats tells of credentials since the process began.
type AuthStats struct {
	// Refused counts refused credentials by reason, of a closed set of names.
	Refused map[string]uint64
	// Forbidden counts calls whose credentials were good, and did not allow them.
	Forbidden uint64
	// Expired counts streams and calls that ended since their credentials had expired meanwhile.
	Expired uint64
	// KeyFailures counts how often keys of tokens could not be fetched.
	KeyFailures uint64
	// Unchecked counts credentials that were refused without being looked at, since too many that fail come from their address, by why: a closed set of names.
	Unchecked map[string]uint64
}

// AuthStats returns what happened so far.
func (s *Service) AuthStats() AuthStats {
	unchecked := make(map[string]uint64, uncheckedKinds)
	for why, name := range uncheckedNames {
		unchecked[name] = s.guesses.unchecked[why].Load()
	}
	return AuthStats{
		Unchecked: unchecked, Refused: s.auth.Refused(), KeyFailures: s.auth.KeyFailures(),
		Forbidden: s.counts.forbidden.Load(), Expired: s.counts.expired.Load(),
	}
}
