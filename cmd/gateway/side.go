package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/penstock-media/penstock/cmd/gateway/internal/connlimit"
)

// asideLimits bounds the connections of each address that is for operators. Nodes, Prometheus and people ask one after another, and are answered at once: what one address may have is more than that, a quarter of
// all, and where strangers from several addresses hold all, who comes takes the place of who is there for longest.
func asideLimits() connlimit.Limits {
	return connlimit.Limits{Total: 64, PerAddress: 16, CutOldest: true}
}

// serveAside serves what is for operators on an address of its own, in plain HTTP, in the background until close. It returns where it listens. setting is what names the address.
func (g *gateway) serveAside(setting, addr string, server *http.Server) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return "", fmt.Errorf("--%s: %w; is another gateway running, or does the address belong to another machine?", setting, err)
	}
	few := connlimit.New(l, asideLimits())
	g.aside[strings.TrimSuffix(setting, "-addr")] = few
	served := make(chan struct{})
	go func() {
		defer close(served)
		g.report(setting, server.Serve(few))
	}()
	g.onClose(setting, func(ctx context.Context) error {
		if server.Shutdown(ctx) != nil {
			_ = server.Close() // who still reads is cut off
		}
		return await(ctx, served)
	})
	g.pool.Protect(addrPortOf(l))
	return l.Addr().String(), nil
}
