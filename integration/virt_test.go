//go:build integration

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/domain/virt"
	"github.com/vgpukit/vgpukit/mdev"
)

// virtSparePort is the bus behind the last root port of virtDocument.
const virtSparePort = 8

// virtDocument is a small VM with a screen, a spare root port, and the given
// devices; nothing boots in it.
func virtDocument(name, devices string) string {
	var ports []string // the first ones are taken by devices that libvirt adds
	for i := range virtSparePort {
		ports = append(ports, fmt.Sprintf("<controller type='pci' index='%d' model='pcie-root-port'/>", i+1))
	}
	return fmt.Sprintf(`<domain type='qemu'>
  <name>%s</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <controller type='pci' index='0' model='pcie-root'/>
    %s
    <graphics type='vnc' listen='127.0.0.1' autoport='yes'/>
    <video><model type='vga'/></video>
    %s
  </devices>
</domain>`, name, strings.Join(ports, "\n    "), devices)
}

func virtMdev(id uuid.UUID, attributes, address string) string {
	return fmt.Sprintf(`<hostdev mode='subsystem' type='mdev' managed='no' model='vfio-pci' %s><source><address uuid='%s'/></source>%s</hostdev>`,
		attributes, id, address)
}

// virtDefine defines a VM for the time of the test.
func virtDefine(t *testing.T, c *virt.Conn, xml string) domain.Info {
	t.Helper()
	info, err := c.Define(within(t, time.Minute), xml)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if now, err := c.Info(ctx, info.Name); err == nil && now.State.Active() {
			if err := c.Destroy(ctx, info.Name); !errors.Is(err, domain.ErrState) { // it may stop by itself
				assert.NoError(t, err)
			}
		}
		assert.NoError(t, c.Undefine(ctx, info.Name, domain.UndefineOptions{ManagedSave: true}))
	})
	return info
}

// virtCreate makes an mtty vGPU for the time of the test.
func virtCreate(t *testing.T, host *mdev.Host) uuid.UUID {
	t.Helper()
	return uuid.MustParse(hostCreate(t, host, "mtty-1"))
}

// virtWait reads events until one of the VM's is of the kind.
func virtWait(t *testing.T, events <-chan domain.Event, vm string, kind domain.EventKind) domain.Event {
	t.Helper()
	ctx := within(t, time.Minute)
	for {
		select {
		case e := <-events:
			if e.Kind == kind && (vm == e.VM || kind == domain.EventReconnected) {
				return e
			}
		case <-ctx.Done():
			require.FailNow(t, "no event", "%s of %s", kind, vm)
		}
	}
}

