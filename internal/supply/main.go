// Command supply tells what the gateway's binary and image are made of, and under which licences.
//
//	supply licences                              docs/licences.md, for `make generate`
//	supply notices                               the licence texts of all Go modules in the binary, for the image
//	supply sbom -binary FILE [-version VERSION] [-packages DIR]
//	                                             a CycloneDX bill of materials of a binary, and of an image's Debian packages
//
// It asks the go command and reads the modules' own files, so that a new module is told of, or refused, without anybody
// keeping a list. It runs in the root of the tree.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

// page is where the licences are documented.
const page = "docs/licences.md"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, ".", os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "supply:", err)
		os.Exit(1)
	}
}

// run carries out one command in the root of a tree.
func run(ctx context.Context, root string, args []string, out io.Writer) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: none was named", errCommand)
	}
	switch args[0] {
	case "licences":
		modules, err := linked(ctx, root)
		if err != nil {
			return err
		}
		return os.WriteFile(root+"/"+page, renderPage(modules), 0o644) //nolint:gosec // documentation
	case "notices":
		modules, err := linked(ctx, root)
		if err != nil {
			return err
		}
		return writeNotices(out, modules)
	case "sbom":
		return runSBOM(ctx, root, args[1:], out)
	default:
		return fmt.Errorf("%w: %q", errCommand, args[0])
	}
}

// runSBOM carries out the command sbom.
func runSBOM(ctx context.Context, root string, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("sbom", flag.ContinueOnError)
	binary := flags.String("binary", "bin/gateway", "the gateway's binary")
	version := flags.String("version", "", "the gateway's version; empty: what Go knows of it")
	packages := flags.String("packages", "", "directory with a file for each Debian package, as var/lib/dpkg/status.d of the image")
	if err := flags.Parse(args); err != nil {
		return err
	}
	modules, err := linked(ctx, root)
	if err != nil {
		return err
	}
	parts, err := readBinary(*binary, *version, modules)
	if err != nil {
		return err
	}
	var installed []debianPackage
	if *packages != "" {
		if installed, err = readPackages(*packages); err != nil {
			return err
		}
	}
	return writeSBOM(out, parts, installed)
}
