package mdevtest_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// random is drawn from VGPUKIT_SEED, or anew; either way the seed is told.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("VGPUKIT_SEED"); text != "" {
		_, err := fmt.Sscan(text, &seed)
		require.NoError(t, err, "VGPUKIT_SEED")
	}
	t.Logf("VGPUKIT_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// offer is one type of one parent.
type offer struct{ parent, typ string }

func offers(t testing.TB, h *mdevtest.Host) []offer {
	var all []offer
	parents, err := h.ReadDir("sys/class/mdev_bus")
	require.NoError(t, err)
	for _, p := range parents {
		types, err := h.ReadDir("sys/class/mdev_bus/" + p.Name() + "/mdev_supported_types")
		require.NoError(t, err)
		for _, typ := range types {
			all = append(all, offer{p.Name(), typ.Name()})
		}
	}
	return all
}

// What is listed as available can be created, what is 0 cannot, counters are
// never negative, and when all is removed everything is as before: for any
// series of operations on every board.
func TestCounters(t *testing.T) {
	for _, spec := range []string{
		"tesla-m60", "tesla-m60,old-driver", "tesla-v100", "tesla-p40", "tesla-t4", "rtx-a6000", "a40,vfs=6", "a40,vfs=6,mixed",
		"a40,vfs=6,vfio-pci-types=4", "a100,vfs=5", "a100-mig,vfs=5", "a100,vfs=8,mixed", "tesla-p6", "quadro-rtx8000",
		"a100,vfs=6,mig=1g.5gb:3,mig=2g.10gb", "rtx-pro-6000,driver=535.154.02,vfs=9,mig=1g.24gb+gfx:2,mig=2g.48gb+gfx", "gvt-g", "ap-matrix", "ccw", "mtty", "mdpy", "mbochs",
	} {
		t.Run(spec, func(t *testing.T) {
			random := random(t)
			h := newHost(t, spec)
			before := snapshot(t, h)
			all := offers(t, h)
			var made []string
			for range 300 {
				if len(made) > 0 && random.IntN(3) == 0 {
					i := random.IntN(len(made))
					require.NoError(t, write(h, deviceDir(made[i])+"/remove", "1"))
					made[i] = made[len(made)-1]
					made = made[:len(made)-1]
					continue
				}
				o := all[random.IntN(len(all))]
				dir := typeDir(o.parent, o.typ)
				left, err := strconv.Atoi(strings.TrimSpace(read(t, h, dir+"/available_instances")))
				require.NoError(t, err)
				require.GreaterOrEqual(t, left, 0)
				id := fmt.Sprintf("%08x-0000-4000-8000-%012x", random.Uint32(), random.Uint32())
				err = write(h, dir+"/create", id)
				require.Equal(t, left > 0, err == nil, "%s with %d left: %v", dir, left, err)
				if err == nil {
					made = append(made, id)
					now, err := strconv.Atoi(strings.TrimSpace(read(t, h, dir+"/available_instances")))
					require.NoError(t, err)
					require.Less(t, now, left)
				}
			}
			for _, id := range made {
				require.NoError(t, write(h, deviceDir(id)+"/remove", "1"))
			}
			requireSame(t, before, snapshot(t, h))
		})
	}
}

// The same for VFs that are vGPUs themselves.
func TestCreatableTypesTellTheTruth(t *testing.T) {
	for _, spec := range []string{
		"l40s,vfs=6", "a100,vfs=6,vendor-vfio,mixed", "a100-mig,vfs=4,vendor-vfio", "a40,vfs=6,vendor-vfio,old-driver",
		"h100,vfs=6,mixed", "h200,vfs=4,mig=1g.18gb:2,mig=1g.35gb", "rtx-pro-6000,vfs=6,mig=1g.24gb+gfx:2,mig=2g.48gb+gfx",
	} {
		t.Run(spec, func(t *testing.T) {
			random := random(t)
			h := newHost(t, spec)
			before := snapshot(t, h)
			listed := func(n int) map[string]bool {
				types := map[string]bool{}
				for _, line := range creatable(t, h, n) {
					types[strings.Fields(line)[0]] = true
				}
				return types
			}
			count := strings.Count(spec, "vfs=6")*6 + strings.Count(spec, "vfs=4")*4
			var seen []string
			for typ := range listed(0) {
				seen = append(seen, typ)
			}
			for range 300 {
				n := random.IntN(count)
				file := vf(n) + "/current_vgpu_type"
				if read(t, h, file) != "0\n" {
					require.NoError(t, write(h, file, "0"))
					continue
				}
				typ := seen[random.IntN(len(seen))]
				can := listed(n)[typ]
				err := write(h, file, typ)
				require.Equal(t, can, err == nil, "%s: %v", typ, err)
				if err != nil {
					require.ErrorIs(t, err, syscall.EIO)
				}
			}
			for n := range count {
				if read(t, h, vf(n)+"/current_vgpu_type") != "0\n" {
					require.NoError(t, write(h, vf(n)+"/current_vgpu_type", "0"))
				}
			}
			requireSame(t, before, snapshot(t, h))
		})
	}
}

// 64 goroutines make, use and remove on one host: never over capacity, nothing
// left over, no errno but the right ones. Run with -race.
func TestConcurrency(t *testing.T) {
	h := newHost(t, "mtty", "tesla-m60")
	before := snapshot(t, h)
	var wg sync.WaitGroup
	for worker := range 64 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(0, uint64(worker)))
			for i := range 50 {
				id := fmt.Sprintf("%08x-0000-4000-8000-%012x", worker, i)
				dir, full := typeDir("mtty", "mtty-2"), syscall.ENOSPC
				if random.IntN(2) == 0 {
					dir, full = typeDir("0000:06:00.0", "nvidia-18"), syscall.EIO
				}
				err := write(h, dir+"/create", id)
				if err != nil {
					if !strings.Contains(err.Error(), full.Error()) {
						t.Errorf("create: %v", err)
					}
					continue
				}
				if release, err := h.Use(id, fmt.Sprint("vm", id), 100+worker); err != nil {
					t.Errorf("use: %v", err)
				} else {
					go release()
				}
				if err := write(h, deviceDir(id)+"/remove", "1"); err != nil {
					t.Errorf("remove: %v", err)
				}
				if _, err := h.ReadDir("sys/bus/mdev/devices"); err != nil {
					t.Errorf("list: %v", err)
				}
			}
		})
	}
	wg.Wait()
	requireSame(t, before, snapshot(t, h))
}

