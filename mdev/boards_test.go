package mdev_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// boards are hosts of every framework and driver that is simulated.
var boards = map[string][]string{
	"legacy":           {"tesla-m60", "tesla-t4@0001:05:00.0,numa=1"},
	"old driver":       {"tesla-p40,old-driver"},
	"old SR-IOV":       {"a40,vfs=16,old-driver"},
	"SR-IOV":           {"a40,vfs=32", "a100@0001:41:00.0,vfs=4"},
	"mixed size":       {"a40,vfs=12,mixed"},
	"MIG":              {"a100-mig,vfs=16"},
	"vendor VFIO":      {"l40s,vfs=32"},
	"vendor, mixed":    {"l40s,vfs=12,mixed"},
	"GVT-g":            {"gvt-g"},
	"s390":             {"ap-matrix", "ccw"},
	"samples":          {"mtty", "mdpy", "mbochs"},
	"several together": {"tesla-v100", "l40s@0002:61:00.0,vfs=4", "a40@0001:41:00.0,vfs=4", "mtty"},
}

func simulated(t testing.TB, specs ...string) (*mdevtest.Host, *mdev.Host) {
	t.Helper()
	sim := mdevtest.New()
	for _, spec := range specs {
		board, err := mdevtest.NewBoard(spec)
		require.NoError(t, err)
		require.NoError(t, sim.Plug(board))
	}
	host, err := mdev.Open(mdev.Config{FS: sim})
	require.NoError(t, err)
	return sim, host
}

func inventory(t testing.TB, host *mdev.Host) *mdev.Inventory {
	t.Helper()
	inv, err := host.Inventory(t.Context())
	require.NoError(t, err)
	require.Empty(t, inv.Problems)
	for _, gpu := range inv.GPUs {
		require.Empty(t, gpu.Problems)
		for _, p := range gpu.Parents {
			require.Empty(t, p.Problems)
		}
	}
	return inv
}

// capacities is what a host can still hold, by type id.
func capacities(inv *mdev.Inventory) map[string]int {
	sum := map[string]int{}
	for _, gpu := range inv.GPUs {
		for _, c := range gpu.Capacity {
			sum[c.Type] += c.Available
		}
	}
	return sum
}

// fill makes devices of one type until the host has no room or the limit is
// passed, and removes them.
func fill(t *testing.T, host *mdev.Host, typ string, limit int) int {
	t.Helper()
	var made []string
	for len(made) <= limit {
		created, err := host.Create(t.Context(), mdev.CreateRequest{Type: typ})
		if err != nil {
			require.ErrorIs(t, err, mdev.ErrNoCapacity)
			break
		}
		require.Equal(t, mdev.StateReady, created.State)
		require.Empty(t, created.Problems)
		made = append(made, created.ID)
	}
	for _, id := range made {
		require.NoError(t, host.Remove(t.Context(), id))
	}
	return len(made)
}

// True capacity: of each type, on an empty host and beside whatever it runs,
// exactly as many devices can be made as the inventory says.
func TestCapacityIsWhatCanBeMade(t *testing.T) {
	seed := rand.Uint64()
	if text := os.Getenv("VGPUKIT_SEED"); text != "" {
		_, err := fmt.Sscan(text, &seed)
		require.NoError(t, err, "VGPUKIT_SEED")
	}
	t.Logf("VGPUKIT_SEED=%d", seed)
	for name, specs := range boards {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 0))
			_, host := simulated(t, specs...)
			for round := range 3 {
				inv := inventory(t, host)
				free := capacities(inv)
				for _, typ := range slices.Sorted(maps.Keys(free)) {
					n := free[typ]
					if rng.IntN(4) != 0 || n > 100 { // an ap matrix has 65,536
						continue
					}
					made := fill(t, host, typ, n)
					if bound := strings.Contains(specs[0], "mixed") || strings.Contains(specs[0], "mig"); bound && made < n {
						continue // mixed sizes in pieces, MIG instances: an upper bound
					}
					assert.Equal(t, n, made, "round %d: %s", round, typ)
				}
				require.Equal(t, inv, inventory(t, host), "removing leaves the host as it was")
				for typ, n := range free {
					if n > 0 {
						_, err := host.Create(t.Context(), mdev.CreateRequest{Type: typ})
						if err != nil {
							require.ErrorIs(t, err, mdev.ErrNoCapacity)
						}
						break
					}
				}
			}
		})
	}
}

