package main

import (
	"context"
	"errors"
)

// tracksCmd lists tracks.
type tracksCmd struct{}

// Run implements the command.
func (c *tracksCmd) Run(_ context.Context, std *stdio) error { return errors.New("not built yet") }

type streamCmd struct{ tracksCmd }
type snapshotCmd struct{ tracksCmd }
type healthcheckCmd struct{ tracksCmd }
