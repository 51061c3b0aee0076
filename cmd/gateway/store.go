package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock-media/penstock/resolverstore"
)

// redisPause is between two attempts to reach Redis at start.
const redisPause = time.Second

// openStore opens what sessions are kept in: Redis if the configuration names one, else the memory of this process. Without
// its Redis a gateway does not start: it waits for it for as long as it is told to.
func (g *gateway) openStore(ctx context.Context, address string) (resolverstore.Store, error) {
	cfg := resolverstore.Config{Logger: g.log, Owner: g.incarnation, OwnerAddress: address, MaxSessions: max(g.cfg.MaxSessions, 10_000), MaxParticipants: g.cfg.MaxParticipantsPerSession, MaxPublications: g.cfg.MaxPublicationsPerSession, Heartbeat: g.cfg.Heartbeat, LeaseTTL: g.cfg.LeaseTTL}
	if g.degraded = func() bool { return false }; g.cfg.RedisURL == "" {
		return resolverstore.NewMemory(cfg), nil
	}
	opts, err := g.cfg.Redis()
	if err != nil {
		return nil, err
	}
	latency := g.measures.Histogram("penstock_store_command_seconds")
	cfg.Observe = func(d time.Duration) { latency.Record(context.Background(), d.Seconds()) }
	if err := g.sealing.change(g.cfg.PodSecrets(), g.cfg.LeaseTTL); err != nil {
		return nil, err
	}
	cfg.Seal = g.sealing.seal()
	store, err := g.awaitRedis(ctx, cfg, opts)
	if err != nil {
		return nil, fmt.Errorf("--redis-url: %w; does it run, and may this gateway use it?", err)
	}
	g.degraded = func() bool {
		_, up := store.Contact()
		return !up
	}
	g.storeStats = store.Stats
	return store, nil
}

// awaitRedis opens the store in Redis. One that cannot be reached is tried again, for --redis-wait: where Redis and gateways are started together, and where an
// orchestrator would let more and more time pass between its own attempts.
func (g *gateway) awaitRedis(ctx context.Context, cfg resolverstore.Config, opts resolverstore.RedisOptions) (*resolverstore.Redis, error) {
	waiting, cancel := context.WithTimeout(ctx, g.cfg.RedisWait)
	defer cancel()
	pause := time.NewTicker(redisPause)
	defer pause.Stop()
	for {
		store, err := resolverstore.NewRedis(ctx, cfg, opts)
		if err == nil || !errors.Is(err, resolverstore.ErrUnavailable) || waiting.Err() != nil {
			return store, err
		}
		g.log.Warn("redis cannot be reached yet", "error", err)
		select {
		case <-pause.C:
		case <-waiting.Done():
			return nil, err
		}
	}
}
