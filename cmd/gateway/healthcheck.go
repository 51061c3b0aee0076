package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
)

// healthcheckTimeout bounds the question to the service.
const healthcheckTimeout = 5 * time.Second

// healthcheckCmd asks a running service whether it is ready. It takes the flags of serve, so that a probe in the same
// container needs no others.
type healthcheckCmd struct {
	config.Flags `embed:""`
	Live         bool `name:"live" env:"PENSTOCK_HEALTHCHECK_LIVE" help:"Ask only whether the process is alive (/healthz)."`
}

// Run implements the command.
func (c *healthcheckCmd) Run(ctx context.Context, std *stdio) error {
	if err := complete(&c.Config); err != nil {
		return err
	}
	client, scheme, err := c.client()
	if err != nil {
		return err
	}
	addr, setting := c.HTTPAddr, "http-addr"
	if c.HealthAddr != "" {
		addr, setting = c.HealthAddr, "health-addr"
	}
	path := "/readyz"
	if c.Live {
		path = "/healthz"
	}
	ctx, cancel := context.WithTimeout(ctx, healthcheckTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+addr+path, nil)
	if err != nil {
		return fmt.Errorf("healthcheck: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("healthcheck: nothing answers at %s: %w; is `gateway serve` running with this --%s?", addr, err, setting)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return fmt.Errorf("healthcheck: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("healthcheck: %s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	_, err = fmt.Fprintln(std.Out, strings.TrimSpace(string(body)))
	return err
}

// client returns an HTTP client that asks no proxy, as the service is near, and trusts the certificate of the configuration and no other.
func (c *healthcheckCmd) client() (*http.Client, string, error) {
	if c.TLSCert == "" || c.HealthAddr != "" { // that one is plain
		return &http.Client{Transport: &http.Transport{}}, "http", nil
	}
	pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, "", fmt.Errorf("healthcheck: %w", err)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion: tls.VersionTLS12,
		// The name in the certificate is that by which others know the service, not the address asked here; the
		// certificate itself is compared instead.
		InsecureSkipVerify: true, //nolint:gosec // see above
		VerifyConnection: func(s tls.ConnectionState) error {
			if !bytes.Equal(s.PeerCertificates[0].Raw, pair.Certificate[0]) {
				return errors.New("the service shows another certificate than --tls-cert")
			}
			return nil
		},
	}}}, "https", nil
}
