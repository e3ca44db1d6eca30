package lab

import (
	"context"
	"fmt"
	"strings"
)

// clues are what unshare and mmdebstrap say when they fail, and what to make of it, the most telling
// first.
type clues []struct{ says, cause string }

var unconfined = clues{
	{"cannot change root filesystem propagation: Invalid argument", "/ is no mount point here, as in a plain chroot, so the kernel makes no mounts of the lab's own; " +
		"bind the directory on itself before you enter it (mount --bind DIR DIR; chroot DIR), or run the lab outside"},
	{"mount /proc failed: No such file or directory", "there is no directory /proc here: make it, and mount it (mount -t proc proc /proc)"},
	{"mount /proc failed", "a container keeps /proc from being mounted anew: give it more rights (docker run --privileged), or run the lab outside"},
	{"/etc/subuid", "this user has no ids for a namespace: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER, or run the lab as root"},
	{"/etc/subgid", "this user has no ids for a namespace: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER, or run the lab as root"},
	{"unshare failed: Operation not permitted", "no right to make namespaces: a container without CAP_SYS_ADMIN (docker run --privileged has it), a chroot that is not root's, " +
		"or a host that keeps users from it (sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns), where root may"},
	{"unshare failed: No space left on device", "no more namespaces are allowed here: sysctl user.max_user_namespaces, user.max_mnt_namespaces and user.max_pid_namespaces"},
	{"/proc/", "/proc is not mounted here: mount -t proc proc /proc"},
}

var notFetched = clues{
	{"No space left on device", "the disk of the lab's cache is full; " + CacheEnv + " names another place for it"},
	{"noexec or nodev", "the lab's cache is where no programs or devices may be; " + CacheEnv + " names another place for it"},
	{"resolv", "no way to a Debian mirror: names cannot be looked up here (/etc/resolv.conf)"},
	{"onnect to", "no way to a Debian mirror: no network, or a proxy that apt does not know of (http_proxy)"},
	{"onnection ", "no way to a Debian mirror: no network, or a proxy that apt does not know of (http_proxy)"},
	{"is not signed", "the mirror's signatures do not hold: see the host's clock, and whether debian-archive-keyring is up to date"},
	{"Failed to fetch", "a Debian mirror does not have what it should, or is out of reach; try again"},
}

// in is the likely cause of an error by what a program said; "" if it said nothing telling.
func (c clues) in(said string) string {
	for _, clue := range c {
		if strings.Contains(said, clue.says) {
			return clue.cause
		}
	}
	return ""
}

// explain adds the likely cause to an error.
func (c clues) explain(err error) error {
	if cause := c.in(err.Error()); cause != "" {
		return fmt.Errorf("%w\nlikely: %s", err, cause)
	}
	return err
}

// tryConfined says whether programs can be confined on this host, and if not why.
func tryConfined(ctx context.Context) error {
	_, err := confined(ctx, nil, "true")
	if err == nil || ctx.Err() != nil {
		return err
	}
	return unconfined.explain(fmt.Errorf("the lab is built in namespaces of its own, which this host does not make: %w", err))
}