func TestEveryDeviceIsFoundAgain(t *testing.T) {
	for name, specs := range boards {
		t.Run(name, func(t *testing.T) {
			_, host := simulated(t, specs...)
			for typ, n := range capacities(inventory(t, host)) {
				if n == 0 {
					continue
				}
				created, err := host.Create(t.Context(), mdev.CreateRequest{Type: typ})
				require.NoError(t, err)
				dev, err := host.Device(t.Context(), created.ID)
				require.NoError(t, err)
				assert.Equal(t, created.Device, dev)
				assert.Equal(t, typ, dev.Type)
				assert.NotEmpty(t, dev.TypeName)
				assert.NotEmpty(t, dev.DeviceAPI)
				assert.NotEmpty(t, dev.VFIONode)
				found := 0
				for _, gpu := range inventory(t, host).GPUs {
					for _, p := range gpu.Parents {
						for _, other := range p.Devices {
							assert.Equal(t, dev, other)
							assert.Equal(t, p.Name, other.Parent)
							assert.Equal(t, gpu.Name, other.GPU)
							found++
						}
					}
				}
				assert.Equal(t, 1, found)
				require.NoError(t, host.Remove(t.Context(), dev.ID))
				_, err = host.Device(t.Context(), dev.ID)
				require.ErrorIs(t, err, mdev.ErrNotFound)
			}
		})
	}
}

func TestDeviceInUse(t *testing.T) {
	for _, test := range []struct {
		name, board string
		old         bool
	}{{"mdev", "tesla-m60", false}, {"old kernel", "tesla-m60", true}, {"vendor VFIO", "l40s,vfs=2", false}, {"sample", "mtty", false}} {
		t.Run(test.name, func(t *testing.T) {
			sim, host := simulated(t, test.board)
			if test.old {
				sim.SetKernel(5, 4)
			}
			typ := inventory(t, host).GPUs[0].Capacity[0].Type
			created, err := host.Create(t.Context(), mdev.CreateRequest{Type: typ})
			require.NoError(t, err)
			release, err := sim.Use(created.ID, "desk1", 4242)
			require.NoError(t, err)

			dev, err := host.Device(t.Context(), created.ID)
			require.NoError(t, err)
			assert.Equal(t, &mdev.Holder{PID: 4242, Command: "qemu-system-x86", VM: "desk1"}, dev.Holder)

			start := time.Now()
			err = host.Remove(t.Context(), created.ID)
			require.ErrorIs(t, err, mdev.ErrInUse)
			assert.Contains(t, err.Error(), `VM "desk1" (pid 4242)`)
			assert.Less(t, time.Since(start), 400*time.Millisecond, "a device in use is refused at once")
			still, err := host.Device(t.Context(), created.ID)
			require.NoError(t, err)
			assert.Equal(t, dev, still, "a refused removal changes nothing")

			release()
			require.NoError(t, host.Remove(t.Context(), created.ID))
		})
	}
}

// After QEMU has ended, NVIDIA's driver still works for seconds.
func TestRemoveWaitsForTheDriversCleanUp(t *testing.T) {
	for _, test := range []struct {
		name, board string
		old         bool
	}{{"old kernel", "tesla-m60,clean-up=300ms", true}, {"new kernel", "tesla-m60,clean-up=300ms", false}, {"vendor VFIO", "l40s,vfs=2,clean-up=300ms", false}} {
		t.Run(test.name, func(t *testing.T) {
			sim, host := simulated(t, test.board)
			if test.old {
				sim.SetKernel(5, 4)
			}
			before := inventory(t, host)
			typ := before.GPUs[0].Capacity[0].Type
			created, err := host.Create(t.Context(), mdev.CreateRequest{Type: typ})
			require.NoError(t, err)
			release, err := sim.Use(created.ID, "desk1", 4242)
			require.NoError(t, err)
			release()
			require.NoError(t, host.Remove(t.Context(), created.ID))
			assert.Equal(t, before, inventory(t, host), "its instance is back")
		})
	}
}

