package parity

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain/virt"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// TestTableServed: nor can a client of libvirt's tell the simulated hypervisor behind
// its socket from the real one.
func TestTableServed(t *testing.T) {
	golden := Golden()
	for _, row := range Rows() {
		t.Run(row.Name, func(t *testing.T) {
			t.Parallel()
			got, err := served(t).Run(t.Context(), row)
			require.NoError(t, err)
			assert.Equal(t, golden[row.Name], got)
		})
	}
}

// served is the same simulation behind a socket, and libvirt's own client.
func served(t *testing.T) Side {
	t.Helper()
	side := simulated(t)
	h, hand := side.Hypervisor.(*vgputest.Hypervisor), side.Hand.(simHand)
	socket := filepath.Join(t.TempDir(), "libvirt-sock")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	uri := "qemu+unix:///system?socket=" + socket
	conn, err := virt.Open(t.Context(), virt.Config{URI: uri})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	connect, err := libvirt.NewConnect(uri)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := connect.Close()
		require.NoError(t, err)
	})
	side.Hypervisor, side.Hand, side.Said = conn, servedHand{LibvirtHand{connect}, hand}, SaidByLibvirt
	return side
}

// servedHand goes through the socket with what libvirt has.
type servedHand struct {
	LibvirtHand
	sim simHand
}

func (h servedHand) Guest(vm string, deaf bool)                    { h.sim.Guest(vm, deaf) }
func (h servedHand) Crash(ctx context.Context, vm string) error    { return h.sim.Crash(ctx, vm) }
func (h servedHand) PowerOff(ctx context.Context, vm string) error { return h.sim.PowerOff(ctx, vm) }
func (h servedHand) Boot(ctx context.Context, vm string) error     { return h.sim.Boot(ctx, vm) }
func (h servedHand) Disk(ctx context.Context, path string) error   { return h.sim.Disk(ctx, path) }
func (h servedHand) HasFile(ctx context.Context, path string) bool { return h.sim.HasFile(ctx, path) }
