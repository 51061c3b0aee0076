//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// imageHang bounds the making of the image: from nothing it takes minutes.
const imageHang = 15 * time.Minute

// mostLayers bounds what is kept of earlier builds: some fifteen of them.
const mostLayers = 120

// authorities is this machine's bundle of certificate authorities, with which the build stages reach modules as this machine
// does. The image must not have it, but Debian's.
const authorities = "/etc/ssl/certs/ca-certificates.crt"

// image is the gateway's image, built and mounted. Its storage and the layers of earlier builds are kept outside the tree.
type image struct {
	storage []string // options of buildah
	root    string   // where the file system is mounted
	config  imageConfig
}

// imageConfig is what the image says of how it is run.
type imageConfig struct {
	User         string
	ExposedPorts map[string]struct{}
	Env          []string
	Entrypoint   []string
	Cmd          []string
	WorkingDir   string
	Labels       map[string]string
	StopSignal   string
	Healthcheck  struct{ Test []string }
}

// buildah runs buildah on the image's storage.
func (i *image) buildah(ctx context.Context, t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(ctx, program(t, "BUILDAH", "buildah"), append(i.storage[:len(i.storage):len(i.storage)], args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+i.cache(), "BUILDAH_ISOLATION=chroot")
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		text := log.String()
		t.Fatalf("buildah %s: %v\n%s%s", args[0], err, out, text[max(0, len(text)-8192):])
	}
	return strings.TrimSpace(string(out))
}

// cache is where buildah keeps what mounts of the Dockerfile cache.
func (i *image) cache() string { return filepath.Join(filepath.Dir(i.storage[1]), "cache") }

// build makes the image as the Dockerfile says, with layers of earlier builds where nothing has changed, and mounts it until
// the test ends.
func build(t *testing.T) *image {
	t.Helper()
	start := time.Now()
	base, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	base = filepath.Join(base, "penstock", "image")
	i := &image{}
	i.storage = []string{"--root", filepath.Join(base, "storage"), "--runroot", filepath.Join(base, "run")}
	if err := os.MkdirAll(i.cache(), 0o700); err != nil {
		t.Fatal(err)
	}
	program(t, "MMDEBSTRAP", "mmdebstrap")
	ctx, cancel := context.WithTimeout(t.Context(), imageHang)
	defer cancel()
	i.lock(t)
	i.tidy(ctx, t)
	if out, err := exec.CommandContext(ctx, "tools/base-image", i.storage...).CombinedOutput(); err != nil {
		t.Fatalf("make the image to build in: %v\n%s", err, out)
	}
	t.Logf("the image to build in is there after %.0f s", time.Since(start).Seconds())
	id := i.buildah(ctx, t, "bud", "--isolation=chroot", "--pull=never", "--format=docker", "--layers", "--quiet",
		"--volume="+authorities+":"+authorities+":ro", "--build-arg=VERSION="+imageVersion, "--build-arg=REVISION=0123abc", "--tag=penstock:e2e", "..")
	id = id[strings.LastIndexByte(id, '\n')+1:]
	container := i.buildah(ctx, t, "from", "--pull-never", id)
	t.Cleanup(func() {
		if out, err := exec.Command("buildah", append(i.storage[:4:4], "rm", container)...).CombinedOutput(); err != nil {
			t.Errorf("remove the container: %v\n%s", err, out)
		}
	})
	i.root = i.buildah(ctx, t, "mount", container)
	var described struct{ Docker struct{ Config imageConfig } }
	if err := json.Unmarshal([]byte(i.buildah(ctx, t, "inspect", "--type=image", id)), &described); err != nil {
		t.Fatal(err)
	}
	i.config = described.Docker.Config
	t.Logf("the image is there after %.0f s", time.Since(start).Seconds())
	return i
}

// lock makes builds in one storage wait for each other, until the test ends.
func (i *image) lock(t *testing.T) {
	t.Helper()
	file, err := os.Create(filepath.Join(i.cache(), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() }) // which unlocks
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
}

// tidy removes what builds left that were killed, and all layers when there are many: each change of the tree adds some 140 MB.
func (i *image) tidy(ctx context.Context, t *testing.T) {
	t.Helper()
	i.buildah(ctx, t, "rm", "--all")
	for _, name := range entries(t, i.cache()) {
		if name != "lock" && name != "buildah-cache" {
			if err := os.RemoveAll(filepath.Join(i.cache(), name)); err != nil {
				t.Error(err)
			}
		}
	}
	if len(strings.Fields(i.buildah(ctx, t, "images", "--all", "--quiet"))) > mostLayers {
		i.buildah(ctx, t, "rmi", "--all", "--force")
	}
}

// command prepares a command of the image as a container runtime would run it: the image's file system, read-only, is all that it
// sees, but for a /tmp of its own; it has the image's user and directory, and no capability. It is one process, which signals reach.
func (i *image) command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	const enter = `set -eu
root=$1 uid=${2%:*} gid=${2#*:} dir=$3; shift 3
mount --bind "$root" "$root"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero random urandom; do : >"$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs unshare --root="$root" --wd="$dir" --setuid="$uid" --setgid="$gid" -- "$@"`
	cmd := exec.CommandContext(t.Context(), "unshare", append([]string{"--mount", "--propagation=private", "sh", "-c", enter, "enter",
		i.root, i.config.User, i.config.WorkingDir}, args...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...) // all that the image sets is PATH; the programs before chroot need this machine's
	return cmd
}

// run runs a command of the image to its end and returns what it printed.
func (i *image) run(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	cmd := i.command(t, env, args...)
	killer := time.AfterFunc(hang, func() { _ = cmd.Process.Kill() })
	defer killer.Stop()
	out, err := cmd.CombinedOutput()
	return string(out), err
}
