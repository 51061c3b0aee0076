package main

import (
	"bytes"
	"fmt"
	"strings"
)

// library is what the image holds beside the binary.
type library struct {
	packages string // of Debian
	what     string
	licence  string // of what is in the image, as SPDX names it
}

// libraries returns what the image holds beside the binary. A test compares the packages with those of a real image.
func libraries() []library {
	return []library{
		{"ffmpeg", "libavcodec, libavutil, libswresample: decoders of VP8, VP9, H.264, H.265, G.711 and G.722, resampling", "LGPL-2.1-or-later"},
		{"libdav1d6", "AV1", "BSD-2-Clause"},
		{"libopus0", "Opus", "BSD-3-Clause"},
		{"libyuv0", "scaling and colours", "BSD-3-Clause"},
		{"libjpeg62-turbo", "JPEG", "IJG AND BSD-3-Clause AND Zlib"},
		{"libc6", "the C library", "LGPL-2.1-or-later"},
		{"libgcc-s1, libstdc++6", "the run-time libraries of C++, for libyuv", "GPL-3.0-or-later WITH GCC-exception-3.1"},
		{"ca-certificates", "the authorities that Debian trusts", "MPL-2.0"},
		{"base-files", "Debian's name and the texts of common licences", "GPL-2.0-or-later"},
	}
}

// renderPage returns docs/licences.md. Versions are left out, so that only a new module or licence changes it; the bill of
// materials has them.
func renderPage(modules []module) []byte {
	var b bytes.Buffer
	b.WriteString(`# Licences

<!-- Made by internal/supply from go.mod and the modules' own files; run make generate. -->

The gateway is under Apache-2.0 (` + "`LICENSE`" + `). What it is linked of is listed here; a module whose licence is not one of Apache-2.0, BSD, MIT or
ISC fails the build of this page, and with it the tests. Modules that only tests, tools and benchmarks use are not listed: nobody is given them.

## The image

Debian packages, of which only shared libraries and papers are taken; the C libraries are linked dynamically, so that each can be exchanged.

| Debian package | for | licence |
| --- | --- | --- |
`)
	for _, l := range libraries() {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", "`"+strings.ReplaceAll(l.packages, ", ", "`, `")+"`", l.what, l.licence)
	}
	b.WriteString(`
**FFmpeg in the image is LGPL 2.1 or later**, and has no GPL part: it is built from Debian's source package with ` + "`--enable-gpl`" + ` and
` + "`--enable-nonfree`" + ` left out, with decoders alone; ` + "`gateway version`" + ` asks the library, and a test does. Its source is Debian's package
` + "`ffmpeg`" + ` of the version that ` + "`sbom.cdx.json`" + ` names (` + "`apt-get source ffmpeg=VERSION`" + `), unchanged; how it was configured is in the Dockerfile. Who hands the image on owes its receivers that source.
A gateway that is built on a Debian machine links **Debian's** libavcodec instead, which is built with x264 and other GPL parts: that process
as a whole is under the GPL (version 2 or later; Apache-2.0 goes with version 3), which matters to who hands it on.

Patents are another matter than licences: H.264 and H.265 are covered by patents in some countries, whoever's decoder it is.

The image holds, below ` + "`/usr/share/doc`" + `: this page, the gateway's licence, ` + "`penstock/notices.txt`" + ` with the licences and notices of all modules,
` + "`penstock/sbom.cdx.json`" + `, and each package's ` + "`copyright`" + `; the long texts are below ` + "`/usr/share/common-licenses`" + `.

## Go modules

| module | licence |
| --- | --- |
`)
	for _, m := range modules {
		if m.main {
			continue
		}
		name := "`" + m.Path + "`"
		if m.Path == "std" {
			name = "Go's own library and run time"
		}
		fmt.Fprintf(&b, "| %s | %s |\n", name, m.Licence)
	}
	return b.Bytes()
}
