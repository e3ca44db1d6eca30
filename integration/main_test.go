//go:build integration

// Package integration tests the library on a real kernel, libvirtd and QEMU.
//
// The tests run in the lab (VGPUKIT_LAB=1, set by the lab), or on the machine that
// they are started on when VGPUKIT_HOST=this says so. In the lab everything that
// they need is there, and a skip is a failure.
package integration

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain/virt"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

// rebootStatus asks the lab to reboot the machine and to run the program again.
const rebootStatus = 194

// boot is how often the lab was booted for this run; it begins with 1.
func boot() string {
	if n := os.Getenv("VGPUKIT_LAB_BOOT"); n != "" {
		return n
	}
	return "1"
}

func inLab() bool { return os.Getenv("VGPUKIT_LAB") == "1" }

// TestMain runs what survives a reboot first: each TestReboot… prepares on the
// first boot and checks on the second. Everything else runs after that.
func TestMain(m *testing.M) {
	if !inLab() && os.Getenv("VGPUKIT_HOST") != "this" {
		fmt.Fprintln(os.Stderr, "these tests change the machine they run on: use `make integration`, or set VGPUKIT_HOST=this on a host with vGPUs")
		os.Exit(1)
	}
	flag.Parse()
	only := flag.Lookup("test.run").Value.String()
	if !inLab() || only != "" && !strings.HasPrefix(only, "TestReboot") {
		os.Exit(m.Run())
	}
	require := func(status int) {
		if status != 0 {
			os.Exit(status)
		}
	}
	set := func(name, value string) {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	set("test.run", "^TestReboot")
	require(m.Run())
	if boot() == "1" {
		os.Exit(rebootStatus)
	}
	if only == "" {
		set("test.run", "")
		set("test.skip", "^TestReboot")
		require(m.Run())
	}
	os.Exit(0)
}

// lacking ends a test on a host that has not what it needs. In the lab that is a
// failure.
func lacking(t testing.TB, what string) {
	t.Helper()
	if inLab() {
		t.Fatalf("the lab lacks %s", what)
	}
	t.Skipf("this host lacks %s", what)
}

func openHost(t testing.TB) *mdev.Host {
	t.Helper()
	host, err := mdev.Open(mdev.Config{})
	require.NoError(t, err)
	return host
}

func openLibvirt(t testing.TB) *virt.Conn {
	t.Helper()
	conn, err := virt.Open(t.Context(), virt.Config{URI: "qemu:///system"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

// rig is the real host, the real libvirt and a Manager with its own state.
type rig struct {
	host *mdev.Host
	conn *virt.Conn
	m    *vgpu.Manager
	dir  string
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{host: openHost(t), conn: openLibvirt(t), dir: t.TempDir()}
	r.m = r.manager(t, r.host, r.conn)
	return r
}

func (r *rig) manager(t testing.TB, host vgpu.Host, hyper vgpu.Hypervisor) *vgpu.Manager {
	t.Helper()
	m, err := vgpu.New(vgpu.Config{
		Host: host, Hypervisor: hyper, StateDir: r.dir,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	require.NoError(t, err)
	return m
}

// document is a small q35 VM with a display and nothing to boot.
func document(name string) string {
	return fmt.Sprintf(`<domain type='qemu'>
  <name>%s</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <graphics type='vnc' listen='127.0.0.1' autoport='yes'/>
    <video><model type='none'/></video>
  </devices>
</domain>
`, name)
}

// powerOff ends VMs that have nothing to shut down.
var powerOff = vgpu.StopOptions{SkipGuest: true}

// state is all that our operations may change, for comparison: room, devices and
// domains.
func (r *rig) state(t testing.TB) string {
	t.Helper()
	inv, err := r.host.Inventory(t.Context())
	require.NoError(t, err)
	var b strings.Builder
	for _, gpu := range inv.GPUs {
		for _, c := range gpu.Capacity {
			fmt.Fprintln(&b, gpu.Name, c.Type, c.Available)
		}
		for _, p := range gpu.Parents {
			for _, d := range p.Devices {
				fmt.Fprintln(&b, "device", d.ID, d.Type, d.Parent, d.State, d.Holder != nil)
			}
		}
	}
	infos, err := r.conn.Domains(t.Context())
	require.NoError(t, err)
	for _, info := range infos {
		xml, err := r.conn.XML(t.Context(), info.Name)
		require.NoError(t, err)
		fmt.Fprintln(&b, "domain", info.Name, info.State, xml)
	}
	return b.String()
}

// within bounds what a test waits for.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
