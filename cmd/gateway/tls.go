package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/penstock-media/penstock/cmd/gateway/internal/certs"
	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
	"github.com/penstock-media/penstock/cmd/gateway/internal/tlsbatch"
	"github.com/penstock-media/penstock/service"
)

// openCerts reads the certificates, and keeps them up to date until the gateway is closed. Without TLS there are none.
func (g *gateway) openCerts() error {
	if g.cfg.TLSCert == "" {
		return nil
	}
	c, err := certs.New(certs.Config{Cert: g.cfg.TLSCert, Key: g.cfg.TLSKey, ClientCA: g.cfg.TLSClientCA, PodCA: g.cfg.PodCA, Logger: g.log})
	if err != nil {
		return fmt.Errorf("load the certificates: %w", err)
	}
	g.certs = c
	g.onClose("certificates", func(context.Context) error { c.Close(); return nil })
	return nil
}

// secure fills in what the service needs of certificates and tokens.
func (g *gateway) secure(c *service.Config) {
	c.Token, c.JWT, c.ExpiryWarning = string(g.cfg.AuthToken), g.cfg.JWT(), g.cfg.ExpiryWarning
	if g.cfg.JWTSecretFile != "" {
		c.JWT.SecretsNow = g.keep(secretFile{what: "secrets of tokens", read: g.cfg.ReadJWTSecrets}, c.JWT.Secrets).now
	}
	if g.cfg.AuthTokenFile != "" {
		tokens := g.keep(secretFile{what: "bearer tokens", read: g.cfg.ReadAuthToken}, [][]byte{[]byte(g.cfg.AuthToken)})
		c.TokenNow = func() string { return string(tokens.now()[0]) }
	}
	if g.certs == nil {
		return
	}
	c.PodCredentials = tlsbatch.Credentials(g.certs.Pods(g.cfg.MinTLS(), g.cfg.PodServerName))
	if g.cfg.PodMTLS {
		c.PodCertified = g.certs.Pod
	}
	if g.cfg.TLSClientCA != "" {
		c.ClientCertificate, c.ClientCertificateActions = g.certs.Client, g.cfg.TLSClientActions
		c.ClientCertificateRequired = g.cfg.TLSClientAuth == "required"
	}
}

// grpcCredentials returns the option of a gRPC server that serves over TLS, if this gateway does.
func (g *gateway) grpcCredentials() []grpc.ServerOption {
	if g.certs == nil {
		return nil
	}
	creds := g.certs.Counted(credentials.NewTLS(g.certs.Server(g.cfg.MinTLS(), g.cfg.PodMTLS, "h2")))
	return []grpc.ServerOption{grpc.Creds(tlsbatch.Credentials(creds))}
}

// httpTLS returns how HTTP is served; nil without TLS.
func (g *gateway) httpTLS() *tls.Config {
	if g.certs == nil {
		return nil
	}
	return g.certs.Server(g.cfg.MinTLS(), false, "h2", "http/1.1")
}

// Reload reads at once what is read again in time by itself: the certificates, and files of secrets.
func (g *gateway) Reload() {
	for _, s := range g.secrets {
		s.reload()
	}
	if g.certs != nil {
		_ = g.certs.Reload() // it has been logged
	}
}

// reloadOnHangup calls f for each SIGHUP, as daemons do. The caller must call the function returned.
func reloadOnHangup(f func()) (stop func()) {
	hangups, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(hangups, syscall.SIGHUP)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			select {
			case <-hangups:
				f()
			case <-done:
				return
			}
		}
	})
	return func() {
		signal.Stop(hangups)
		close(done)
		work.Wait()
	}
}

// clientTLS returns how a client speaks TLS, with a certificate of its own if it names one.
func clientTLS(cert, key string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12} // the gateway says which it wants
	if cert == "" && key == "" {
		return cfg, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) && (cert == "" || key == "") {
			err = errors.New("only one of the two is named")
		}
		return nil, &config.Error{Setting: "--cert", Problem: "does not load with --key: " + err.Error(), Mend: "name a PEM certificate chain and the unencrypted PEM key that belongs to it"}
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, nil
}
