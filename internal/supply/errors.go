package main

import "errors"

var (
	// errCommand means that the command line names no command that there is.
	errCommand = errors.New("the commands are licences, notices and sbom")
	// errLicence means that a module has no licence file, or one that this program does not know. Read it; if it goes with
	// Apache-2.0 and a closed binary, add it to the table of known ones.
	errLicence = errors.New("not a licence that the gateway may link")
	// errBinary means that a binary was not built by Go with modules, or holds a module that the tree does not name.
	errBinary = errors.New("not a binary of this tree")
	// errPackage means that a file does not describe a Debian package.
	errPackage = errors.New("not the description of a Debian package")
)
