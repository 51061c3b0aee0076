package main

import (
	"context"
	"errors"

	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
)

// serveCmd runs the service.
type serveCmd struct {
	config.Flags `embed:""`
}

// Run implements the command.
func (c *serveCmd) Run(ctx context.Context, std *stdio) error { return errors.New("not built yet") }