// Hundreds of GPUs are no burden: boards at their own places in several PCI
// domains, made at once.
func TestManyGPUs(t *testing.T) {
	h := mdevtest.New()
	for range 300 {
		b, err := mdevtest.NewBoard("a40")
		require.NoError(t, err)
		require.NoError(t, h.Plug(b))
	}
	names := h.GPUs()
	require.Len(t, names, 300)
	require.Contains(t, names, "0001:41:00.0")
	require.NoError(t, write(h, typeDir("0001:41:00.4", "nvidia-558")+"/create", uuid1))
}

func BenchmarkCreateRemove(b *testing.B) {
	h := newHost(b, "mtty")
	create, remove := typeDir("mtty", "mtty-1")+"/create", deviceDir(uuid1)+"/remove"
	for b.Loop() {
		if err := write(h, create, uuid1); err != nil {
			b.Fatal(err)
		}
		if err := write(h, remove, "1"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadAvailable(b *testing.B) {
	h := newHost(b, "a40")
	name := typeDir("0000:41:00.4", "nvidia-558") + "/available_instances"
	for b.Loop() {
		if _, err := h.ReadFile(name); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkManyGPUs(b *testing.B) {
	board, err := mdevtest.NewBoard("a40")
	require.NoError(b, err)
	for b.Loop() {
		h := mdevtest.New()
		for range 100 {
			if err := h.Plug(board); err != nil {
				b.Fatal(err)
			}
		}
	}
}
