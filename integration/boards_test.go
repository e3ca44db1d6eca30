//go:build integration

package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

// board is one way in which a host offers vGPUs, and what VMs are given of it.
type board struct {
	name  string
	types []string // of the victim's vGPUs; VMs with a single one have the first
	guest []string // what the victim's guest sees: vendor:device
	// gpu is NVIDIA's, whose driver cleans up after a VM.
	gpu string
	// vf: a vGPU is a virtual function.
	vf bool
}

// boards are a kernel's sample, and NVIDIA's three ways: mdevs on the GPU, mdevs on
// its virtual functions, and the virtual functions themselves. Each has room for the
// victim and three VMs more.
var boards = []board{
	{name: "mtty", types: []string{"mtty-1", "mtty-2"}, guest: []string{"4348:3253", "4348:3253"}},
	{name: "M60", types: []string{"GRID M60-2Q"}, guest: []string{"10de:13f2"}, gpu: gpuM60},
	{name: "A40", types: []string{"NVIDIA A40-8Q", "NVIDIA A40-8Q"}, guest: []string{"10de:2235", "10de:2235"}, gpu: gpuA40},
	{name: "L40S", types: []string{"NVIDIA L40S-8Q", "NVIDIA L40S-8Q"}, guest: []string{"10de:26b9", "10de:26b9"}, gpu: gpuL40S, vf: true},
}

// victim is the VM that all is done to.
const victim = "vgpukit-test-victim"

// plain is a VM that starts fast: no display, nothing to boot.
func plain(name string) string {
	return fmt.Sprintf(`<domain type='qemu'>
  <name>%s</name>
  <uuid>%s</uuid>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices><controller type='usb' model='none'/><memballoon model='none'/></devices>
</domain>
`, name, uuid.NewSHA1(uuid.Nil, []byte(name)))
}

func boardNamed(name string) board {
	for _, b := range boards {
		if b.name == name {
			return b
		}
	}
	panic("no board is named " + name)
}

// onEachBoard runs a test on each board: by default on the first and on one of the
// others, since NVIDIA's take their time; VGPUKIT_KILL=all says all.
func onEachBoard(t *testing.T, name string, test func(*testing.T, board)) {
	other := 1 + rand.IntN(len(boards)-1)
	for i, b := range boards {
		if i == 0 || i == other || os.Getenv("VGPUKIT_KILL") == "all" {
			t.Run(strings.TrimSpace(name+" "+b.name), func(t *testing.T) { test(t, b) })
		}
	}
}

// lingerTime is how long NVIDIA's driver cleans up after a VM: longer than what
// comes next would take without it.
const lingerTime = 300 * time.Millisecond

// rig is a host that has the board.
func (b board) rig(t *testing.T) *rig {
	t.Helper()
	if b.gpu == "" {
		return newRig(t)
	}
	r := nvidia(t, b.gpu)
	linger(t, lingerTime)
	return r
}

// victim asks for the victim with its vGPUs.
func (b board) victim(life vgpu.Lifetime) vgpu.ProvisionRequest {
	req := vgpu.ProvisionRequest{Domain: plain(victim), Lifetime: life}
	for _, typ := range b.types {
		req.VGPUs = append(req.VGPUs, vgpu.Request{Type: typ})
	}
	return req
}

// single is a VM with one vGPU.
func (b board) single(name string, life vgpu.Lifetime) vgpu.ProvisionRequest {
	return vgpu.ProvisionRequest{Domain: plain(name), Lifetime: life, VGPUs: []vgpu.Request{{Type: b.types[0]}}}
}

// makes tells of a write, as its tracer names it, whether it makes a vGPU.
func (b board) makes(write string) bool {
	if b.vf {
		return strings.HasSuffix(write, "/nvidia/current_vgpu_type")
	}
	return strings.HasSuffix(write, "/create")
}

// removeByHand takes a vGPU away as people do at a shell.
func (b board) removeByHand(t *testing.T, id string) {
	t.Helper()
	file, what := "/sys/bus/mdev/devices/"+id+"/remove", "1"
	if b.vf {
		file, what = "/sys/bus/pci/devices/"+id+"/nvidia/current_vgpu_type", "0"
	}
	require.NoError(t, os.WriteFile(file, []byte(what), 0))
}

// room is how many vGPUs of a type the host has room for.
func room(t *testing.T, host *mdev.Host, typ string) int {
	t.Helper()
	inv, err := host.Inventory(t.Context())
	require.NoError(t, err)
	for _, gpu := range inv.GPUs {
		for _, c := range gpu.Capacity {
			if c.Type == typ || c.Name == typ {
				return c.Available
			}
		}
	}
	return 0
}

// hostCreate makes a vGPU for the time of the test.
func hostCreate(t *testing.T, host *mdev.Host, typ string) (id string) {
	t.Helper()
	made, err := host.Create(within(t, time.Minute), mdev.CreateRequest{Type: typ})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		assert.NoError(t, host.Remove(ctx, made.ID))
	})
	return made.ID
}

// linger lets NVIDIA's driver clean up for a while after each VM.
func linger(t *testing.T, d time.Duration) {
	t.Helper()
	const knob = "/sys/module/nvsim/parameters/linger_ms"
	before, err := os.ReadFile(knob)
	if err != nil {
		if inLab() {
			lacking(t, "a knob for how long the driver cleans up")
		}
		return // a real driver takes the time that it takes
	}
	require.NoError(t, os.WriteFile(knob, []byte(strconv.FormatInt(d.Milliseconds(), 10)), 0o644))
	t.Cleanup(func() { require.NoError(t, os.WriteFile(knob, before, 0o644)) })
}