// TestVirtLifecycle: each operation has its effect on a real QEMU, and its event.
func TestVirtLifecycle(t *testing.T) {
	ctx, c := within(t, 3*time.Minute), openLibvirt(t)
	events, err := c.Events(ctx)
	require.NoError(t, err)
	info := virtDefine(t, c, virtDocument("vgpukit-test-life", ""))
	is := func(want domain.State) {
		t.Helper()
		got, err := c.Info(ctx, info.Name)
		require.NoError(t, err)
		assert.Equal(t, want, got.State)
		list, err := c.Domains(ctx)
		require.NoError(t, err)
		assert.Contains(t, list, got)
	}
	is(domain.StateShutOff)
	require.NoError(t, c.Start(ctx, info.UUID.String()))
	is(domain.StateRunning)
	assert.Equal(t, "booted", virtWait(t, events, info.Name, domain.EventStarted).Detail)
	require.ErrorIs(t, c.Start(ctx, info.Name), domain.ErrState)

	pci, err := c.Monitor(ctx, info.Name, "info pci")
	require.NoError(t, err)
	assert.Contains(t, pci, "Bus  0, device   1, function 0:")
	assert.NotContains(t, pci, "\r")
	answer, err := c.QMP(ctx, info.Name, `{"execute":"query-status"}`)
	require.NoError(t, err)
	assert.Contains(t, answer, `"running"`)
	image, mimeType, err := c.Screenshot(ctx, info.Name, 0)
	require.NoError(t, err)
	assert.Equal(t, "image/png", mimeType)
	_, err = png.Decode(bytes.NewReader(image))
	require.NoError(t, err)
	_, _, err = c.Screenshot(ctx, info.Name, 7)
	require.ErrorIs(t, err, domain.ErrInvalid)

	require.NoError(t, c.Suspend(ctx, info.Name))
	is(domain.StatePaused)
	virtWait(t, events, info.Name, domain.EventSuspended)
	require.NoError(t, c.Resume(ctx, info.Name))
	is(domain.StateRunning)
	virtWait(t, events, info.Name, domain.EventResumed)
	require.NoError(t, c.Reset(ctx, info.Name))
	is(domain.StateRunning)
	require.NoError(t, c.Shutdown(ctx, info.Name, domain.ShutdownAny), "asking works; this guest has nobody to hear it")

	saved, err := c.XML(ctx, info.Name)
	require.NoError(t, err)
	live, err := c.LiveXML(ctx, info.Name)
	require.NoError(t, err)
	assert.NotContains(t, saved, "<alias")
	assert.Contains(t, live, "<alias")
	movable, err := c.MigratableXML(ctx, info.Name)
	require.NoError(t, err)
	assert.NotContains(t, movable, "<alias name='video0'/>")

	require.NoError(t, c.Terminate(ctx, info.Name))
	is(domain.StateShutOff)
	assert.Equal(t, "destroyed", virtWait(t, events, info.Name, domain.EventStopped).Detail)
	require.ErrorIs(t, c.Terminate(ctx, info.Name), domain.ErrState)
	require.ErrorIs(t, c.Destroy(ctx, info.Name), domain.ErrState)
}

// TestVirtSave: memory goes to disk and comes back, by file and as managed save;
// an aborted save leaves the VM as it was or saved, and says which.
func TestVirtSave(t *testing.T) {
	ctx, c := within(t, 5*time.Minute), openLibvirt(t)
	events, err := c.Events(ctx)
	require.NoError(t, err)
	info := virtDefine(t, c, virtDocument("vgpukit-test-save", ""))
	require.NoError(t, c.Start(ctx, info.Name))
	file := filepath.Join(t.TempDir(), "state")
	require.NoError(t, c.Save(ctx, info.Name, file))
	assert.Equal(t, "saved", virtWait(t, events, info.Name, domain.EventStopped).Detail)
	require.NoError(t, c.Restore(ctx, file, ""))
	assert.Equal(t, "restored", virtWait(t, events, info.Name, domain.EventStarted).Detail)
	require.ErrorIs(t, c.Restore(ctx, file+".none", ""), domain.ErrNotFound)

	require.NoError(t, c.ManagedSave(ctx, info.Name))
	has, err := c.HasManagedSave(ctx, info.Name)
	require.NoError(t, err)
	assert.True(t, has)
	err = c.Undefine(ctx, info.Name, domain.UndefineOptions{})
	require.ErrorIs(t, err, domain.ErrState)
	assert.Contains(t, err.(*virt.Error).Hint(), "ManagedSave")
	require.NoError(t, c.Start(ctx, info.Name))
	require.ErrorIs(t, c.AbortJob(ctx, info.Name), domain.ErrState, "there is no job")

	outcomes := map[bool]int{}
	for _, limit := range []time.Duration{0, 50, 200, 800} {
		short, cancel := context.WithTimeout(ctx, limit*time.Millisecond)
		err := c.ManagedSave(short, info.Name)
		cancel()
		now, ierr := c.Info(ctx, info.Name)
		require.NoError(t, ierr)
		outcomes[err == nil]++
		if err == nil {
			assert.Equal(t, domain.StateShutOff, now.State)
			require.NoError(t, c.Start(ctx, info.Name))
			continue
		}
		require.ErrorIs(t, err, context.DeadlineExceeded)
		if !assert.Equal(t, domain.StateRunning, now.State, "%v", err) {
			virtShow(t, info.Name)
			break
		}
		saved, err := c.HasManagedSave(ctx, info.Name)
		require.NoError(t, err)
		assert.False(t, saved)
	}
	t.Logf("saved: %d, aborted: %d", outcomes[true], outcomes[false])
	assert.Positive(t, outcomes[false])
}

