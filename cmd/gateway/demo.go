package main

import (
	"context"
	"errors"
)

// demoCmd shows the whole job on one machine.
type demoCmd struct{}

// Run implements the command.
func (demoCmd) Run(ctx context.Context, std *stdio) error { return errors.New("not built yet") }

// demoPublisherCmd is the publisher process of the demo.
type demoPublisherCmd struct{}

// Run implements the command.
func (demoPublisherCmd) Run(ctx context.Context, std *stdio) error { return errors.New("not built yet") }
