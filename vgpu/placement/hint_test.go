package placement

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
)

// idleGPU makes no vGPUs, as its virtual functions are not enabled.
func idleGPU(device, bus string, mig *mdev.MIG) mdev.GPU {
	g := mdev.GPU{Name: "0000:" + bus + ":00.0", SRIOV: &mdev.SRIOV{Total: 16}, MIG: mig}
	if device != "" {
		g.PCI = &mdev.PCI{Address: g.Name, Vendor: "10de", Device: device}
	}
	return g
}

// emptyMIG is in MIG mode, without GPU instances, and lists no types.
func emptyMIG(device, bus string) mdev.GPU {
	g := idleGPU(device, bus, &mdev.MIG{Enabled: true})
	g.SRIOV.Enabled = 1
	g.Parents = []mdev.Parent{{Name: "0000:" + bus + ":00.4", GPU: g.Name, PF: g.Name, Framework: mdev.FrameworkVendorVFIO}}
	return g
}

// refusalOf is why a host with these GPUs takes none of the requests.
func refusalOf(t *testing.T, requests []Request, gpus ...mdev.GPU) *Refusal {
	t.Helper()
	s, err := NewSnapshot(HostInventory{Inventory: &mdev.Inventory{GPUs: gpus}})
	require.NoError(t, err)
	_, err = s.Place(requests, Options{})
	var refusal *Refusal
	require.ErrorAs(t, err, &refusal)
	return refusal
}

// TestHintFitsTheBoard: what to do about a GPU is said only if it could carry the type, and of GPUs
// that may be of another board only if nothing is known of one that could.
func TestHintFitsTheBoard(t *testing.T) {
	full := gpuWith(simMIG, "05", "GRID A100-2-10C").gpu()
	small := gpuWith(simA40, "05", times(5, "NVIDIA A40-1Q")...).gpu()
	const remove, enable = "remove a vGPU", "enable them: /usr/lib/nvidia/sriov-manage -e 0000:41:00.0"
	for _, c := range []struct {
		what, ask string
		gpus      []mdev.GPU
		idle      ReasonCode // of the GPU that does not run vGPUs
		hint      string
	}{
		{"of another board", "GRID A100-2-10C", []mdev.GPU{full, idleGPU("26b9", "41", nil)}, ReasonNoSuchType, remove},
		{"of the same board", "GRID A100-2-10C", []mdev.GPU{full, idleGPU("20f1", "41", nil)}, ReasonNoParent, enable},
		{"of a board that is not known", "GRID A100-2-10C", []mdev.GPU{full, idleGPU("ffff", "41", nil)}, ReasonNoParent, remove},
		{"without a PCI device", "GRID A100-2-10C", []mdev.GPU{full, idleGPU("", "41", nil)}, ReasonNoParent, remove},
		{"alone, of another board", "GRID A100-2-10C", []mdev.GPU{idleGPU("26b9", "41", nil)}, ReasonNoSuchType, "look at the inventory"},
		{"alone, not known", "GRID A100-2-10C", []mdev.GPU{idleGPU("ffff", "41", nil)}, ReasonNoParent, enable},
		{"full without MIG", "NVIDIA A40-1Q", []mdev.GPU{small, idleGPU("20f1", "41", nil)}, ReasonNoSuchType, remove},
		{"of the same board without MIG", "NVIDIA A40-1Q", []mdev.GPU{small, idleGPU("2235", "41", nil)}, ReasonNoParent, enable},
		{
			"out of MIG mode", "GRID A100-2-10C",
			[]mdev.GPU{full, idleGPU("20f1", "41", &mdev.MIG{})},
			ReasonNoParent,
			"enable MIG mode (nvidia-smi -i 0000:41:00.0 -mig 1), then its virtual functions: /usr/lib/nvidia/sriov-manage -e 0000:41:00.0",
		},
		{
			"in MIG mode", "GRID A100-10C",
			[]mdev.GPU{idleGPU("20f1", "41", &mdev.MIG{Enabled: true})},
			ReasonNoParent,
			"disable MIG mode (nvidia-smi -i 0000:41:00.0 -mig 0), then enable its virtual functions: /usr/lib/nvidia/sriov-manage -e 0000:41:00.0",
		},
		{"in MIG mode without instances, of another board", "NVIDIA A40-1Q", []mdev.GPU{small, emptyMIG("2bb5", "41")}, ReasonNoSuchType, remove},
		{"in MIG mode without instances, not known", "NVIDIA A40-1Q", []mdev.GPU{small, emptyMIG("ffff", "41")}, ReasonNoInstance, remove},
		{"in MIG mode without instances", "DC-1-24Q", []mdev.GPU{emptyMIG("2bb5", "41")}, ReasonNoInstance, "nvidia-smi mig -i 0000:41:00.0 -cgi 1g.24gb"},
	} {
		t.Run(c.what, func(t *testing.T) {
			refusal := refusalOf(t, ask(c.ask), c.gpus...)
			assert.Contains(t, refusal.Hint(), c.hint)
			var idle []ReasonCode
			for _, r := range refusal.Reasons() {
				if r.GPU == "0000:41:00.0" {
					idle = append(idle, r.Code)
				}
			}
			assert.Equal(t, []ReasonCode{c.idle}, idle)
		})
	}
}

