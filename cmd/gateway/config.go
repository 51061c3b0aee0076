package main

import (
	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
)

// configCmd prints the effective configuration.
type configCmd struct {
	config.Flags `embed:""`
}

// Run implements the command.
func (c *configCmd) Run(std *stdio) error {
	if err := complete(&c.Config); err != nil {
		return err
	}
	return c.Write(std.Out)
}

// complete brings a configuration to where it can be used, or tells its first fault.
func complete(c *config.Config) error {
	if err := c.Complete(); err != nil {
		return err
	}
	return c.Check()
}
