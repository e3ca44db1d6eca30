package mdevtest_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// Whatever a GPU runs, and whichever GPU instances it has, what is said to fit fits: of each
// type as many as the inventory says can be made, and not one more. For random fillings of
// each board, in either MIG mode.
func TestWhatFits(t *testing.T) {
	random := random(t)
	for _, spec := range variants(t) {
		types := typesOf(t, spec)
		specs := []string{spec}
		if slices.ContainsFunc(types, func(typ mdev.Type) bool { return sliced(typ.Name) > 0 }) {
			for range 3 {
				specs = append(specs, randomInstances(t, random, spec))
			}
		}
		for _, spec := range specs {
			rng := rand.New(rand.NewPCG(random.Uint64(), 0))
			t.Run(spec, func(t *testing.T) {
				t.Parallel()
				whatFits(t, rng, spec, types)
			})
		}
	}
}

// randomInstances is a board with as many random GPU instances as it takes.
func randomInstances(t *testing.T, random *rand.Rand, spec string) string {
	t.Helper()
	all := profiles(t, spec)
	spec += ",mig"
	for range 1 + random.IntN(10) {
		with := spec + ",instance=" + all[random.IntN(len(all))]
		if _, err := mdevtest.NewBoard(with); err == nil {
			spec = with
		}
	}
	return spec
}

// whatFits fills a GPU with vGPUs of random types, and at each step tries a few types.
func whatFits(t *testing.T, random *rand.Rand, spec string, types []mdev.Type) {
	t.Helper()
	sim := newHost(t, spec)
	host := open(t, sim)
	for range 4 {
		said := room(t, host)
		for range 4 {
			typ := types[random.IntN(len(types))]
			assert.Equal(t, fillAndEmpty(t, sim, typ), said[typ.ID], "%s beside %v", typ.Name, sim.Devices())
		}
		var can []string
		for _, typ := range types {
			if said[typ.ID] > 0 {
				can = append(can, typ.ID)
			}
		}
		if len(can) == 0 {
			return
		}
		_, err := host.Create(t.Context(), mdev.CreateRequest{Type: can[random.IntN(len(can))]})
		require.NoError(t, err)
	}
}

// room is how many of each type an inventory says that the host still holds.
func room(t *testing.T, host *mdev.Host) map[string]int {
	t.Helper()
	inv, err := host.Inventory(t.Context())
	require.NoError(t, err)
	said := map[string]int{}
	for _, gpu := range inv.GPUs {
		for _, c := range gpu.Capacity {
			said[c.Type] += c.Available
		}
	}
	return said
}

// fillAndEmpty makes as many vGPUs of a type by hand as there can be, and takes them away.
func fillAndEmpty(t *testing.T, sim *mdevtest.Host, typ mdev.Type) int {
	t.Helper()
	before := sim.Devices()
	made := fillByHand(t, sim, typ)
	for _, id := range sim.Devices() {
		switch {
		case slices.Contains(before, id):
		case strings.Contains(id, ":"):
			require.NoError(t, write(sim, "sys/bus/pci/devices/"+id+"/nvidia/current_vgpu_type", "0"))
		default:
			require.NoError(t, write(sim, deviceDir(id)+"/remove", "1"))
		}
	}
	return made
}