// TestOneLineOfAPin: the one line says why the GPU, or the parent, that a vGPU is pinned to does not
// take it, and not what its other virtual functions run.
func TestOneLineOfAPin(t *testing.T) {
	full := gpuWith(simA40, "41", times(5, "NVIDIA A40-1Q")...)
	fullGPU := gpuWith(simA40, "41", times(3, "NVIDIA A40-16C")...)
	sick := gpuWith(simA40, "41", times(3, "NVIDIA A40-16C")...)
	free := ""
	for _, p := range sick.parents() {
		if sick.free(p) {
			sick.broken[p] = free != "" // all but the first
			if free == "" {
				free = p
			}
		}
	}
	for _, c := range []struct {
		what        string
		gpu         *simGPU
		ask         string
		says, hides string
	}{
		{"to a GPU whose functions are taken", full, "NVIDIA A40-1Q@0000:41:00.0", "0000:41:00.0 is full", "has vGPU"},
		{"to a GPU without room", fullGPU, "NVIDIA A40-16C@0000:41:00.0", "0000:41:00.0 is full", "has vGPU"},
		{"to a free function of a GPU without room", fullGPU, "NVIDIA A40-16C@" + free, "0000:41:00.0 is full", "has vGPU"},
		{"to a sound function beside others", sick, "NVIDIA A40-16C@" + free, "0000:41:00.0 is full", "has a problem"},
		{"to a function in use", full, "NVIDIA A40-1Q@0000:41:00.01", "0000:41:00.01 has vGPU", "0000:41:00.02 has vGPU"},
	} {
		t.Run(c.what, func(t *testing.T) {
			text := refusalOf(t, ask(c.ask), c.gpu.gpu()).Error()
			assert.Contains(t, text, c.says)
			assert.NotContains(t, text, c.hides)
		})
	}
}

// TestReasonsNameTheirGPU: of a GPU without parents too a reason says which one is meant.
func TestReasonsNameTheirGPU(t *testing.T) {
	for _, requests := range [][]Request{ask("NVIDIA A40-1Q@0000:05:00.0"), ask("NVIDIA A40-1Q")} {
		refusal := refusalOf(t, requests, gpuWith(simA40, "05", times(5, "NVIDIA A40-1Q")...).gpu(), idleGPU("2235", "41", nil), emptyMIG("2bb5", "81"))
		for _, r := range refusal.Reasons() {
			assert.Contains(t, r.Text, r.GPU[:len("0000:41:00.")], "%+v", r)
		}
	}
}

// TestTypeKnownByItsNumber: a GPU that runs a vGPU of which only the number is known, and lists
// nothing any more, is full, and not without that type.
func TestTypeKnownByItsNumber(t *testing.T) {
	g := emptyMIG("20f1", "05")
	g.MIG = &mdev.MIG{}
	used := mdev.Parent{Name: "0000:05:00.5", GPU: g.Name, PF: g.Name, Framework: mdev.FrameworkVendorVFIO}
	used.Devices = []mdev.Device{{ID: used.Name, Framework: used.Framework, Parent: used.Name, GPU: g.Name, Type: "473", State: mdev.StateReady}}
	g.Parents = append(g.Parents, used)
	for _, asked := range []string{"473", "nvidia-473"} {
		refusal := refusalOf(t, []Request{{Type: asked}}, g)
		require.ErrorIs(t, refusal, ErrNoCapacity, asked)
		for _, r := range refusal.Reasons() {
			assert.NotEqual(t, ReasonNoSuchType, r.Code, asked)
			assert.Regexp(t, `\S$`, r.Text, asked)
		}
	}
}
