//go:build cgo

package virt

import (
	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
)

// A reading is what a libvirt error means to somebody who runs vGPU VMs.
type reading struct {
	kind                 error
	meaning, cause, next string
	retry                bool
}

func (r reading) apply(e *Error) {
	e.Kind, e.Retry = r.kind, r.retry
	e.Meaning, e.Cause, e.Next = r.meaning, r.cause, r.next
}

// codes is by libvirt's number, for errors whose words say nothing more. See
// https://libvirt.org/html/libvirt-virterror.html#virErrorNumber
var codes = map[libvirt.ErrorNumber]reading{
	libvirt.ERR_NO_DOMAIN: {
		kind: domain.ErrNotFound, meaning: "there is no such VM",
		next: "list the VMs: virsh list --all",
	},
	libvirt.ERR_NO_DOMAIN_METADATA: {kind: domain.ErrNotFound, meaning: "the VM has no such metadata"},
	libvirt.ERR_NO_DOMAIN_SNAPSHOT: {kind: domain.ErrNotFound, meaning: "the VM has no such snapshot"},
	libvirt.ERR_DEVICE_MISSING: {
		kind: domain.ErrNotFound, meaning: "a device is not there",
		cause: "it was removed, or the host was rebooted and it was not made again",
		next:  "list the host's vGPUs and create the missing one",
	},
	libvirt.ERR_DOM_EXIST: {
		kind: domain.ErrExists, meaning: "such a VM exists already",
		next: "take another name and UUID, or undefine the other VM",
	},
	libvirt.ERR_OPERATION_INVALID: {
		kind: domain.ErrState, meaning: "the VM is in the wrong state for this",
		next: "look at the VM's state: virsh domstate",
	},
	libvirt.ERR_BLOCK_COPY_ACTIVE: {
		kind: domain.ErrState, meaning: "a block job is active",
		next: "wait for it or abort it: virsh blockjob",
	},
	libvirt.ERR_AGENT_UNRESPONSIVE: {
		kind: domain.ErrState, meaning: "the guest agent does not answer",
		cause: "it is not installed or not running in the guest", next: "use ACPI instead",
	},
	libvirt.ERR_OPERATION_ABORTED: {
		kind: domain.ErrState, meaning: "the job was aborted by another program or person",
		next: "repeat it when the reason is gone",
	},
	libvirt.ERR_OPERATION_TIMEOUT: {
		kind: domain.ErrInUse, meaning: "another job keeps the VM busy", retry: true,
		cause: "a save, migration or snapshot is under way, or QEMU hangs",
		next:  "see which: virsh domjobinfo; wait for it or abort it: virsh domjobabort",
	},
	libvirt.ERR_RESOURCE_BUSY: {
		kind: domain.ErrInUse, meaning: "something that it needs is in use", retry: true,
		next: "stop what uses it, then try again",
	},
	libvirt.ERR_XML_ERROR: {
		kind: domain.ErrInvalid, meaning: "the document is not accepted",
		next: "correct it; virt-xml-validate shows where",
	},
	libvirt.ERR_XML_DETAIL: {
		kind: domain.ErrInvalid, meaning: "the document is not well-formed",
		next: "correct it; xmllint shows where",
	},
	libvirt.ERR_XML_INVALID_SCHEMA: {
		kind: domain.ErrInvalid, meaning: "the document does not fit libvirt's schema",
		next: "correct it; virt-xml-validate shows where",
	},
	libvirt.ERR_OS_TYPE: {kind: domain.ErrInvalid, meaning: "the document's <os><type> is unknown", next: "use <type>hvm</type>"},
	libvirt.ERR_NO_NAME: {kind: domain.ErrInvalid, meaning: "the document has no <name>", next: "add one"},
	libvirt.ERR_NO_OS:   {kind: domain.ErrInvalid, meaning: "the document has no <os>", next: "add <os><type>hvm</type></os>"},
	libvirt.ERR_NO_DEVICE: {
		kind: domain.ErrInvalid, meaning: "the document lacks devices", next: "add <devices>",
	},
	libvirt.ERR_INVALID_ARG: {
		kind: domain.ErrInvalid, meaning: "libvirt refuses an argument", next: "correct what its words name",
	},
	libvirt.ERR_INVALID_MAC: {kind: domain.ErrInvalid, meaning: "a MAC address is invalid", next: "correct it"},
	libvirt.ERR_OVERFLOW:    {kind: domain.ErrInvalid, meaning: "a number is too large", next: "correct it"},
	libvirt.ERR_CONFIG_UNSUPPORTED: {
		kind: domain.ErrUnsupported, meaning: "this host cannot run the VM as its document asks",
		cause: "the machine type, the emulator or libvirt lacks a feature, or two settings exclude each other",
		next:  "compare the document with virsh domcapabilities",
	},
	libvirt.ERR_NO_SUPPORT: {
		kind: domain.ErrUnsupported, meaning: "this hypervisor driver cannot do it",
	},
	libvirt.ERR_ARGUMENT_UNSUPPORTED: {
		kind: domain.ErrUnsupported, meaning: "this libvirt or QEMU does not support an option",
	},
	libvirt.ERR_OPERATION_UNSUPPORTED: {
		kind: domain.ErrUnsupported, meaning: "it is not supported for this VM",
	},
	libvirt.ERR_CPU_INCOMPATIBLE: {
		kind: domain.ErrUnsupported, meaning: "the host's CPU lacks what the VM's CPU model needs",
		next: "choose another CPU model",
	},
	libvirt.ERR_MIGRATE_UNSAFE: {
		kind: domain.ErrUnsupported, meaning: "moving the VM may corrupt its disks",
		cause: "a disk is cached by the host and not on shared storage", next: `set cache="none" on its disks`,
	},
	libvirt.ERR_MIGRATE_PERSIST_FAILED: {
		kind: domain.ErrState, meaning: "the VM was moved, but its definition was not saved at the destination",
		next: "define it there from its live document",
	},
	libvirt.ERR_OPERATION_DENIED: {kind: domain.ErrPermission, meaning: "not allowed", next: "connect with write access"},
	libvirt.ERR_ACCESS_DENIED: {
		kind: domain.ErrPermission, meaning: "libvirt's access rules forbid it",
		next: "ask for a polkit rule that allows it",
	},
	libvirt.ERR_AUTH_FAILED: {
		kind: domain.ErrPermission, meaning: "libvirt does not accept the user",
		cause: "not root and not in the group libvirt, or the remote side wants a login",
		next:  "add the user to the group libvirt, or run as root; for SASL use libvirt's auth.conf",
	},
	libvirt.ERR_AUTH_CANCELLED: {
		kind: domain.ErrPermission, meaning: "the login was cancelled",
		cause: "nothing here asks for passwords", next: "use keys, certificates or libvirt's auth.conf",
	},
	libvirt.ERR_AUTH_UNAVAILABLE: {
		kind: domain.ErrPermission, meaning: "libvirt does not accept the user",
		cause: "not root and not in the group libvirt, and there is no polkit agent to ask",
		next:  "add the user to the group libvirt, or run as root",
	},
	libvirt.ERR_INVALID_CONN: {kind: domain.ErrUnavailable, meaning: "there is no connection", retry: true},
	libvirt.ERR_NO_CONNECT: {
		kind: domain.ErrUnavailable, meaning: "libvirt has no driver for this URI",
		cause: "the driver is not installed", next: "install libvirt-daemon-driver-qemu",
	},
	libvirt.ERR_UNKNOWN_HOST: {
		kind: domain.ErrUnavailable, meaning: "the host's name is unknown", next: "check the name in the URI",
	},
	libvirt.ERR_RPC: {
		kind: domain.ErrUnavailable, meaning: "talking to the daemon failed", retry: true,
		next: "check the daemon: systemctl status libvirtd virtqemud",
	},
	libvirt.ERR_GNUTLS_ERROR: {
		kind: domain.ErrUnavailable, meaning: "the encrypted connection failed",
		cause: "a certificate is missing, expired or for another name",
		next:  "see https://libvirt.org/kbase/tlscerts.html; virt-pki-validate checks the local side",
	},
	libvirt.ERR_SSH:    sshFailed,
	libvirt.ERR_LIBSSH: sshFailed,
}

var sshFailed = reading{
	kind: domain.ErrUnavailable, meaning: "the ssh connection failed",
	cause: "no key that the host accepts, or the host's key is not known; nothing here asks for passwords",
	next:  "make \"ssh -o BatchMode=yes host true\" work first",
}

func explainCode(e *Error, lv libvirt.Error) bool {
	r, ok := codes[lv.Code]
	if ok {
		r.apply(e)
	}
	return ok
}
