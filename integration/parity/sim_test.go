package parity

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// TestTable: the simulated hypervisor gives what real libvirt and QEMU gave.
func TestTable(t *testing.T) {
	golden := Golden()
	for _, row := range Rows() {
		t.Run(row.Name, func(t *testing.T) {
			t.Parallel()
			got, err := simulated(t).Run(t.Context(), row)
			require.NoError(t, err)
			assert.Equal(t, golden[row.Name], got)
		})
	}
	assert.Equal(t, len(Rows()), len(golden), "a row that is no more, or has the name of another")
}

// simulated is a hypervisor of its own on a host of its own.
func simulated(t *testing.T) Side {
	t.Helper()
	var boards []mdevtest.Board
	for _, spec := range []string{"mtty", "mdpy", "tesla-m60@" + M60, "l40s@" + L40S + ",vfs=4"} {
		board, err := mdevtest.NewBoard(spec)
		require.NoError(t, err)
		boards = append(boards, board)
	}
	sim := mdevtest.New(boards...)
	host, err := mdev.Open(mdev.Config{FS: sim})
	require.NoError(t, err)
	h := vgputest.New(sim)
	return Side{
		Hypervisor: h, Hand: simHand{h.Virsh()}, Host: host, Files: sim, Dir: t.TempDir(), Said: saidBySimulation,
	}
}

func saidBySimulation(err error) (code int, message string) {
	var e *vgputest.Error
	if errors.As(err, &e) {
		return e.Code, e.Message
	}
	return 0, ""
}

// simHand is somebody else's hand.
type simHand struct{ *vgputest.Hypervisor }

func (h simHand) Guest(vm string, deaf bool) { h.SetGuest(vm, vgputest.Guest{Deaf: deaf}) }

func (h simHand) Create(ctx context.Context, xml string) error {
	_, err := h.Hypervisor.Create(ctx, xml)
	return err
}

func (h simHand) SetMetadata(ctx context.Context, vm, element string, scope domain.Scope) error {
	if element != "" { // libvirt puts it into the namespace by itself
		element = strings.NewReplacer("<mark", "<vgpukit:mark xmlns:vgpukit='"+domain.MetadataURI+"'", "</", "</vgpukit:").Replace(element)
	}
	return h.Hypervisor.SetMetadata(ctx, vm, element, scope)
}

func (h simHand) Boot(context.Context, string) error { return nil }

func (h simHand) Disk(_ context.Context, path string) error { return os.WriteFile(path, nil, 0o644) }

func (h simHand) HasFile(_ context.Context, path string) bool {
	return slices.Contains(h.Files(), path)
}
