//go:build cgo

package virt

import (
	"regexp"
	"strings"

	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
)

// socketPath finds the socket in "Failed to connect socket to '/run/…/libvirt-sock': …".
var socketPath = regexp.MustCompile(`[Ff]ailed to connect socket to '([^']+)': (.+)`)

// explainLibrary knows the errors of the binding's loader (libvirt_dlopen).
func explainLibrary(e *Error, lv libvirt.Error) bool {
	if lv.Code != libvirt.ERR_INTERNAL_ERROR || lv.Domain != libvirt.FROM_NONE {
		return false
	}
	switch msg := lv.Message; {
	case strings.Contains(msg, "Failed to open libvirt.so.0") || strings.HasPrefix(msg, "libvirt.so.0:"):
		e.Kind = domain.ErrUnavailable
		e.Meaning = "the library libvirt.so.0 is not on this host"
		e.Next = "install it: apt-get install libvirt0 (Fedora: dnf install libvirt-libs)"
	case strings.HasPrefix(msg, "Failed to open libvirt-qemu.so.0") || strings.HasPrefix(msg, "libvirt-qemu.so.0:"):
		e.Kind = domain.ErrUnsupported
		e.Meaning = "the library libvirt-qemu.so.0 is not on this host"
		e.Next = "install it: apt-get install libvirt0 (Fedora: dnf install libvirt-libs)"
	case strings.HasPrefix(msg, "Failed to load vir") || strings.Contains(msg, "undefined symbol: vir"):
		e.Kind = domain.ErrUnsupported
		e.Meaning = "this host's libvirt is too old for it"
		e.Next = "install a newer libvirt"
	default:
		return false
	}
	return true
}

// explainConnection knows why a daemon cannot be reached.
func explainConnection(e *Error, lv libvirt.Error) bool {
	if m := socketPath.FindStringSubmatch(lv.Message); m != nil {
		explainSocket(e, m[1], m[2])
		return true
	}
	if lv.Domain == libvirt.FROM_RPC || lv.Domain == libvirt.FROM_REMOTE {
		switch lv.Code {
		case libvirt.ERR_SYSTEM_ERROR, libvirt.ERR_INTERNAL_ERROR, libvirt.ERR_OPERATION_FAILED:
			e.Kind = domain.ErrUnavailable
			e.Retry = true
			e.Meaning = "libvirt cannot be reached"
			e.Cause, e.Next = remoteCause(lv.Message)
			return true
		}
	}
	return false
}

func explainSocket(e *Error, path, why string) {
	e.Retry = true
	unit := "libvirtd.socket"
	if strings.Contains(path, "virtqemud") {
		unit = "virtqemud.socket"
	}
	start := "start it: systemctl start " + unit
	if !strings.HasPrefix(path, "/run/libvirt/") && !strings.HasPrefix(path, "/var/run/libvirt/") {
		start = "start the user's daemon: " + strings.TrimSuffix(unit, ".socket") + " --daemon"
		if strings.HasPrefix(unit, "libvirtd") {
			start += " (or virtqemud --daemon)"
		}
	} else if unit == "libvirtd.socket" {
		start += " (with the modular daemons: systemctl start virtqemud.socket)"
	}
	if strings.Contains(why, "Permission denied") {
		e.Kind, e.Retry = domain.ErrPermission, false
		e.Meaning = "no permission to use libvirt's socket " + path
		e.Cause = "the user is not in the group libvirt"
		e.Next = "run as root, or: usermod -aG libvirt USER, and log in again"
		return
	}
	e.Kind = domain.ErrUnavailable
	e.Meaning = "libvirt's daemon does not listen on " + path
	e.Next = start
	switch {
	case strings.Contains(why, "No such file"):
		e.Cause = "the daemon is not running, or not installed"
		e.Next += "; install it: apt-get install libvirt-daemon-system"
	case strings.Contains(why, "Connection refused"):
		e.Cause = "the daemon has died and left its socket behind"
	}
}

// remoteCause reads the words of a failed or broken connection.
func remoteCause(msg string) (cause, next string) {
	const check = "check the daemon: systemctl status libvirtd virtqemud"
	switch {
	case strings.Contains(msg, "No route to host"), strings.Contains(msg, "Network is unreachable"),
		strings.Contains(msg, "Connection timed out"):
		return "the host is down or the network does not lead there", "check the host's name and the network"
	case strings.Contains(msg, "Connection refused"):
		return "nothing listens on that port", "on the host start what listens there: systemctl start libvirtd-tls.socket, libvirtd-tcp.socket or ssh"
	case strings.Contains(msg, "certificate"):
		return "the files of libvirt's TLS set-up are missing or wrong", codes[libvirt.ERR_GNUTLS_ERROR].next
	case strings.Contains(msg, "unable to connect to server at"):
		return "the host or its daemon is down", "check the host's name, the port and the daemon there"
	case strings.Contains(msg, "Host key verification failed"), strings.Contains(msg, "Permission denied"):
		return "ssh has no key that the host accepts, or does not know the host", sshFailed.next
	case strings.Contains(msg, "ssh"), strings.Contains(msg, "Cannot recv data"):
		return "the tunnel to the host broke or could not be made", sshFailed.next
	case strings.Contains(msg, "does not exist in $PATH"), strings.Contains(msg, "Cannot find"):
		return "the user's daemon is not installed", "install it: apt-get install libvirt-daemon-system"
	case strings.Contains(msg, "End of file"), strings.Contains(msg, "client socket is closed"),
		strings.Contains(msg, "keepalive timeout"), strings.Contains(msg, "Broken pipe"), strings.Contains(msg, "reset by peer"):
		return "the daemon was restarted, was killed, or hangs", check
	}
	return "", check
}
