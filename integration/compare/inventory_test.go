package compare

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/NVIDIA/go-nvlib/pkg/nvmdev"
	"github.com/NVIDIA/go-nvlib/pkg/nvpci"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
)

// patience is how long the slowest contestant may take for one round.
const patience = 5 * time.Minute

// BenchmarkInventory reads parents, all types and devices of the whole host.
func BenchmarkInventory(b *testing.B) {
	host, err := mdev.Open(mdev.Config{})
	require.NoError(b, err)
	inv, err := host.Inventory(b.Context())
	require.NoError(b, err)
	require.Empty(b, inv.AllProblems())
	require.Len(b, inv.GPUs, gpus)
	require.Len(b, inv.GPUs[gpus-1].Parents, vfs)
	types := inv.GPUs[gpus-1].Parents[vfs-1].Types
	b.Run(os.Getenv(treeKind), func(b *testing.B) {
		b.Logf("%d types", gpus*vfs*len(types))
		b.Run("library", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				again, err := host.Inventory(b.Context())
				require.NoError(b, err)
				require.Len(b, again.GPUs[gpus-1].Parents[vfs-1].Types, len(types))
			}
		})
		b.Run("system-calls", func(b *testing.B) { bareCalls(b, false) })
		b.Run("system-calls-once", func(b *testing.B) { bareCalls(b, true) })
		b.Run("mdevctl", func(b *testing.B) { // a process of its own: its allocations are not seen
			program := os.Getenv("VGPUKIT_MDEVCTL")
			if program == "" {
				program = "mdevctl"
			}
			if _, err := exec.LookPath(program); err != nil {
				b.Skip("no mdevctl: install it, or name one in VGPUKIT_MDEVCTL")
			}
			for b.Loop() {
				out := answer(b, program, "types", "--dumpjson")
				require.Equal(b, gpus*vfs*len(types), strings.Count(out, `"nvidia-`))
			}
		})
		b.Run("go-nvlib", func(b *testing.B) { once(b, func() { nvlib(b, types) }) })
	})
}

// answer is what a program says; one that fails is told with its own words.
func answer(b *testing.B, program string, args ...string) string {
	var said, failed strings.Builder
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &said, &failed
	if err := cmd.Run(); err != nil {
		b.Fatalf("%s: %v: %s", cmd, err, strings.TrimSpace(failed.String()))
	}
	return said.String()
}

// nvlib reads the same through NVIDIA's library, which knows of a type the last
// word of its name.
func nvlib(b *testing.B, types []mdev.Type) {
	peer := nvmdev.New(nvmdev.WithNvpciLib(nvpci.New(nvpci.WithLogger(silence{}))))
	parents, err := peer.GetAllParentDevices()
	require.NoError(b, err)
	require.Len(b, parents, gpus*vfs)
	for _, p := range parents {
		for _, t := range types {
			n, err := p.GetAvailableMDEVInstances(t.Name[strings.LastIndexByte(t.Name, ' ')+1:])
			require.NoError(b, err)
			require.Equal(b, 1, n)
		}
	}
	_, err = peer.GetAllDevices()
	require.NoError(b, err)
}

// silence takes what the peer warns of: that a virtual function has no VFIO device.
type silence struct{}

// Warningf says nothing.
func (silence) Warningf(string, ...any) {}

// once times a single round of what may be too slow for more, whatever -benchtime
// says, and gives up when that takes longer than patience.
func once(b *testing.B, round func()) {
	var before, after runtime.MemStats
	var took time.Duration
	b.ReportAllocs()
	for b.Loop() {
		if took > 0 {
			continue
		}
		runtime.ReadMemStats(&before)
		start := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			round()
		}()
		select {
		case <-done:
		case <-time.After(patience):
			b.Fatalf("not done in %v", patience)
		}
		took = time.Since(start)
		runtime.ReadMemStats(&after)
	}
	b.ReportMetric(float64(took.Nanoseconds()), "ns/op")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc), "B/op")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs), "allocs/op")
}