// TestVirtAttachDetach: a vGPU comes to a running VM and leaves it when the guest
// lets go, which is when Detach returns; one that does not let go is reported.
func TestVirtAttachDetach(t *testing.T) {
	ctx, c, host := within(t, 5*time.Minute), openLibvirt(t), openHost(t)
	id := virtCreate(t, host)
	info := virtDefine(t, c, virtDocument("vgpukit-test-attach", ""))
	device := virtMdev(id, "", "<address type='pci' domain='0' bus='8' slot='0' function='0'/>")
	events, err := c.Events(ctx)
	require.NoError(t, err)
	require.NoError(t, c.Start(ctx, info.Name))
	require.Eventually(t, func() bool { // the firmware has been there
		pci, err := c.Monitor(ctx, info.Name, "info pci")
		return err == nil && strings.Contains(pci, "BAR0: 32 bit prefetchable memory at")
	}, time.Minute, 100*time.Millisecond)

	const both = domain.ScopeLive | domain.ScopeSaved
	require.NoError(t, c.Attach(ctx, info.Name, device, both))
	alias := virtWait(t, events, info.Name, domain.EventDeviceAdded).Detail
	assert.NotEmpty(t, alias)
	has := func() (live, saved bool) {
		t.Helper()
		l, err := c.LiveXML(ctx, info.Name)
		require.NoError(t, err)
		s, err := c.XML(ctx, info.Name)
		require.NoError(t, err)
		return strings.Contains(l, id.String()), strings.Contains(s, id.String())
	}
	live, saved := has()
	require.True(t, live && saved)
	pci, err := c.Monitor(ctx, info.Name, "info pci")
	require.NoError(t, err)
	assert.Contains(t, pci, "PCI device 4348:3253")
	require.Error(t, c.Attach(ctx, info.Name, device, both), "it is there already")

	// SeaBIOS does not acknowledge: the device stays, also in the definition.
	short, cancel := context.WithTimeout(ctx, 8*time.Second)
	err = c.Detach(short, info.Name, device, both)
	cancel()
	require.ErrorIs(t, err, domain.ErrInUse)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	live, saved = has()
	assert.True(t, live && saved)

	// A reset makes it let go while Detach waits again.
	result := make(chan error, 1)
	go func() { result <- c.Detach(ctx, info.Name, device, both) }()
	for waiting := true; waiting; {
		select {
		case err := <-result:
			require.NoError(t, err)
			waiting = false
		case <-time.After(5 * time.Second): // not in the middle of an unplug: QEMU died of that once
			require.NoError(t, c.Reset(ctx, info.Name))
		}
	}
	assert.Equal(t, alias, virtWait(t, events, info.Name, domain.EventDeviceRemoved).Detail)
	live, saved = has()
	assert.False(t, live || saved)
	require.ErrorIs(t, c.Detach(ctx, info.Name, device, both), domain.ErrNotFound)
	require.ErrorIs(t, c.Detach(ctx, info.Name, alias, domain.ScopeLive), domain.ErrNotFound)
}

