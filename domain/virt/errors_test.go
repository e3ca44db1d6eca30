//go:build cgo

package virt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
)

var sentinels = []error{
	domain.ErrInvalid, domain.ErrNotFound, domain.ErrExists, domain.ErrInUse,
	domain.ErrState, domain.ErrUnavailable, domain.ErrPermission, domain.ErrUnsupported,
}

// libvirt's errors, as real hosts gave them, become the sentinel that fits, name
// what they are about, and keep libvirt's number.
func TestExplain(t *testing.T) {
	for _, tt := range []struct {
		code, dom int
		msg       string
		is        error // nil: no sentinel
		says      string
		hint      string
		retry     bool
	}{
		{42, 10, "Domain not found: no domain with matching name 'x'", domain.ErrNotFound, "no such VM", "virsh list", false},
		{99, 0, "device not found: mediated device 'c0ffee00-0000-4000-8000-000000000001' not found", domain.ErrNotFound, "vGPU c0ffee00-0000-4000-8000-000000000001 does not exist", "create it again", false},
		{99, 10, "device not found: no device matching alias hostdev7", domain.ErrNotFound, "a device is not there", "", false},
		{55, 0, "Requested operation is not valid: mediated device c0ffee00-0000-4000-8000-000000000001 is in use by driver QEMU, domain other", domain.ErrInUse, "in use by VM other", "stop VM other", false},
		{55, 0, "Requested operation is not valid: mediated device /sys/bus/mdev/devices/c0ffee00-0000-4000-8000-000000000001 is in use by driver QEMU, domain other", domain.ErrInUse, "vGPU c0ffee00-0000-4000-8000-000000000001 is in use by VM other", "stop VM other", false},
		{38, 0, "Device 0000:99:00.4 not found: could not access /sys/bus/pci/devices/0000:99:00.4/config: No such file or directory", domain.ErrNotFound, "0000:99:00.4 is not on the host", "sriov-manage", false},
		{1, 10, "internal error: process exited while connecting to monitor: vfio 0000:61:00.4: error getting device from group 5: No such device\nVerify all devices in group 5 are bound to vfio-<bus> or pci-stub and not already in use", domain.ErrNotFound, "0000:61:00.4 is no vGPU", "type again", false},
		{1, 20, "internal error: malformed uuid element", domain.ErrInvalid, "a UUID in the document is none", "correct it", false},
		{1, 20, "internal error: no device found with alias hostdev9", domain.ErrNotFound, "no such device hostdev9", "dumpxml", false},
		{99, 10, "device not found: device not present in domain configuration", domain.ErrNotFound, "no such device ", "dumpxml", false},
		{27, 20, "XML error: The device at PCI address 0000:00:09.0 requires hotplug capability, but the PCI controller with index='0' doesn't support hotplug", domain.ErrUnsupported, "attaching", "pcie-root-port", false},
		{9, 10, "operation failed: job 'domain save' failed: ram_save_setup failed: Operation not supported", domain.ErrUnsupported, "dirty pages", "x-device-dirty-page-tracking", false},
		{67, 10, "unsupported configuration: Emulator '/usr/bin/qemu-system-x86_64' does not support machine type 'q36'", domain.ErrUnsupported, "cannot run", "domcapabilities", false},
		{55, 0, "Requested operation is not valid: PCI device 0000:41:00.4 is in use by driver QEMU, domain web 2", domain.ErrInUse, "0000:41:00.4 is in use by VM web 2", "stop VM web 2", false},
		{55, 10, "Requested operation is not valid: domain is already running", domain.ErrState, "runs already", "", false},
		{55, 10, "Requested operation is not valid: domain is not running", domain.ErrState, "does not run", "", false},
		{55, 10, "Requested operation is not valid: cannot undefine domain with nvram", domain.ErrState, "NVRAM", "KeepNVRAM", false},
		{55, 10, "Requested operation is not valid: cannot delete inactive domain with 2 snapshots", domain.ErrState, "snapshots", "SnapshotsMetadata", false},
		{55, 10, "Requested operation is not valid: no job is active on the domain", domain.ErrState, "wrong state", "", false},
		{78, 10, "operation aborted: migration out job: canceled by client", domain.ErrState, "aborted", "", false},
		{9, 10, "operation failed: migration failed. Message from the source host: operation failed: job 'migration out' failed: Channel error: Input/output error", nil, "Channel error", "", false},
		{9, 10, "operation failed: load of migration failed: Bad address", domain.ErrState, "does not fit", "create the vGPU again", false},
		{9, 10, "operation failed: domain 'a' already exists with uuid 5e9cc582-5158-431f-ae8a-6bff0281dc6e", domain.ErrExists, "another VM", "", false},
		{67, 20, "unsupported configuration: Target device PCI address 0000:07:00.0 does not match source 0000:06:00.0", domain.ErrUnsupported, "cannot run", "", false},
		{67, 10, "unsupported configuration: Only one vgpu device can have 'ramfb' enabled", domain.ErrInvalid, "ramfb", "", false},
		{67, 10, "unsupported configuration: graphics device is needed for attribute value 'display=on' in <hostdev>", domain.ErrInvalid, "graphics", "", false},
		{27, 10, "XML error: Attempted double use of PCI Address 0000:00:08.0", domain.ErrInUse, "0000:00:08.0", "free address", false},
		{1, 10, "internal error: unable to execute QEMU command 'migrate': VFIO migration is not supported with postcopy migration", nil, "postcopy", "", false},
		{1, 10, "internal error: unable to execute QEMU command 'migrate': 0000:00:08.0: VFIO migration is not supported in kernel", domain.ErrUnsupported, "cannot save or move", "", false},
		{1, 10, "internal error: qemu unexpectedly closed the monitor: -device vfio-pci: vfio c0ffee00: error getting device from group 19: Input/output error\nVerify all devices in group 19 are bound to vfio-<bus> or pci-stub and not already in use", nil, "group 19", "nvidia-vgpu-mgr", true},
		{1, 10, "internal error: process exited while connecting to monitor: Could not open '/dev/vfio/0': Device or resource busy", domain.ErrInUse, "/dev/vfio/0", "fuser -v /dev/vfio/0", true},
		{1, 10, "internal error: unable to execute QEMU command 'device_del': Device hostdev0 is already in the process of unplug", domain.ErrState, "asked to let go", "", false},
		{38, 7, "End of file while reading data: Input/output error", domain.ErrUnavailable, "cannot be reached", "systemctl status", true},
		{1, 7, "internal error: client socket is closed", domain.ErrUnavailable, "cannot be reached", "systemctl status", true},
		{38, 7, "unable to connect to server at 'labb:16509': No route to host", domain.ErrUnavailable, "network does not lead there", "network", true},
		{38, 7, "Failed to connect socket to '/var/run/libvirt/libvirt-sock': No such file or directory", domain.ErrUnavailable, "/var/run/libvirt/libvirt-sock", "systemctl start libvirtd.socket", true},
		{38, 7, "Failed to connect socket to '/var/run/libvirt/virtqemud-sock': Connection refused", domain.ErrUnavailable, "/var/run/libvirt/virtqemud-sock", "systemctl start virtqemud.socket", true},
		{38, 7, "Failed to connect socket to '/run/user/1000/libvirt/virtqemud-sock': No such file or directory", domain.ErrUnavailable, "/run/user/1000/libvirt/virtqemud-sock", "virtqemud --daemon", true},
		{38, 7, "Failed to connect socket to '/run/user/1000/libvirt/libvirt-sock': No such file or directory", domain.ErrUnavailable, "/run/user/1000/libvirt/libvirt-sock", "libvirtd --daemon", true},
		{38, 7, "Failed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied", domain.ErrPermission, "/var/run/libvirt/libvirt-sock", "usermod -aG libvirt", false},
		{38, 7, "Cannot recv data: Host key verification failed.: Connection reset by peer", domain.ErrUnavailable, "ssh", "BatchMode", true},
		{38, 7, "Cannot read CA certificate '/etc/pki/CA/cacert.pem': No such file or directory", domain.ErrUnavailable, "cacert.pem", "tlscerts", true},
		{38, 0, "Failed to terminate process 4711 with SIGTERM: Device or resource busy", domain.ErrState, "process 4711", "SIGKILL", false},
		{38, 18, "cannot read domain image '/x': No such file or directory", domain.ErrNotFound, "missing", "path", false},
		{38, 10, "Failed to create file '/x/y': Permission denied", domain.ErrPermission, "forbids", "owner", false},
		{45, 46, "authentication failed: access denied by policy", domain.ErrPermission, "user", "group libvirt", false},
		{94, 46, "authentication unavailable: no polkit agent available to authenticate action 'org.libvirt.unix.manage'", domain.ErrPermission, "polkit", "group libvirt", false},
		{88, 71, "access denied", domain.ErrPermission, "access rules", "polkit", false},
		{68, 10, "Timed out during operation: cannot acquire state change lock (held by monitor=remoteDispatchDomainSave)", domain.ErrInUse, "another job", "domjobinfo", true},
		{74, 20, "argument unsupported: direct migration is not supported by the source host", domain.ErrUnsupported, "option", "", false},
		{8, 20, "invalid argument: unsupported flags (0x4) in function qemuDomainUndefineFlags", domain.ErrUnsupported, "0x4", "", false},
		{8, 20, "invalid argument: bad", domain.ErrInvalid, "argument", "", false},
		{3, 0, "this function is not supported by the connection driver: virDomainScreenshot", domain.ErrUnsupported, "driver", "", false},
		{27, 20, "XML error: expecting root element of 'domain'", domain.ErrInvalid, "document", "virt-xml-validate", false},
		{35, 20, "(domain_definition):1: Couldn't find end of Start Tag domain line 1\n<domain\n-------^", domain.ErrInvalid, "well-formed", "xmllint", false},
		{5, 0, "no connection driver available for qemu:///system", domain.ErrUnavailable, "no driver", "libvirt-daemon-driver-qemu", false},
		{1, 0, "Failed to open libvirt.so.0", domain.ErrUnavailable, "libvirt.so.0", "libvirt0", false},
		{1, 0, "libvirt.so.0: cannot open shared object file: No such file or directory", domain.ErrUnavailable, "libvirt.so.0", "libvirt-libs", false},
		{1, 0, "Failed to load virDomainFooBar", domain.ErrUnsupported, "too old", "newer", false},
		{1, 10, "internal error: Bus 'pcie.0' does not support hotplugging", domain.ErrUnsupported, "attaching", "pcie-root-port", false},
		{1, 10, "internal error: No more available PCI slots", domain.ErrInUse, "no free PCI address", "pcie-root-port", false},
		{1, 10, "internal error: something new", nil, "something new", "", false},
	} {
		t.Run(fmt.Sprintf("%d/%d %.40s", tt.code, tt.dom, tt.msg), func(t *testing.T) {
			lv := libvirt.Error{Code: libvirt.ErrorNumber(tt.code), Domain: libvirt.ErrorDomain(tt.dom), Message: tt.msg}
			e := explain("start", "web1", lv)
			for _, s := range sentinels {
				assert.Equal(t, s == tt.is, errors.Is(e, s), "errors.Is(%v)", s)
			}
			require.ErrorIs(t, e, libvirt.ErrorNumber(tt.code))
			var as libvirt.Error
			require.ErrorAs(t, e, &as)
			assert.Equal(t, lv, as)
			assert.Equal(t, []int{tt.code, tt.dom}, []int{e.Code, e.Domain})
			assert.Contains(t, e.Error(), tt.says)
			assert.Contains(t, e.Error(), fmt.Sprintf("(libvirt %d/%d)", tt.code, tt.dom))
			assert.True(t, strings.HasPrefix(e.Error(), "start web1: "), e.Error())
			assert.NotContains(t, e.Error(), "\n")
			assert.NotContains(t, e.Error()+e.Hint(), "$")
			assert.Contains(t, e.Hint(), tt.hint)
			assert.Equal(t, tt.retry, e.Retry)
		})
	}
}

