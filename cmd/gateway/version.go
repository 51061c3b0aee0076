package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/penstock-media/penstock/media"
)

// version is set by the linker (-X main.version=…) in a release; otherwise the build information decides.
var version string

// versionCmd prints the version, and that of the decoders, which are linked dynamically, with their licence.
type versionCmd struct{}

// Run implements the command.
func (versionCmd) Run(std *stdio) error {
	_, err := fmt.Fprintf(std.Out, "gateway %s %s %s/%s\n%s\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH, media.Decoders())
	return err
}

// buildVersion returns the release, else the revision that the binary was built from, else "devel".
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel-" + s.Value
		}
	}
	return "devel"
}
