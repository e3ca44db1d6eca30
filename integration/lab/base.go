package lab

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

const suite = "trixie"

// The userland of the machine. Its kernel comes from the kernel tree below, so nothing here
// makes an initramfs.
var userland = []string{
	"--variant=minbase",
	"--dpkgopt=path-exclude=/usr/share/doc/*",
	"--dpkgopt=path-exclude=/usr/share/man/*",
	"--dpkgopt=path-exclude=/usr/share/info/*",
	"--dpkgopt=path-exclude=/usr/share/locale/*",
	"--include=" + strings.Join([]string{
		"libvirt-daemon-system", "libvirt-daemon-driver-qemu", "libvirt-clients",
		"qemu-system-x86", "qemu-utils", "seabios", "mdevctl",
		"systemd-sysv", "udev", "kmod", "dbus", "iproute2", "procps", "strace",
		"dropbear-bin",
	}, ","),
}

// The kernel, and what builds modules for it. Its packages are unpacked but not set up,
// which a compiler can do without.
var kernelTree = []string{
	"--variant=extract",
	"--include=" + strings.Join([]string{
		"linux-headers-amd64", "linux-source", "gcc", "libc6-dev", "make",
		"dash", "coreutils", "sed", "grep", "mawk", "findutils", "diffutils", "tar",
		"base-files", "kmod", "xz-utils", "zstd", "busybox-static",
	}, ","),
}

// fetching is said to both: nothing but what is named, and a second try when a mirror hiccups. Quiet,
// mmdebstrap would not tell what apt failed at.
var fetching = []string{
	"--aptopt=APT::Install-Recommends \"false\"",
	"--aptopt=APT::Sandbox::User \"root\"",
	"--aptopt=Acquire::Retries \"3\"",
	"--aptopt=Acquire::http::Timeout \"30\"",
	"--aptopt=Acquire::Languages \"none\"",
	"--dpkgopt=force-unsafe-io",
}

// buildSamples is run in the kernel tree. It leaves /work for modules of others.
const buildSamples = `set -e
ln -sf mawk /usr/bin/awk
version=$(basename /lib/modules/*)
depmod "$version"
mkdir /work /samples
cd /samples
xz -dc -T0 /usr/src/linux-source-*.tar.xz | tar -x --strip-components=3 --wildcards '*/samples/vfio-mdev/*.[ch]'
rm /usr/src/linux-source-*.tar.xz
echo 'obj-m := mtty.o mdpy.o mbochs.o' >Kbuild
make -s -j2 -C "/lib/modules/$version/build" M=/samples modules
`

// base is the slow part of an image: all that is downloaded.
type base struct {
	*entry
}

func (b base) userland() string   { return filepath.Join(b.dir, "userland") }
func (b base) kernelTree() string { return filepath.Join(b.dir, "kernel") }

func baseKey() string {
	return key([]byte(suite), []byte(strings.Join(userland, "\n")), []byte(strings.Join(kernelTree, "\n")),
		[]byte(strings.Join(fetching, "\n")), []byte(buildSamples))
}

func buildBase(ctx context.Context, c *cache, progress *Progress) (base, error) {
	e, err := c.entry(ctx, "base", baseKey(), func(ctx context.Context, dir string) error {
		b := base{&entry{dir: dir}}
		return both(ctx,
			func(ctx context.Context) error {
				return timed(progress, "fetch Debian "+suite+", libvirt and QEMU", func() error {
					return debootstrap(ctx, dir, userland, b.userland())
				})
			},
			func(ctx context.Context) error {
				err := timed(progress, "fetch the kernel", func() error {
					return debootstrap(ctx, dir, kernelTree, b.kernelTree())
				})
				if err != nil {
					return err
				}
				return timed(progress, "build mtty, mdpy and mbochs", func() error {
					_, err := inRoot(ctx, b.kernelTree(), "", "sh", "-c", buildSamples)
					return err
				})
			})
	})
	return base{e}, err
}

func debootstrap(ctx context.Context, tmp string, options []string, root string) error {
	args := append([]string{"--mode=root", "--format=directory"}, fetching...)
	args = append(append(args, options...), suite, root)
	if _, err := confined(ctx, []string{"TMPDIR=" + tmp}, "mmdebstrap", args...); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return notFetched.explain(err)
	}
	return os.Chmod(root, 0o755)
}

func timed(progress *Progress, name string, do func() error) error {
	end := progress.Step(name)
	err := do()
	end(err)
	return err
}

// both does two things at once. When one fails the other is cancelled, and its error, which
// then says only so, is dropped.
func both(ctx context.Context, one, other func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var first error
	var once sync.Once
	var wait sync.WaitGroup
	for _, do := range []func(context.Context) error{one, other} {
		wait.Go(func() {
			if err := do(ctx); err != nil {
				once.Do(func() { first = err; cancel(err) })
			}
		})
	}
	wait.Wait()
	return first
}
