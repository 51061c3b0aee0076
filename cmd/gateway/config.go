package main

import (
	"fmt"

	"github.com/alecthomas/kong"

	"github.com/penstock-media/penstock/cmd/gateway/internal/config"
)

// configCmd prints the effective configuration.
type configCmd struct {
	config.Flags `embed:""`
}

// Run implements the command.
func (c *configCmd) Run(std *stdio, parsed *kong.Context, file *config.Resolver, warnings warnings) error {
	for _, w := range warnings {
		fmt.Fprintln(std.Err, "gateway: warning:", w)
	}
	if err := complete(&c.Config); err != nil {
		return err
	}
	return c.Write(std.Out, config.Origins(parsed, file))
}

// warnings are about what was given, and is of no use.
type warnings []string

// complete brings a configuration to where it can be used, or tells its first fault.
func complete(c *config.Config) error {
	if err := c.Complete(); err != nil {
		return err
	}
	return c.Check()
}
