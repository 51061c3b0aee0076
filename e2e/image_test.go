//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/json"
	"encoding/pem"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// imageVersion is the version that the image is built with.
	imageVersion = "v0.0.0-e2e"
	// imageBytes bounds the image: about a quarter more than it has.
	imageBytes = 90 << 20
)

// gatewayInImage is the image's program.
const gatewayInImage = "/usr/local/bin/gateway"

// TestO6_Image builds the image for real, and runs it as a container runtime would that gives it nothing.
func TestO6_Image(t *testing.T) {
	i := build(t)
	t.Run("IsSmall", i.isSmall)
	t.Run("HoldsNothingThatHelpsAnIntruder", i.isBare)
	t.Run("LibrariesAreAllThere", i.librariesAreThere)
	t.Run("SaysHowItIsRun", i.saysHowItIsRun)
	t.Run("DecodersAreLGPL", i.versionIsTold)
	t.Run("SaysWhatItIsMadeOf", i.hasItsPapers)
	t.Run("TrustsWhomDebianTrusts", i.hasAuthorities)
	t.Run("ServesAndAnswersItsProbe", i.serves)
	t.Run("DemoWorks", i.demoWorks)
}

// walk calls a function for each file of the image.
func (i *image) walk(t *testing.T, each func(path string, info fs.FileInfo)) {
	t.Helper()
	err := filepath.WalkDir(i.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			each(strings.TrimPrefix(path, i.root), info)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (i *image) isSmall(t *testing.T) {
	var total int64
	var files int
	large := make(map[string]int64)
	i.walk(t, func(path string, info fs.FileInfo) {
		if info.Mode().IsRegular() {
			files++
			total += info.Size()
			if info.Size() > 1<<20 {
				large[path] = info.Size() >> 10
			}
		}
	})
	t.Logf("the image has %.1f MB in %d files; in KiB, the largest: %v", float64(total)/1e6, files, large)
	if total > imageBytes || total < 10<<20 {
		t.Errorf("the image has %d bytes, want at most %d", total, imageBytes)
	}
}

// isBare shows that nothing can be run but the gateway, nothing gives rights, and nothing can be changed by the gateway's user.
func (i *image) isBare(t *testing.T) {
	library := regexp.MustCompile(`^/usr/lib/[^/]+/[^/]+\.so(\.[0-9.]+)?$|^/usr/lib64/ld-[^/]+$|^/usr/lib/ld-[^/]+$`)
	var programs []string
	i.walk(t, func(path string, info fs.FileInfo) {
		owner := info.Sys().(*syscall.Stat_t)
		if owner.Uid != 0 || owner.Gid != 0 {
			t.Errorf("%s belongs to %d:%d", path, owner.Uid, owner.Gid)
		}
		mode := info.Mode()
		if mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			t.Errorf("%s runs as another: %v", path, mode)
		}
		if size, _ := syscall.Getxattr(filepath.Join(i.root, path), "security.capability", nil); size > 0 {
			t.Errorf("%s gives capabilities", path)
		}
		if mode&fs.ModeSymlink == 0 && mode.Perm()&0o022 != 0 && path != "/tmp" {
			t.Errorf("%s can be changed by others: %v", path, mode)
		}
		if mode.IsRegular() && mode.Perm()&0o111 != 0 && !library.MatchString(path) {
			programs = append(programs, path)
		}
	})
	if !slices.Equal(programs, []string{gatewayInImage}) {
		t.Errorf("programs in the image: %v, want the gateway alone", programs)
	}
	if out, err := i.run(t, nil, "/bin/sh", "-c", "true"); err == nil {
		t.Errorf("there is a shell: %s", out)
	}
	if out, err := i.run(t, nil, gatewayInImage, "demo", "--out=/var/demo"); err == nil || !strings.Contains(out, "read-only file system") {
		t.Errorf("a demo that writes beside /tmp: %s, %v; the test's root is not read-only", out, err)
	}
}

// librariesAreThere asks the image's own loader.
func (i *image) librariesAreThere(t *testing.T) {
	binary, err := elf.Open(filepath.Join(i.root, gatewayInImage))
	if err != nil {
		t.Fatal(err)
	}
	defer binary.Close()
	interpreter, err := io.ReadAll(binary.Section(".interp").Open())
	if err != nil {
		t.Fatal(err)
	}
	out, err := i.run(t, nil, string(bytes.TrimRight(interpreter, "\x00")), "--list", gatewayInImage)
	if err != nil || strings.Contains(out, "not found") {
		t.Fatalf("%s: %v", out, err)
	}
	for _, want := range []string{"libavcodec.so", "libdav1d.so", "libopus.so", "libyuv.so", "libjpeg.so", "libswresample.so"} {
		if !strings.Contains(out, want) {
			t.Errorf("the gateway is not linked with %s:\n%s", want, out)
		}
	}
	for _, not := range []string{"libx264", "libx265", "libavformat", "libcurl", "libssl", "libX11"} {
		if strings.Contains(out, not) {
			t.Errorf("the gateway drags %s along:\n%s", not, out)
		}
	}
}

func (i *image) saysHowItIsRun(t *testing.T) {
	c := i.config
	if c.User != "10001:10001" || c.StopSignal != "SIGTERM" {
		t.Errorf("it runs as %q and is stopped by %q", c.User, c.StopSignal)
	}
	for _, port := range []string{"50051/tcp", "8080/tcp", "8081/tcp", "9090/tcp", "7882/udp"} {
		if _, ok := c.ExposedPorts[port]; !ok {
			t.Errorf("port %s is not told: %v", port, c.ExposedPorts)
		}
	}
	if !slices.Equal(c.Entrypoint, []string{gatewayInImage}) || !slices.Equal(c.Cmd, []string{"serve"}) {
		t.Errorf("it starts %q %q", c.Entrypoint, c.Cmd)
	}
	if len(c.Healthcheck.Test) < 2 || c.Healthcheck.Test[0] != "CMD" {
		t.Errorf("the probe needs a shell, or is missing: %q", c.Healthcheck.Test)
	}
	for label, want := range map[string]string{"version": imageVersion, "revision": "0123abc", "source": "penstock-media/penstock", "title": "Penstock"} {
		if got := c.Labels["org.opencontainers.image."+label]; got != want {
			t.Errorf("label %s is %q, want %q", label, got, want)
		}
	}
	if got := c.Labels["org.opencontainers.image.licenses"]; !strings.Contains(got, "Apache-2.0") || !strings.Contains(got, "LGPL-2.1-or-later") {
		t.Errorf("the label of licences is %q", got)
	}
}

func (i *image) versionIsTold(t *testing.T) {
	out, err := i.run(t, nil, gatewayInImage, "version")
	if err != nil || !strings.HasPrefix(out, "gateway "+imageVersion+" ") || !strings.Contains(out, ", LGPL version 2.1 or later") {
		t.Errorf("version: %s, %v", out, err)
	}
}

// hasItsPapers compares the packages of the image with docs/licences.md, and has its bill of materials read by CycloneDX's own schema.
func (i *image) hasItsPapers(t *testing.T) {
	papers := filepath.Join(i.root, "usr/share/doc/penstock")
	page, err := os.ReadFile(filepath.Join(papers, "licences.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "## The image\n")
	table, _, _ = strings.Cut(table, "**FFmpeg")
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]+`) \\|").FindAllStringSubmatch(table, -1) {
		for _, name := range strings.Split(row[1], ", ") {
			listed = append(listed, strings.Trim(name, "`"))
		}
	}
	slices.Sort(listed)
	var held []string
	for _, e := range entries(t, filepath.Join(i.root, "var/lib/dpkg/status.d")) {
		held = append(held, e)
		if _, err := os.Stat(filepath.Join(i.root, "usr/share/doc", e, "copyright")); err != nil {
			t.Errorf("%s has no licence: %v", e, err)
		}
	}
	if !slices.Equal(held, listed) {
		t.Errorf("the image holds %v, and docs/licences.md lists %v", held, listed)
	}
	notices, err := os.ReadFile(filepath.Join(papers, "notices.txt"))
	if err != nil || !bytes.Contains(notices, []byte("github.com/pion/webrtc/v4")) {
		t.Errorf("notices of %d bytes, %v", len(notices), err)
	}
	bill := filepath.Join(papers, "sbom.cdx.json")
	if out, err := run(t.Context(), program(t, "CYCLONEDX", "cyclonedx"), bill); err != nil || out != "valid\n" {
		t.Errorf("the bill of materials: %s, %v", out, err)
	}
	text, err := os.ReadFile(bill)
	if err != nil {
		t.Fatal(err)
	}
	var b struct {
		Metadata   struct{ Component struct{ Version string } }
		Components []struct{ Name, PURL string }
	}
	if err := json.Unmarshal(text, &b); err != nil || b.Metadata.Component.Version != imageVersion {
		t.Errorf("the bill is of version %q, %v", b.Metadata.Component.Version, err)
	}
	for _, want := range append([]string{"std", "google.golang.org/grpc"}, held...) {
		if !slices.ContainsFunc(b.Components, func(c struct{ Name, PURL string }) bool { return c.Name == want && strings.HasPrefix(c.PURL, "pkg:") }) {
			t.Errorf("%s is not in the bill", want)
		}
	}
}

