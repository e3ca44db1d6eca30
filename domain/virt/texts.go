//go:build cgo

package virt

import (
	"regexp"
	"strings"

	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
)

// texts are libvirt's and QEMU's words, which say more than the number that
// comes with them. $1 and so on in a meaning or a next step are the groups. The
// first match wins.
var texts = []struct {
	re *regexp.Regexp
	reading
}{
	{re(`mediated device (?:\S*/)?(\S+) is in use by driver (\S+), domain (.+)`), reading{
		kind: domain.ErrInUse, meaning: "the vGPU $1 is in use by VM $3",
		next: "stop VM $3, or give this VM a vGPU of its own",
	}},
	{re(`PCI device (\S+) is in use by driver (\S+), domain (.+)`), reading{
		kind: domain.ErrInUse, meaning: "the PCI device $1 is in use by VM $3",
		next: "stop VM $3, or give this VM a device of its own",
	}},
	{re(`mediated device '([^']+)' not found`), reading{
		kind: domain.ErrNotFound, meaning: "the vGPU $1 does not exist on the host",
		cause: "it was removed, or the host was rebooted: mediated devices do not survive that",
		next:  "create it again with the same UUID and type, then repeat",
	}},
	{re(`^Device (\S+) not found: could not access`), reading{
		kind: domain.ErrNotFound, meaning: "the PCI device $1 is not on the host",
		cause: "virtual functions go when the host is rebooted, until somebody makes them again",
		next:  "look for it: lspci; make the virtual functions, such as with sriov-manage",
	}},
	{re(`no device found with alias (\S+)|device not present in domain configuration`), reading{
		kind: domain.ErrNotFound, meaning: "the VM has no such device $1", next: "list its devices: virsh dumpxml",
	}},
	{re(`vfio (\S+): error getting device from group \d+: No such device`), reading{
		kind: domain.ErrNotFound, meaning: "$1 is no vGPU: it has no type",
		cause: "it was taken away, or the host was rebooted: virtual functions lose their type then",
		next:  "give it its type again, then repeat",
	}},
	{re(`malformed uuid element|Cannot parse uuid attribute`), reading{
		kind: domain.ErrInvalid, meaning: "a UUID in the document is none", next: "correct it",
	}},
	{re(`error getting device from group (\d+)`), reading{
		meaning: "the GPU's driver refused to open the vGPU (VFIO group $1)", retry: true,
		cause: "NVIDIA's vGPU manager still cleans up after another VM, its plugin failed, or its guest settings are invalid",
		next:  "try once more; then look into dmesg and journalctl -u nvidia-vgpu-mgr",
	}},
	{re(`Could not open '(/dev/vfio/[^']+)': Device or resource busy`), reading{
		kind: domain.ErrInUse, meaning: "another process holds $1", retry: true,
		next: "find it: fuser -v $1",
	}},
	{re(`Attempted double use of PCI Address (\S+)`), reading{
		kind: domain.ErrInUse, meaning: "two devices of the VM have the guest address $1",
		next: "choose a free address, or leave it out",
	}},
	{re(`No more available PCI (slots|addresses)`), reading{
		kind: domain.ErrInUse, meaning: "the VM has no free PCI address left",
		next: "add a pcie-root-port controller to its document",
	}},
	{re(`Only one vgpu device can have 'ramfb' enabled`), reading{
		kind: domain.ErrInvalid, meaning: "only one of a VM's vGPUs may have ramfb='on'",
		next: "switch it off for the others",
	}},
	{re(`graphics device is needed for`), reading{
		kind: domain.ErrInvalid, meaning: "a vGPU with display='on' needs a <graphics> device",
		next: "add one, or set display='off'",
	}},
	{re(`does not support hotplugging|hotplug is not supported|doesn't support hotplug`), reading{
		kind: domain.ErrUnsupported, meaning: "the device's place does not allow attaching while the VM runs",
		next: "give the VM a spare pcie-root-port, and the device an address on its bus",
	}},
	{re(`no such screen ID`), reading{
		kind: domain.ErrInvalid, meaning: "the VM has no such screen", next: "use screen 0",
	}},
	{re(`already in the process of unplug`), reading{
		kind: domain.ErrState, meaning: "the guest was asked to let go of the device and has not yet",
		next: "wait, or restart the guest",
	}},
	{re(`already exists with uuid|is already defined with uuid`), reading{
		kind: domain.ErrExists, meaning: "another VM has this name or UUID",
		next: "take another name and UUID, or undefine the other VM",
	}},
	{re(`[Dd]omain '?[^']*'? is already (running|active)|domain is already running`), reading{
		kind: domain.ErrState, meaning: "the VM runs already",
	}},
	{re(`domain is not running|[Dd]omain '?[^']*'? (is )?not running`), reading{
		kind: domain.ErrState, meaning: "the VM does not run", next: "start it",
	}},
	{re(`cannot undefine domain with nvram|Refusing to undefine .*nvram`), reading{
		kind: domain.ErrState, meaning: "the VM has firmware variables (NVRAM)",
		next: "undefine it with NVRAM (remove them) or KeepNVRAM",
	}},
	{re(`while domain managed save image exists|managed save image`), reading{
		kind: domain.ErrState, meaning: "the VM has a managed save image",
		next: "start the VM, undefine it with ManagedSave, or remove the image",
	}},
	{re(`cannot (delete|undefine) .* (\d+ )?snapshots`), reading{
		kind: domain.ErrState, meaning: "the VM has snapshots",
		next: "undefine it with SnapshotsMetadata, or delete them",
	}},
	{re(`cannot (delete|undefine) .* (\d+ )?checkpoints`), reading{
		kind: domain.ErrState, meaning: "the VM has checkpoints",
		next: "undefine it with CheckpointsMetadata, or delete them",
	}},
	{re(`cannot acquire state change lock.*|unable to lock .* for .*`), reading{
		kind: domain.ErrInUse, meaning: "another job keeps the VM busy", retry: true,
		cause: "a save, migration or snapshot is under way, or QEMU hangs",
		next:  "see which: virsh domjobinfo; wait for it or abort it: virsh domjobabort",
	}},
	{re(`Failed to terminate process (\d+) with (SIG\w+)`), reading{
		kind: domain.ErrState, meaning: "QEMU (process $1) did not end on $2",
		cause: "it waits for a driver or for storage",
		next:  "wait and try again, or kill it; SIGKILL while a vGPU's driver starts can wedge the vGPU",
	}},
	{re(`VFIO migration is not supported in kernel`), reading{
		kind: domain.ErrUnsupported, meaning: "the GPU's driver cannot save or move its vGPUs",
		next: "shut the VM down instead",
	}},
	{re(`VFIO device doesn't support device and IOMMU dirty tracking|ram_save_setup failed|[Ff]ailed to start DMA logging`), reading{
		kind: domain.ErrUnsupported, meaning: "neither the vGPU nor the IOMMU logs dirty pages, so QEMU refuses to save or move the VM",
		next: "on hosts where the whole memory may be sent while the VM stands still, set x-device-dirty-page-tracking=off and enable-migration=on on the device",
	}},
	{re(`load of migration failed`), reading{
		kind: domain.ErrState, meaning: "the saved state does not fit the VM's devices",
		cause: "a vGPU of another type or driver version, or one that another attempt has left behind",
		next:  "remove and create the vGPU again with the type that it was saved with",
	}},
	{re(`cannot migrate domain`), reading{
		kind: domain.ErrUnsupported, meaning: "a device of the VM cannot be saved or moved",
	}},
	{re(`[Kk]VM is not available|kvm support is not available|could not find capabilities for domaintype=kvm|does not support virt type 'kvm'`), reading{
		kind: domain.ErrUnsupported, meaning: "the host cannot run KVM guests",
		cause: "virtualization is switched off in the firmware, or this is a VM without nesting",
		next:  "enable it (see /dev/kvm), or use <domain type='qemu'>",
	}},
	{re(`[Cc]annot check QEMU binary (\S+):|Unable to find (?:any )?emulator|[Cc]annot find suitable emulator|does not support virt type 'qemu'`), reading{
		kind: domain.ErrUnsupported, meaning: "the emulator that the document asks for is not on the host",
		next: "install QEMU: apt-get install qemu-system-x86, or correct <emulator>",
	}},
	{re(`^(?:cannot|Unable|unable|[Ff]ailed|open failed|saving domain).*: (No such file or directory)$`), reading{
		kind: domain.ErrNotFound, meaning: "a file or directory is missing on the host",
		next: "check the path; it is one of the VM's host",
	}},
	{re(`: (Permission denied|Operation not permitted)$`), reading{
		kind: domain.ErrPermission, meaning: "the host's kernel forbids it",
		cause: "a file belongs to another user than QEMU's, or AppArmor or SELinux protects it",
		next:  "check the owner and mode of the file, and dmesg for DENIED",
	}},
	{re(`No space left on device`), reading{
		kind: domain.ErrState, meaning: "the host's disk is full", next: "make room, then repeat",
	}},
	{re(`unsupported flags \((0x[0-9a-fA-F]+)\)`), reading{
		kind: domain.ErrUnsupported, meaning: "this hypervisor driver does not know an option ($1)",
	}},
	{re(`vfio .*: failed to (?:setup container|open /dev/vfio/vfio)|VFIO_MAP_DMA|[Cc]annot (?:limit|set) locked memory`), reading{
		meaning: "the guest's memory cannot be pinned for the vGPU",
		cause:   "the limit of locked memory is too low", next: "raise it: <memtune><hard_limit>, or LimitMEMLOCK of the daemon",
	}},
}

var group = regexp.MustCompile(`\$\d`)

func re(s string) *regexp.Regexp { return regexp.MustCompile(s) }

func explainText(e *Error, lv libvirt.Error) bool {
	msg := oneLine(lv.Message)
	for _, t := range texts {
		m := t.re.FindStringSubmatch(msg)
		if m == nil {
			continue
		}
		r := t.reading
		fill := func(s string) string {
			return group.ReplaceAllStringFunc(s, func(ref string) string {
				if i := int(ref[1] - '0'); i < len(m) {
					return strings.TrimRight(m[i], ".:,")
				}
				return ref
			})
		}
		r.meaning, r.next = strings.TrimSpace(fill(r.meaning)), fill(r.next)
		r.apply(e)
		return true
	}
	return false
}