// Each entry of the table of codes is complete.
func TestCodesAreComplete(t *testing.T) {
	for code, r := range codes {
		assert.Contains(t, sentinels, r.kind, code)
		assert.NotEmpty(t, r.meaning, code)
	}
	for _, x := range texts {
		assert.NotEmpty(t, x.meaning, x.re)
		if x.kind != nil {
			assert.Contains(t, sentinels, x.kind, x.re)
		}
	}
}

// A context's end is found beneath, and the error says what it left behind.
func TestContextErrors(t *testing.T) {
	c := openTest(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the caller is tired")
	cancel(why)
	err := c.Start(ctx, "two")
	require.ErrorIs(t, err, why)
	require.ErrorIs(t, err, context.Canceled)
	assert.NotContains(t, err.Error(), "may still")
	info, err := c.Info(within(t), "two")
	require.NoError(t, err)
	assert.Equal(t, domain.StateShutOff, info.State, "a call whose context had ended before it touched the VM")
}

// The daemon that does not run is named by its socket and the command that
// starts it.
func TestNoDaemon(t *testing.T) {
	socket := t.TempDir() + "/libvirt-sock"
	_, err := Open(within(t), Config{URI: "qemu+unix:///system?socket=" + socket})
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.ErrorIs(t, err, libvirt.ERR_SYSTEM_ERROR)
	assert.Contains(t, err.Error(), socket)
	assert.Contains(t, err.(*Error).Hint(), "libvirtd --daemon")
}