// TestVirtDaemonRestarts: killed or restarted, libvirtd takes no VM with it, and
// the Conn finds it again: calls work and events go on.
func TestVirtDaemonRestarts(t *testing.T) {
	ctx, c := within(t, 5*time.Minute), openLibvirt(t)
	events, err := c.Events(ctx)
	require.NoError(t, err)
	info := virtDefine(t, c, virtDocument("vgpukit-test-restart", ""))
	require.NoError(t, c.Start(ctx, info.Name))
	for _, how := range [][]string{{"kill", "--signal=KILL", "libvirtd"}, {"restart", "libvirtd"}} {
		virtSystemctl(t, how...)
		begun := time.Now()
		virtWait(t, events, "", domain.EventReconnected)
		t.Logf("systemctl %s: connected again after %v", strings.Join(how, " "), time.Since(begun))
		require.Eventually(t, func() bool {
			now, err := c.Info(ctx, info.Name)
			return err == nil && now.State == domain.StateRunning
		}, time.Minute, 100*time.Millisecond)
		require.NoError(t, c.Suspend(ctx, info.Name))
		virtWait(t, events, info.Name, domain.EventSuspended)
		require.NoError(t, c.Resume(ctx, info.Name))
		virtWait(t, events, info.Name, domain.EventResumed)
	}
}

// TestVirtNoDaemon: the error names the socket, and the command that it gives
// starts the daemon.
func TestVirtNoDaemon(t *testing.T) {
	sockets := []string{"libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket"}
	virtSystemctl(t, append([]string{"stop", "libvirtd.service"}, sockets...)...)
	t.Cleanup(func() { virtSystemctl(t, append([]string{"start"}, sockets...)...) })
	_, err := virt.Open(within(t, time.Minute), virt.Config{URI: "qemu:///system"})
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.ErrorIs(t, err, libvirt.ERR_SYSTEM_ERROR)
	assert.Contains(t, err.Error(), "/run/libvirt/libvirt-sock")
	command := regexp.MustCompile(`systemctl (start) (libvirtd\.socket)`).FindStringSubmatch(err.(*virt.Error).Hint())
	require.NotNil(t, command, err.(*virt.Error).Hint())
	virtSystemctl(t, command[1:]...)
	c, err := virt.Open(within(t, time.Minute), virt.Config{URI: "qemu:///system"})
	require.NoError(t, err)
	require.NoError(t, c.Close())
}

