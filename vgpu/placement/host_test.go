package placement

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// TestPlaceAgreesWithTheDriver keeps the promise on each board of package
// mdevtest, through package mdev: a type that is placed can be created on the
// parent that was chosen, until placing refuses, and then the driver refuses it
// on every parent.
func TestPlaceAgreesWithTheDriver(t *testing.T) {
	t.Parallel()
	for _, boards := range [][]string{
		{"tesla-m60", "tesla-m60"},
		{"tesla-m60,old-driver"},
		{"tesla-v100"},
		{"tesla-p40"},
		{"tesla-t4"},
		{"a40,vfs=8"},
		{"a40,vfs=32", "tesla-t4"},
		{"a100,vfs=16"},
		{"l40s,vfs=6,vendor-vfio", "l40s,vfs=6,vendor-vfio"},
		{"a100,vfs=7,mig,instance=3g.20gb,instance=1g.5gb,instance=1g.5gb"},
		{"gvt-g"},
		{"mtty"},
		{"mdpy"},
		{"mbochs"},
		{"ap-matrix"},
	} {
		t.Run(fmt.Sprint(boards), func(t *testing.T) {
			seeds := int64(4)
			if testing.Short() {
				seeds = 2
			}
			for seed := range seeds {
				agree(t, seed, boards)
			}
		})
	}
}

func agree(t *testing.T, seed int64, specs []string) {
	var boards []mdevtest.Board
	for _, spec := range specs {
		b, err := mdevtest.NewBoard(spec)
		require.NoError(t, err)
		boards = append(boards, b)
	}
	host, err := mdev.Open(mdev.Config{FS: mdevtest.New(boards...)})
	require.NoError(t, err)
	inv, err := host.Inventory(t.Context())
	require.NoError(t, err)
	seen := map[string]bool{}
	var types []string
	for _, g := range inv.GPUs {
		for _, c := range g.Capacity {
			if !seen[c.Type] {
				seen[c.Type] = true
				types = append(types, c.Type)
			}
		}
	}
	require.NotEmpty(t, types)
	r := rand.New(rand.NewSource(seed))
	for range 24 {
		typeID := types[r.Intn(len(types))]
		where := fmt.Sprintf("seed %d, %s on %v", seed, typeID, specs)
		inv, err := host.Inventory(t.Context())
		require.NoError(t, err)
		s, err := NewSnapshot(HostInventory{Inventory: inv})
		require.NoError(t, err)
		options := Options{Policy: []Policy{Pack, Spread}[seed%2]}
		if r.Intn(3) == 0 { // several in one VM; the kernel does not tell how many GPU instances of a profile are free
			n := 2 + r.Intn(3)
			if p, err := s.Place(ask(times(n, typeID)...), options); err == nil && !strings.Contains(specs[0], "mig") {
				for _, v := range p.VGPUs {
					_, err = host.Create(t.Context(), mdev.CreateRequest{Type: v.Type, Parent: v.Parent})
					require.NoError(t, err, "%s: the driver refuses %+v", where, p)
				}
				continue
			}
		}
		p, err := s.Place(ask(typeID), options)
		if err == nil {
			_, err = host.Create(t.Context(), mdev.CreateRequest{Type: typeID, Parent: p.VGPUs[0].Parent})
			require.NoError(t, err, "%s: the driver refuses %+v", where, p)
			continue
		}
		for _, g := range inv.GPUs {
			for _, parent := range g.Parents {
				made, errCreate := host.Create(t.Context(), mdev.CreateRequest{Type: typeID, Parent: parent.Name})
				require.True(t, errCreate != nil || made.Existed, "%s: not placed (%v), but %s takes it", where, err, parent.Name)
			}
		}
	}
}
