//go:build cgo

package virt

import (
	"context"
	"strings"

	"libvirt.org/go/libvirt"
)

// Monitor runs a command of QEMU's human monitor, such as "info pci", and
// returns what it prints; also its complaints about a wrong command. libvirt
// marks the VM as tainted. Do not change behind libvirt's back what it manages.
func (c *Conn) Monitor(ctx context.Context, vm, command string) (string, error) {
	if err := checkText("run a monitor command in", vm, "the command", command); err != nil {
		return "", err
	}
	out, err := onDomain(ctx, c, "run a monitor command in", vm, acts, func(_ *link, d *libvirt.Domain) (string, error) {
		return d.QemuMonitorCommand(command, libvirt.DOMAIN_QEMU_MONITOR_COMMAND_HMP)
	})
	return strings.ReplaceAll(out, "\r\n", "\n"), err
}

// QMP sends a command in QEMU's JSON protocol, such as
// {"execute":"query-status"}, and returns the whole answer, which holds either
// "return" or "error". The remarks on [Conn.Monitor] hold.
func (c *Conn) QMP(ctx context.Context, vm, command string) (string, error) {
	if err := checkText("run a QMP command in", vm, "the command", command); err != nil {
		return "", err
	}
	return onDomain(ctx, c, "run a QMP command in", vm, acts, func(_ *link, d *libvirt.Domain) (string, error) {
		return d.QemuMonitorCommand(command, libvirt.DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT)
	})
}
