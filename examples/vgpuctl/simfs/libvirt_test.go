package simfs_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/examples/vgpuctl/simfs"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// What befalls VMs is played by sim/control: the libvirt and the host tell of the same
// VM, and what cannot be done is said with an errno and in libvirt's words.
func TestControlOfVMs(t *testing.T) {
	host, err := mdevtest.NewHost("mtty")
	if err != nil {
		t.Fatal(err)
	}
	libvirt := vgputest.New(host)
	dir := t.TempDir()
	server, err := simfs.Mount(dir, host, libvirt)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}()
	vm, err := libvirt.Define(t.Context(), `<domain type='kvm'><name>desk1</name><memory>65536</memory><os><type machine='q35'>hvm</type></os><devices>
		<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='`+uuid1+`'/></source></hostdev></devices></domain>`)
	if err != nil {
		t.Fatal(err)
	}
	// A FUSE server hears of a close after whoever closed went on, unlike a kernel's VFIO.
	startOnceFree := func() error {
		for {
			group, err := host.OpenNode("dev/vfio/0")
			if err == nil {
				_ = group.Close()
				return libvirt.Start(t.Context(), "desk1")
			}
			if !errors.Is(err, syscall.EBUSY) || t.Context().Err() != nil {
				return err
			}
			time.Sleep(time.Millisecond)
		}
	}
	create := "echo " + uuid1 + " > sys/class/mdev_bus/mtty/mdev_supported_types/mtty-2/create; "
	for _, c := range []struct {
		before func() error // by libvirt
		script string
		want   string
		state  domain.State
	}{
		{nil, create + "echo crash nobody > sim/control", "No such file or directory\n", domain.StateShutOff},
		{nil, "echo crash desk1 > sim/control; cat sim/control", "domain is not running (libvirt 55)\n", domain.StateShutOff},
		{func() error { return libvirt.Start(t.Context(), "desk1") }, "cat dev/vfio/0", "Device or resource busy\n", domain.StateRunning},
		{nil, "echo crash desk1 > sim/control; : <dev/vfio/0", "", domain.StateShutOff},
		{startOnceFree, "echo poweroff " + vm.UUID.String() + " > sim/control", "", domain.StateShutOff},
		{func() error { return libvirt.Start(t.Context(), "desk1") }, "echo guest desk1 deaf ignores-sigterm > sim/control", "", domain.StateRunning},
		{func() error { return libvirt.Shutdown(t.Context(), "desk1", "") }, "echo guest desk1 rude > sim/control", "Invalid argument\n", domain.StateRunning},
		{nil, "echo guest desk1 > sim/control", "", domain.StateRunning},
		{func() error { return libvirt.Shutdown(t.Context(), "desk1", "") }, "echo libvirtd restart > sim/control", "", domain.StateShutOff},
		{func() error { return libvirt.Start(t.Context(), "desk1") }, "echo reboot > sim/control; ls sys/bus/mdev/devices", "", domain.StateShutOff},
		{nil, "echo libvirtd stop > sim/control; echo crash desk1 > sim/control; echo libvirtd start > sim/control", "Connection refused\n", domain.StateShutOff},
		{nil, "echo libvirtd > sim/control", "Invalid argument\n", domain.StateShutOff},
	} {
		if c.before != nil {
			if err := c.before(); err != nil {
				t.Fatal(c.script, err)
			}
		}
		got := shell(t, dir, c.script)
		if c.want == "" && got != "" || !strings.HasSuffix(got, c.want) {
			t.Errorf("$ %s\n%swant %s", c.script, got, c.want)
		}
		if now, err := libvirt.Info(t.Context(), "desk1"); err != nil || now.State != c.state {
			t.Errorf("$ %s: %v, %v", c.script, now.State, err)
		}
	}
}
