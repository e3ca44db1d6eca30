package simfs

import (
	"context"
	"errors"
	"syscall"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// befall plays what befalls VMs and their libvirt, and no client of libvirt's can do.
func (c *control) befall(ctx context.Context, words []string) error {
	if c.libvirt == nil || len(words) < 2 {
		return syscall.EINVAL
	}
	switch what, subject, rest := words[0], words[1], words[2:]; {
	case what == "crash" && len(rest) == 0:
		return c.libvirt.Crash(ctx, subject)
	case what == "poweroff" && len(rest) == 0:
		return c.libvirt.PowerOff(ctx, subject)
	case what == "guest":
		vm, err := c.libvirt.Info(ctx, subject)
		if err != nil {
			return err
		}
		guest, err := newGuest(rest)
		if err == nil {
			c.libvirt.SetGuest(vm.Name, guest)
		}
		return err
	case what == "libvirtd" && len(rest) == 0:
		return c.daemon(subject)
	}
	return syscall.EINVAL
}

// newGuest is one that behaves, but for what the words say.
func newGuest(words []string) (g vgputest.Guest, err error) {
	for _, word := range words {
		switch word {
		case "deaf":
			g.Deaf = true
		case "ignores-sigterm":
			g.IgnoresSIGTERM = true
		case "ignores-sigkill":
			g.IgnoresSIGKILL = true
		default:
			return g, syscall.EINVAL
		}
	}
	return g, nil
}

func (c *control) daemon(what string) error {
	switch what {
	case "restart":
		c.libvirt.RestartDaemon()
	case "stop":
		c.libvirt.SetDown(true)
	case "start":
		c.libvirt.SetDown(false)
	default:
		return syscall.EINVAL
	}
	return nil
}

// libvirtErrno is what a write fails with that libvirt refuses.
func libvirtErrno(err error) error {
	for kind, e := range map[error]syscall.Errno{
		domain.ErrNotFound: syscall.ENOENT, domain.ErrState: syscall.ESRCH, domain.ErrUnavailable: syscall.ECONNREFUSED,
	} {
		if errors.Is(err, kind) {
			return e
		}
	}
	return err
}