// TestVirtErrors: what real libvirt and QEMU say becomes the sentinel that fits.
func TestVirtErrors(t *testing.T) {
	ctx, c, host := within(t, 5*time.Minute), openLibvirt(t), openHost(t)
	id, missing := virtCreate(t, host), uuid.New()
	const at = "<address type='pci' domain='0' bus='0' slot='8' function='0'/>"
	holder := virtDefine(t, c, virtDocument("vgpukit-test-holder", virtMdev(id, "", at)))
	require.NoError(t, c.Start(ctx, holder.Name))
	rival := virtDefine(t, c, virtDocument("vgpukit-test-rival", virtMdev(id, "", "")))
	lonely := virtDefine(t, c, virtDocument("vgpukit-test-lonely", virtMdev(missing, "", "")))
	define := func(xml string) error {
		info, err := c.Define(ctx, xml)
		if err == nil {
			assert.NoError(t, c.Undefine(ctx, info.Name, domain.UndefineOptions{}))
		}
		return err
	}
	for _, tt := range []struct {
		name string
		err  error
		is   error
		code libvirt.ErrorNumber
		says string
	}{
		{"no such VM", c.Start(ctx, "vgpukit-test-none"), domain.ErrNotFound, libvirt.ERR_NO_DOMAIN, "no such VM"},
		{"no such UUID", c.Start(ctx, missing.String()), domain.ErrNotFound, libvirt.ERR_NO_DOMAIN, "no such VM"},
		{"running already", c.Start(ctx, holder.Name), domain.ErrState, libvirt.ERR_OPERATION_INVALID, "runs already"},
		{"not running", c.Suspend(ctx, rival.Name), domain.ErrState, libvirt.ERR_OPERATION_INVALID, "does not run"},
		{"vGPU in use", c.Start(ctx, rival.Name), domain.ErrInUse, libvirt.ERR_OPERATION_INVALID, "VM " + holder.Name},
		{"vGPU missing", c.Start(ctx, lonely.Name), domain.ErrNotFound, libvirt.ERR_DEVICE_MISSING, missing.String()},
		{"name taken", define(strings.Replace(virtDocument(rival.Name, ""), "<memory", "<uuid>"+missing.String()+"</uuid><memory", 1)), domain.ErrExists, libvirt.ERR_OPERATION_FAILED, "another VM"},
		{"not XML", define("<domain"), domain.ErrInvalid, libvirt.ERR_XML_DETAIL, "well-formed"},
		{"not a domain", define("<network/>"), domain.ErrInvalid, libvirt.ERR_XML_ERROR, "not accepted"},
		{"address twice", define(virtDocument("vgpukit-test-x", virtMdev(missing, "", at)+virtMdev(uuid.New(), "", at))), domain.ErrInUse, libvirt.ERR_XML_ERROR, "0000:00:08.0"},
		{"ramfb twice", define(virtDocument("vgpukit-test-x", virtMdev(missing, "display='on' ramfb='on'", "")+virtMdev(uuid.New(), "display='on' ramfb='on'", ""))), domain.ErrInvalid, libvirt.ERR_CONFIG_UNSUPPORTED, "ramfb"},
		{"unknown machine", define(strings.Replace(virtDocument("vgpukit-test-x", ""), "q35", "q36", 1)), domain.ErrUnsupported, libvirt.ERR_CONFIG_UNSUPPORTED, "q36"},
		{"attach to bus 0", c.Attach(ctx, holder.Name, virtMdev(missing, "", "<address type='pci' domain='0' bus='0' slot='9' function='0'/>"), domain.ScopeLive), domain.ErrUnsupported, 0, "spare"},
		{"attach missing", c.Attach(ctx, holder.Name, virtMdev(missing, "", ""), domain.ScopeLive), domain.ErrNotFound, libvirt.ERR_DEVICE_MISSING, missing.String()},
		{"detach missing", c.Detach(ctx, holder.Name, "hostdev9", domain.ScopeSaved), domain.ErrNotFound, 0, "no such device"},
		{"detach of stopped", c.Detach(ctx, rival.Name, "hostdev0", domain.ScopeLive), domain.ErrState, 0, "does not run"},
		{"shutdown by agent", c.Shutdown(ctx, holder.Name, domain.ShutdownAgent), domain.ErrUnsupported, libvirt.ERR_ARGUMENT_UNSUPPORTED, "agent"},
		{"save with a vGPU without dirty log", c.ManagedSave(ctx, holder.Name), domain.ErrUnsupported, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Log(tt.err)
			require.Error(t, tt.err)
			assert.ErrorIs(t, tt.err, tt.is)
			if tt.code != 0 {
				assert.ErrorIs(t, tt.err, tt.code)
			}
			assert.NotContains(t, tt.err.Error(), "\n")
			hint := ""
			if e, ok := tt.err.(*virt.Error); ok {
				hint = e.Hint()
			}
			assert.Contains(t, tt.err.Error()+" "+hint, tt.says)
		})
	}
	now, err := c.Info(ctx, holder.Name)
	require.NoError(t, err)
	assert.Equal(t, domain.StateRunning, now.State, "none of them touched the VM")
}

// virtShow logs what may explain a VM's state.
func virtShow(t *testing.T, vm string) {
	t.Helper()
	for _, command := range []string{
		"virsh domstate --reason " + vm, "virsh domjobinfo " + vm,
		"virsh qemu-monitor-command --hmp " + vm + " info migrate",
		"tail -n 5 /var/log/libvirt/qemu/" + vm + ".log", "journalctl -u libvirtd --no-pager -n 8",
	} {
		out, err := exec.CommandContext(within(t, 10*time.Second), "sh", "-c", command).CombinedOutput()
		t.Logf("$ %s (%v)\n%s", command, err, out)
	}
}

func virtSystemctl(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	require.NoError(t, err, "systemctl %s: %s", strings.Join(args, " "), out)
}
