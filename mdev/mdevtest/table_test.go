package mdevtest_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/internal/board"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// variants are all boards of NVIDIA's in the catalogue, in either framework.
func variants(t *testing.T) []string {
	t.Helper()
	var specs []string
	for _, name := range mdevtest.Boards() {
		b, err := mdevtest.NewBoard(name)
		require.NoError(t, err)
		h := newHost(t, name)
		if _, err := h.Facts(ctx, h.GPUs()[0]); err != nil || b.MIG {
			continue
		}
		specs = append(specs, name)
		if b.VFs > 0 && !b.VendorVFIO {
			specs = append(specs, name+",vendor-vfio")
		}
	}
	require.Greater(t, len(specs), 50)
	return specs
}

func typesOf(t *testing.T, spec string) []mdev.Type {
	t.Helper()
	b, err := mdevtest.NewBoard(spec)
	require.NoError(t, err)
	types, err := b.Types()
	require.NoError(t, err)
	require.NotEmpty(t, types)
	return types
}

func open(t *testing.T, sim *mdevtest.Host) *mdev.Host {
	t.Helper()
	host, err := mdev.Open(mdev.Config{FS: sim, Source: sim})
	require.NoError(t, err)
	return host
}

// sliced is how many slices a MIG-backed type has; 0: it is time-sliced.
func sliced(name string) int {
	parts := strings.Split(name, "-")
	n, _ := strconv.Atoi(parts[len(parts)-2])
	if n > 7 {
		return 0
	}
	return n
}

// An inventory lists the types of the table, by id, name and, where the driver tells it,
// what they are.
func TestEveryTypeIsListed(t *testing.T) {
	boards := map[string]bool{}
	listed := 0
	for _, spec := range variants(t) {
		inv, err := open(t, newHost(t, spec)).Inventory(t.Context())
		require.NoError(t, err)
		got := map[string]mdev.Type{}
		for _, gpu := range inv.GPUs {
			require.Empty(t, gpu.Problems, spec)
			for _, p := range gpu.Parents {
				require.Empty(t, p.Problems, spec)
				for _, typ := range p.Types {
					typ.Available = 0
					got[typ.ID] = typ
				}
			}
		}
		want := map[string]mdev.Type{}
		for _, typ := range typesOf(t, spec) {
			if strings.HasPrefix(typ.ID, "nvidia-") || sliced(typ.Name) == 0 { // a VF lists what can be made now
				want[typ.ID] = typ
			}
		}
		require.ElementsMatch(t, slices.Collect(maps.Keys(want)), slices.Collect(maps.Keys(got)), spec)
		for id, typ := range want {
			assert.Equal(t, typ.Name, got[id].Name)
			assert.Equal(t, typ.Description.Framebuffer, got[id].Description.Framebuffer, typ.Name)
			if strings.HasPrefix(id, "nvidia-") {
				assert.Equal(t, typ, got[id])
			}
		}
		boards[strings.Split(spec, ",")[0]] = true
		listed += len(want)
	}
	t.Logf("%d boards, %d types", len(boards), listed)
	require.GreaterOrEqual(t, len(boards), 41)
}

// Of each type the empty GPU takes as many as the table says, and not one more: of one type
// a size through mdev, of the others by hand.
func TestEveryTypeFills(t *testing.T) {
	for _, spec := range variants(t) {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			byMdev := map[uint64]bool{}
			for _, typ := range typesOf(t, spec) {
				sim := newHost(t, withInstances(t, spec, typ))
				most := typ.Description.MaxInstances * len(sim.GPUs())
				if size := typ.Description.Framebuffer; sliced(typ.Name) > 0 || !byMdev[size] {
					byMdev[size] = true
					require.Equal(t, most, fillByMdev(t, sim, typ), typ.Name)
					continue
				}
				require.Equal(t, most, fillByHand(t, sim, typ), typ.Name)
			}
		})
	}
}

// withInstances is a board with all the GPU instances that a type can have.
func withInstances(t *testing.T, spec string, typ mdev.Type) string {
	t.Helper()
	if sliced(typ.Name) == 0 {
		return spec
	}
	best, most := "", 0
	for _, profile := range profiles(t, spec) {
		n := 1
		for ; ; n++ { // as many as there can be
			if _, err := mdevtest.NewBoard(spec + ",mig=" + profile + ":" + strconv.Itoa(n)); err != nil {
				break
			}
		}
		with := spec + ",mig=" + profile + ":" + strconv.Itoa(n-1)
		if made := fillByHand(t, newHost(t, with), typ); made > most {
			best, most = with, made
		}
	}
	require.NotEmpty(t, best, "%s has no GPU instance for %s", spec, typ.Name)
	return best
}

// profiles are those of which a board can have GPU instances; an error tells them.
func profiles(t *testing.T, spec string) []string {
	t.Helper()
	_, err := mdevtest.NewBoard(spec + ",mig=1g.1gb")
	require.ErrorContains(t, err, "; there are ")
	_, names, _ := strings.Cut(err.Error(), "; there are ")
	return strings.Split(names, ", ")
}

