//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain/virt"
	"github.com/vgpukit/vgpukit/integration/parity"
)

// parityDir is where QEMU, which is not root, may read.
const parityDir = "/var/lib/libvirt/images/parity"

// TestHypervisorParity: the table says of real libvirt and QEMU what it says of the
// simulated hypervisor. All rows take ten minutes: some are drawn by lot;
// VGPUKIT_POINTS=all tries all.
func TestHypervisorParity(t *testing.T) {
	if !inLab() {
		lacking(t, "names for VMs that cannot be somebody's")
	}
	require.NoError(t, os.MkdirAll(parityDir, 0o755))
	for name, rom := range parity.Guests(parityDir) {
		require.NoError(t, os.WriteFile(name, rom, 0o644))
	}
	host := openHost(t)
	t.Cleanup(enableVFs(t, host, parity.M60, parity.L40S))
	side := parity.Side{
		Hypervisor: openLibvirt(t), Hand: newRealHand(t), Host: host, Files: newRealSide(t), Dir: parityDir, Said: parity.SaidByLibvirt,
	}
	golden := parity.Golden()
	// All that was seen, to be put into the golden file.
	seen, err := os.Create("parity.txt")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, seen.Close()) })
	for _, row := range drawnRows(t, 24) {
		t.Run(row.Name, func(t *testing.T) {
			got, err := side.Run(within(t, 5*time.Minute), row)
			_, writeErr := fmt.Fprintln(seen, got)
			require.NoError(t, errors.Join(err, writeErr))
			assert.Equal(t, golden[row.Name], got)
		})
	}
}

// drawnRows are some of the table's, in its order.
func drawnRows(t *testing.T, some int) []parity.Row {
	rows := parity.Rows()
	if os.Getenv("VGPUKIT_POINTS") == "all" {
		t.Logf("all %d rows", len(rows))
		return rows
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	kept := rand.New(rand.NewPCG(seed, 0)).Perm(len(rows))[:some]
	slices.Sort(kept)
	few := make([]parity.Row, 0, some)
	for _, i := range kept {
		few = append(few, rows[i])
	}
	t.Logf("%d of %d rows", some, len(rows))
	return few
}

// realHand is what virt.Conn has not, done through libvirt and to QEMU.
type realHand struct {
	parity.LibvirtHand
	conn *virt.Conn
}

func newRealHand(t *testing.T) *realHand {
	t.Helper()
	conn := openLibvirt(t)
	lib, err := libvirt.NewConnect("qemu:///system")
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := lib.Close()
		require.NoError(t, err)
	})
	return &realHand{parity.LibvirtHand{Connect: lib}, conn}
}

// Guest has nothing to do: the document names the guest.
func (h *realHand) Guest(string, bool) {}

func (h *realHand) Disk(ctx context.Context, path string) error {
	out, err := exec.CommandContext(ctx, "qemu-img", "create", "-q", "-f", "qcow2", path, "1M").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

func (h *realHand) HasFile(_ context.Context, path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (h *realHand) Crash(_ context.Context, vm string) error {
	text, err := os.ReadFile("/run/libvirt/qemu/" + vm + ".pid")
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// PowerOff does what the guest's last instruction does.
func (h *realHand) PowerOff(ctx context.Context, vm string) error {
	_, err := h.conn.Monitor(ctx, vm, "o /h 0x604 0x2000")
	return err
}

// Boot waits until the guest has enabled the power button.
func (h *realHand) Boot(ctx context.Context, vm string) error {
	for {
		says, err := h.conn.Monitor(ctx, vm, "i /h 0x602")
		if err != nil || strings.Contains(says, "0x0100") {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.New("the guest did not boot: " + says)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
