package main

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/penstock-media/penstock/cmd/gateway/internal/certs"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service"
)

// errPodSecretGone means that a changed file of pods' secrets lacks the one that is in use: other pods would refuse what this one says, and this one what is theirs.
var errPodSecretGone = errors.New("the secret that is in use, the first of before, is not among them; first add the new one at the end on all pods, then put it in front, then take the old one out")

// leaseSeals prove leases, by secrets that change. They are safe for concurrent use.
type leaseSeals struct {
	now atomic.Pointer[resolverstore.LeaseSeal]
}

// change has leases, which last for ttl, proved by other secrets from now on.
func (l *leaseSeals) change(secrets [][]byte, ttl time.Duration) error {
	seal, err := service.LeaseSeal(secrets, ttl)
	if err != nil {
		return err
	}
	l.now.Store(seal)
	return nil
}

// seal returns what the store proves leases by.
func (l *leaseSeals) seal() *resolverstore.LeaseSeal {
	return &resolverstore.LeaseSeal{
		Seal:   func(incarnation, address string) string { return l.now.Load().Seal(incarnation, address) },
		Verify: func(incarnation, address, seal string) bool { return l.now.Load().Verify(incarnation, address, seal) },
	}
}

// keep reads a file of secrets again as it changes, until the gateway is closed.
func (g *gateway) keep(file secretFile, first [][]byte) *secrets {
	s := keepSecrets(file, first, certs.DefaultEvery, g.log)
	g.secrets = append(g.secrets, s)
	g.onClose(file.what, func(context.Context) error { s.close(); return nil })
	return s
}

// keepPodSecrets does so for the pods' secrets.
func (g *gateway) keepPodSecrets() {
	if g.cfg.PodSecretFile != "" {
		g.keep(secretFile{what: "pod secrets", read: g.cfg.ReadPodSecrets, take: g.takePodSecrets}, g.cfg.PodSecrets())
	}
}

// takePodSecrets has proofs, seals and tokens follow from other secrets. They must hold the one that is in use, as each step of a change from pod to pod does. Errors: errPodSecretGone.
func (g *gateway) takePodSecrets(before, after [][]byte) error {
	if !slices.ContainsFunc(after, func(s []byte) bool { return bytes.Equal(s, before[0]) }) {
		return errPodSecretGone
	}
	if err := g.sealing.change(after, g.cfg.LeaseTTL); err != nil {
		return err
	}
	g.tell.ChangePodSecrets(after)
	return g.service.ChangePodSecrets(after)
}