func fillByMdev(t *testing.T, sim *mdevtest.Host, typ mdev.Type) int {
	t.Helper()
	host := open(t, sim)
	for n := 0; ; n++ {
		if _, err := host.Create(t.Context(), mdev.CreateRequest{Type: typ.ID}); err != nil {
			require.ErrorIs(t, err, mdev.ErrNoCapacity)
			return n
		}
	}
}

// fillByHand writes to all files that make such a vGPU.
func fillByHand(t *testing.T, sim *mdevtest.Host, typ mdev.Type) int {
	t.Helper()
	made := 0
	dir, file := "sys/class/mdev_bus", "/mdev_supported_types/"+typ.ID+"/create"
	if !strings.HasPrefix(typ.ID, "nvidia-") {
		dir, file = "sys/bus/pci/devices", "/nvidia/current_vgpu_type"
	}
	entries, err := sim.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		for {
			data := typ.ID
			if dir == "sys/class/mdev_bus" {
				data = "00000000-0000-4000-8000-" + strings.Repeat("0", 8) + strconv.Itoa(1000+made)
			}
			if write(sim, dir+"/"+e.Name()+file, data) != nil {
				break
			}
			made++
		}
	}
	return made
}

// tableRow is a type in corpus/boards.json.
type tableRow struct {
	id, framebuffer, heads, rate, most int
	name, resolution                   string
}

func (r *tableRow) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&r.id, &r.name, &r.framebuffer, &r.heads, &r.rate, &r.resolution, &r.most})
}

// The table is NVIDIA's of driver 535, where that is at hand: in boards.json below the
// directory VGPUKIT_CORPUS. Without it the sum of what was compared is kept.
func TestTableOfDriver535(t *testing.T) {
	byName := map[string]mdev.Type{} // of driver 535, by id and name
	devices := map[string]string{}
	for _, name := range mdevtest.Boards() {
		b, err := mdevtest.NewBoard(name)
		require.NoError(t, err)
		if b.Driver = "535.154.02"; b.VendorVFIO {
			b.VendorVFIO = false
		}
		types, err := b.Types()
		if err != nil {
			continue // it is not NVIDIA's
		}
		h := mdevtest.New(b)
		dir := "sys/bus/pci/devices/" + h.GPUs()[0]
		device := strings.TrimSpace(read(t, h, dir+"/device")) + " " + strings.TrimLeft(strings.TrimSpace(read(t, h, dir+"/subsystem_device")), "0x")
		for _, typ := range types {
			key := typ.ID + " " + typ.Name
			byName[key] = typ
			devices[key] = device
		}
	}
	corpus := os.Getenv("VGPUKIT_CORPUS")
	if corpus == "" {
		require.Equal(t, 722, len(byName))
		return
	}
	data, err := os.ReadFile(filepath.Join(corpus, "boards.json"))
	require.NoError(t, err)
	var boards map[string]struct {
		Device, Subsystem string
		Types             []tableRow
	}
	require.NoError(t, json.Unmarshal(data, &boards))
	compared := 0
	for _, board := range boards {
		for _, r := range board.Types {
			key := "nvidia-" + strconv.Itoa(r.id) + " " + r.name
			typ, ok := byName[key]
			require.True(t, ok, key)
			width, height, _ := strings.Cut(r.resolution, "x")
			d := typ.Description
			assert.Equal(t, r, tableRow{r.id, int(d.Framebuffer >> 20), d.Heads, d.FrameRateLimit, d.MaxInstances, typ.Name, r.resolution})
			assert.Equal(t, []string{width, height}, []string{strconv.Itoa(d.MaxResolution.Width), strconv.Itoa(d.MaxResolution.Height)}, key)
			assert.Equal(t, board.Device+" "+strings.TrimLeft(board.Subsystem, "0x"), devices[key], key)
			compared++
		}
	}
	t.Logf("%d boards, %d types", len(boards), compared)
	require.Positive(t, compared)
}

// TestDevicesTellBoards: the boards that can have virtual functions are known by their PCI devices
// too, since they list no types until they have some; and that they make no others'.
func TestDevicesTellBoards(t *testing.T) {
	withVFs := 0
	for _, spec := range variants(t) {
		b, err := mdevtest.NewBoard(spec)
		require.NoError(t, err)
		if b.VFs == 0 {
			continue
		}
		withVFs++
		inv, err := open(t, newHost(t, spec)).Inventory(t.Context())
		require.NoError(t, err)
		for _, typ := range append(typesOf(t, spec), mdev.Type{Name: "GRID M60-1Q"}) {
			named, ok := board.Parse(typ.Name)
			require.True(t, ok, typ.Name)
			makes, known := board.Makes(inv.GPUs[0].PCI.Device, named)
			assert.True(t, known, spec)
			assert.Equal(t, typ.Name != "GRID M60-1Q", makes, "%s on %s", typ.Name, spec)
		}
	}
	require.Positive(t, withVFs)
}