// haunt makes a device, lets a VM use it, and blocks someone's removal of it. The
// function that it returns ends the VM and waits for that removal.
func haunt(t *testing.T, sim *mdevtest.Host, host *mdev.Host, req mdev.CreateRequest) (mdev.Created, func()) {
	t.Helper()
	created, err := host.Create(t.Context(), req)
	require.NoError(t, err)
	release, err := sim.Use(created.ID, "desk1", 4242)
	require.NoError(t, err)
	written := make(chan error)
	go func() { written <- sim.WriteAttr(created.Path+"/remove", []byte("1\n")) }()
	require.Eventually(t, func() bool {
		_, err := sim.Stat("sys/bus/mdev/devices/" + created.ID)
		return errors.Is(err, syscall.ENOENT)
	}, 5*time.Second, time.Millisecond)
	return created, func() {
		release()
		require.NoError(t, <-written)
	}
}

func TestGhostIsNamedAndFreedByItsVM(t *testing.T) {
	sim, host := simulated(t, "tesla-m60")
	before := inventory(t, host)
	id := uuid.New()
	created, free := haunt(t, sim, host, mdev.CreateRequest{Type: "GRID M60-2Q", UUID: id})

	dev, err := host.Device(t.Context(), created.ID)
	require.NoError(t, err)
	assert.Equal(t, mdev.StateGhost, dev.State)
	assert.Equal(t, "desk1", dev.Holder.VM)
	assert.NotEmpty(t, dev.Problems[0].Next)
	err = host.Remove(t.Context(), created.ID)
	require.ErrorIs(t, err, mdev.ErrInUse)
	assert.Contains(t, err.(*mdev.Error).Hint(), "desk1")
	_, err = host.Create(t.Context(), mdev.CreateRequest{Type: "GRID M60-2Q", UUID: id})
	require.ErrorIs(t, err, mdev.ErrExists)

	free()
	assert.Equal(t, before, inventory(t, host))
}

// True capacity counts the instance that a ghost holds, whose type nobody tells
// any more, and takes no type's last room for it that the driver still offers.
func TestGhostHoldsItsInstance(t *testing.T) {
	for _, test := range []struct {
		board, typ string
		counts     map[string]int // by type id, beside the ghost
	}{
		{"a40,vfs=8", "NVIDIA A40-24Q", map[string]int{"nvidia-565": 1, "nvidia-575": 1, "nvidia-557": 0}},
		{"a40,vfs=8", "NVIDIA A40-48Q", map[string]int{"nvidia-566": 0, "nvidia-557": 0}},
		{"tesla-t4", "GRID T4-2Q", map[string]int{"nvidia-231": 7}},
		{"a100-mig", "GRID A100-3-20C", map[string]int{"nvidia-476": 0, "nvidia-477": 1}},
	} {
		t.Run(test.board+" "+test.typ, func(t *testing.T) {
			sim, host := simulated(t, test.board)
			before := inventory(t, host)
			_, free := haunt(t, sim, host, mdev.CreateRequest{Type: test.typ})
			counted := map[string]int{}
			for _, c := range inventory(t, host).GPUs[0].Capacity {
				if _, asked := test.counts[c.Type]; asked {
					counted[c.Type] = c.Available
				}
			}
			assert.Equal(t, test.counts, counted)
			for typ, n := range test.counts {
				assert.Equal(t, n, fill(t, host, typ, n), "%s: so many can be made", typ)
			}
			free()
			assert.Equal(t, before, inventory(t, host))
		})
	}
}
