//go:build integration

package integration

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
)

const argsGuestName = "vgpukit-args"

// argsGuests are vGPUs in guests: what a type of device is put in as, and where.
var argsGuests = map[string]struct {
	machine string
	ports   []string // root ports before the devices
	types   []string
	vgpus   []domain.Hostdev
}{
	"plain on q35": {"q35", nil, []string{"mtty-1"}, []domain.Hostdev{{Address: &domain.Address{Slot: 8}}}},
	"plain on pc":  {"pc", nil, []string{"mtty-2"}, []domain.Hostdev{{Address: &domain.Address{Slot: 9}, Display: domain.SwitchOff}}},
	"display":      {"q35", nil, []string{"mdpy-xga"}, []domain.Hostdev{{Address: &domain.Address{Slot: 8}, Display: domain.SwitchOn, Alias: "ua-display"}}},
	"ramfb": {"q35", nil, []string{"mdpy-xga"}, []domain.Hostdev{
		{Address: &domain.Address{Slot: 8}, Display: domain.SwitchOn, RAMFB: domain.SwitchOn},
	}},
	// One behind a root port, two in functions of a slot.
	"four": {"q35", []string{"00:02.0"}, []string{"mdpy-vga", "mdpy-xga", "mtty-1", "mtty-1"}, []domain.Hostdev{
		{Address: &domain.Address{Bus: 1}, Display: domain.SwitchOn, RAMFB: domain.SwitchOn},
		{Address: &domain.Address{Slot: 8}, Display: domain.SwitchOn, RAMFB: domain.SwitchOff},
		{Address: &domain.Address{Slot: 9}},
		{Address: &domain.Address{Slot: 9, Function: 3}, Alias: "ua-second_function"},
	}},
}

// The arguments that we write for a document are those that libvirt starts QEMU
// with, and QEMU started with them and without libvirt has the devices.
func TestQEMUArgs(t *testing.T) {
	for name, g := range argsGuests {
		t.Run(name, func(t *testing.T) {
			doc := argsDocument(t, g.machine, g.ports)
			for i, typ := range g.types {
				h := g.vgpus[i]
				h.UUID = createDevice(t, typ)
				var err error
				doc, err = doc.Add(h)
				require.NoError(t, err)
			}
			ours, err := doc.QEMUArgs(domain.QEMUOptions{})
			require.NoError(t, err)
			require.Len(t, ours, 2+2*len(g.types))

			theirs := argsOfLibvirt(t, doc)
			at := slices.Index(theirs, "-uuid")
			require.GreaterOrEqual(t, at, 0)
			assert.Equal(t, ours[:2], theirs[at:at+2])
			assert.Equal(t, ours[2:], vfioArgs(theirs))

			classic, err := doc.QEMUArgs(domain.QEMUOptions{Classic: true})
			require.NoError(t, err)
			for _, args := range [][]string{ours, classic} {
				devices := runQEMU(t, g.machine, g.ports, args)
				for i, h := range doc.Hostdevs() {
					id := h.Alias
					if id == "" {
						id = fmt.Sprintf("hostdev%d", i)
					}
					d, ok := findDevice(devices, id)
					require.True(t, ok, "%s in\n%s", id, describeDevices(devices))
					assert.Equal(t, *h.Address, domain.Address{Bus: uint8(d.bus), Slot: d.slot, Function: d.function}, "%s, %q", id, args)
				}
			}
		})
	}
}

func createDevice(t *testing.T, typ string) uuid.UUID {
	t.Helper()
	host := openHost(t)
	created, err := host.Create(t.Context(), mdev.CreateRequest{Type: typ})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		assert.NoError(t, host.Remove(ctx, created.ID))
	})
	return uuid.MustParse(created.ID)
}