// entries returns the names in a directory.
func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

// hasAuthorities shows that the bundle is of Debian's package: the build trusted what this machine trusts beside it, and the image does not.
func (i *image) hasAuthorities(t *testing.T) {
	held := certificates(t, filepath.Join(i.root, authorities))
	if len(held) < 100 {
		t.Errorf("the image trusts %d authorities", len(held))
	}
	debian := make(map[string]bool)
	files, err := filepath.Glob("/usr/share/ca-certificates/mozilla/*.crt")
	if err != nil || len(files) < 100 {
		t.Fatalf("this machine has %d of Debian's authorities, %v", len(files), err)
	}
	for _, f := range files {
		maps.Copy(debian, certificates(t, f))
	}
	own := 0
	for c := range certificates(t, authorities) {
		if debian[c] {
			continue
		}
		own++
		if held[c] {
			t.Error("the image trusts an authority of the machine that built it")
		}
	}
	t.Logf("the image trusts %d authorities; this machine has %d of its own", len(held), own)
}

// certificates returns those of a PEM file.
func certificates(t *testing.T, file string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]bool)
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		all[string(block.Bytes)] = true
	}
	return all
}

// serves runs the service in the image, asks it by the image's own probe, and stops it by the image's signal.
func (i *image) serves(t *testing.T) {
	cmd := i.command(t, []string{"PENSTOCK_GRPC_ADDR=127.0.0.1:0", "PENSTOCK_HTTP_ADDR=127.0.0.1:0", "PENSTOCK_DRAIN_GRACE=0s"},
		append(i.config.Entrypoint[:1:1], i.config.Cmd...)...)
	log := &logBuffer{}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killer := time.AfterFunc(hang, func() { _ = cmd.Process.Kill() })
	defer killer.Stop()
	line, err := bufio.NewReader(out).ReadString('\n')
	m := regexp.MustCompile(`gRPC on (\S+) and HTTP on (\S+)`).FindStringSubmatch(line)
	if err != nil || m == nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("serve said %q, %v\n%s", line, err, log)
	}
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "status"))
	if err != nil || !bytes.Contains(status, []byte("Uid:\t10001\t10001\t10001\t10001")) || !bytes.Contains(status, []byte("CapEff:\t0000000000000000")) {
		t.Errorf("the service runs as\n%s%v", status, err)
	}
	probe := func(env string) (string, error) { return i.run(t, []string{env}, i.config.Healthcheck.Test[1:]...) }
	if out, err := probe("PENSTOCK_HTTP_ADDR=" + m[2]); err != nil {
		t.Errorf("the probe of a running service: %s, %v", out, err)
	}
	if out, err := i.run(t, []string{"PENSTOCK_HTTP_ADDR=" + m[2]}, gatewayInImage, "healthcheck"); err != nil {
		t.Errorf("readiness of a running service: %s, %v", out, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after %s: %v\n%s", i.config.StopSignal, err, log)
	}
	if out, err := probe("PENSTOCK_HTTP_ADDR=" + m[2]); err == nil {
		t.Errorf("the probe of a service that has ended: %s", out)
	}
}

func (i *image) demoWorks(t *testing.T) {
	start := time.Now()
	out, err := i.run(t, nil, gatewayInImage, "demo")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	t.Logf("the demo took %.1f s and ended with: %s", time.Since(start).Seconds(), lines[len(lines)-1])
}
