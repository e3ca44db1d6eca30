package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// need is something of the host's that the lab can't do without.
type need struct {
	program string // looked up in the usual places
	file    string // or this file
	pkg     string // Debian's and Ubuntu's package
	unless  bool   // not needed when true
}

var (
	toBoot = []need{
		{program: "qemu-system-x86_64", pkg: "qemu-system-x86"},
		{file: "/usr/share/qemu/pvh.bin", pkg: "qemu-system-data"},
		{file: "/usr/share/seabios/bios-256k.bin", pkg: "seabios"},
	}
	toBuild = []need{
		{program: "mmdebstrap", pkg: "mmdebstrap"},
		{program: "arch-test", pkg: "arch-test"},
		{file: "/usr/share/keyrings/debian-archive-keyring.gpg", pkg: "debian-archive-keyring"},
		{program: "mke2fs", pkg: "e2fsprogs"},
		{program: "unshare", pkg: "util-linux"},
		{program: "newuidmap", pkg: "uidmap", unless: os.Geteuid() == 0},
	}
)

// programDirs are looked in beside $PATH: an ordinary user's seldom has the last two.
var programDirs = []string{"/usr/sbin", "/sbin"}

// install installs what is missing of needs, if it may; else it says how to.
func install(ctx context.Context, progress *Progress, needs []need) error {
	packages := missing(needs)
	if len(packages) == 0 {
		return nil
	}
	command := "apt-get install --no-install-recommends " + strings.Join(packages, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("the lab needs what Debian's packages %s have; this host has no apt-get, install them in its own way", strings.Join(packages, ", "))
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("the lab needs more programs on this host; run: sudo %s", command)
	}
	err := timed(progress, "install "+strings.Join(packages, ", "), func() error {
		if err := aptGet(ctx, append([]string{"install", "--no-install-recommends"}, packages...)...); err == nil || ctx.Err() != nil {
			return err
		}
		// Most often there are no package lists yet, or old ones.
		if err := aptGet(ctx, "update"); err != nil {
			return err
		}
		return aptGet(ctx, append([]string{"install", "--no-install-recommends"}, packages...)...)
	})
	if err != nil {
		return fmt.Errorf("install what the lab needs: %w\nmend that, or run it yourself: %s", err, command)
	}
	if left := missing(needs); len(left) > 0 {
		return fmt.Errorf("packages %s are installed, yet what the lab needs of them is not found", strings.Join(left, ", "))
	}
	return nil
}

func missing(needs []need) []string {
	var packages []string
	for _, n := range needs {
		if n.unless || n.present() || slices.Contains(packages, n.pkg) {
			continue
		}
		packages = append(packages, n.pkg)
	}
	return packages
}

func (n need) present() bool {
	if n.file != "" {
		_, err := os.Stat(n.file)
		return err == nil
	}
	_, err := findProgram(n.program)
	return err == nil
}

func findProgram(name string) (string, error) {
	found, err := exec.LookPath(name)
	if err == nil {
		return found, nil
	}
	for _, d := range programDirs {
		if f, e := exec.LookPath(d + "/" + name); e == nil {
			return f, nil
		}
	}
	return "", err
}

func aptGet(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-q", "-y", "-o", "DPkg::Lock::Timeout=300"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	// Interrupted, apt finishes the package at hand, so that dpkg's database stays sound.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	tail := &tailBuffer{limit: 4 << 10}
	cmd.Stdout, cmd.Stderr = tail, tail
	cmd.WaitDelay = time.Minute
	err := cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, tail)
	}
	return err
}