// argsDocument has root ports at the given addresses, with indexes from 1 on.
func argsDocument(t *testing.T, machine string, ports []string) *domain.Document {
	t.Helper()
	var controllers strings.Builder
	for i, port := range ports {
		controllers.WriteString("\n    " + pciController(i+1, "pcie-root-port", port))
	}
	return parsed(t, fmt.Sprintf(`<domain type='qemu'>
  <name>%s</name>
  <uuid>2a9d1c3e-5b7f-4e60-8d12-6f4e3b2a1c0d</uuid>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='%s'>hvm</type></os>
  <devices>%s
    <graphics type='vnc' listen='127.0.0.1' autoport='yes'/>
    <video><model type='none'/></video>
  </devices>
</domain>
`, argsGuestName, machine, controllers.String()))
}

// argsOfLibvirt returns the command line with which libvirt starts a document.
func argsOfLibvirt(t *testing.T, doc *domain.Document) []string {
	t.Helper()
	conn := openLibvirt(t)
	ctx := within(t, 2*time.Minute)
	_, err := conn.Define(ctx, string(doc.Bytes()))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Undefine(ctx, argsGuestName, domain.UndefineOptions{})) }()
	require.NoError(t, conn.Start(ctx, argsGuestName))
	defer func() { require.NoError(t, conn.Destroy(ctx, argsGuestName)) }()
	pid, err := os.ReadFile("/run/libvirt/qemu/" + argsGuestName + ".pid")
	require.NoError(t, err)
	line, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(pid)), "cmdline"))
	require.NoError(t, err)
	return strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
}

// vfioArgs keeps the -device arguments that are VFIO's.
func vfioArgs(args []string) []string {
	var kept []string
	for i, arg := range args {
		if arg == "-device" && strings.Contains(args[i+1], "vfio") {
			kept = append(kept, arg, args[i+1])
		}
	}
	return kept
}

// runQEMU starts QEMU with the arguments for vGPUs and as little as possible
// besides, and returns the devices that its monitor shows.
func runQEMU(t *testing.T, machine string, ports, args []string) []guestDevice {
	t.Helper()
	dir := t.TempDir()
	monitor := filepath.Join(dir, "monitor")
	all := []string{
		"-machine", machine, "-accel", "tcg", "-m", "64", "-nodefaults", "-no-user-config",
		"-vnc", "unix:" + filepath.Join(dir, "vnc"), "-monitor", "unix:" + monitor + ",server=on,wait=off",
	}
	for i, port := range ports {
		a, err := domain.ParseAddress(port)
		require.NoError(t, err)
		all = append(all, "-device", fmt.Sprintf("pcie-root-port,id=pci.%d,chassis=%d,bus=pcie.0,addr=%#x", i+1, i+1, a.Slot))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", append(all, args...)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start())
	defer func() {
		cancel()
		_ = cmd.Wait() // killed, or ended by itself, which the monitor has told
	}()
	var conn net.Conn
	require.Eventually(t, func() bool {
		var err error
		conn, err = net.Dial("unix", monitor)
		return err == nil
	}, 30*time.Second, 50*time.Millisecond, "no monitor: %s", &said)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	r := bufio.NewReader(conn)
	prompt := func() string {
		var text strings.Builder
		for !strings.HasSuffix(text.String(), "(qemu) ") {
			c, err := r.ReadByte()
			require.NoError(t, err, "monitor: %s", &text)
			text.WriteByte(c)
		}
		return text.String()
	}
	prompt()
	// The firmware numbers the buses behind ports: ask until it has.
	var devices []guestDevice
	for deadline := time.Now().Add(20 * time.Second); ; {
		_, err := fmt.Fprintln(conn, "info pci")
		require.NoError(t, err)
		devices = parseInfoPCI(prompt())
		if numbered(devices) {
			return devices
		}
		require.True(t, time.Now().Before(deadline), "not numbered:\n%s", describeDevices(devices))
		_, err = fmt.Fprintln(conn, "info status")
		require.NoError(t, err)
		require.Contains(t, prompt(), "running")
	}
}

// numbered tells whether the firmware has been at all buses and devices.
func numbered(devices []guestDevice) bool {
	for _, d := range devices {
		if d.secondary == 0 || d.id != "" && d.secondary < 0 && !d.mapped {
			return false
		}
	}
	return true
}
