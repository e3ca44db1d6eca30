package placement

import (
	"fmt"
	"math/rand"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	benchA40 = &simBoard{name: "NVIDIA A40", vfs: 16, types: sized("NVIDIA A40", 555, 48<<10, 32,
		"1B", "2B", "1Q", "2Q", "3Q", "4Q", "6Q", "8Q", "12Q", "16Q", "24Q", "48Q", "4C", "6C", "8C", "16C", "24C", "48C")}
	benchFleetSizes = []int{100, 1_000, 10_000}
)

// benchFleet is a fleet in use: hosts of eight GPUs, a quarter of them M60
// without virtual functions, the rest A40 with 16; empty, full and in between.
func benchFleet(gpus int) []HostInventory {
	r := rand.New(rand.NewSource(1))
	var fleet []HostInventory
	for n := 0; n < gpus; n += 8 {
		h := &simHost{name: fmt.Sprintf("host%05d", n/8)}
		board, profiles := benchA40, []string{"NVIDIA A40-2Q", "NVIDIA A40-8Q", "NVIDIA A40-8Q", "NVIDIA A40-12Q", "NVIDIA A40-48Q"}
		if n/8%4 == 0 {
			board, profiles = simM60, []string{"GRID M60-1Q", "GRID M60-2Q", "GRID M60-8Q"}
		}
		for i := range min(8, gpus-n) {
			g := &simGPU{board: board, name: fmt.Sprintf("0000:%02x:00.0", 0x41+i), node: i / 4}
			profile := profiles[r.Intn(len(profiles))]
			for range r.Intn(8) {
				g.createAnywhere(profile)
			}
			h.gpus = append(h.gpus, g)
		}
		fleet = append(fleet, h.inventory())
	}
	return fleet
}

var benchSnapshots = map[int]*Snapshot{}

func benchSnapshot(b *testing.B, gpus int) *Snapshot {
	if benchSnapshots[gpus] == nil {
		s, err := NewSnapshot(benchFleet(gpus)...)
		require.NoError(b, err)
		benchSnapshots[gpus] = s
	}
	return benchSnapshots[gpus]
}

// BenchmarkPlace is one decision over a fleet, after the snapshot: the goal is
// less than 100 microseconds for 10,000 GPUs, and a cost that grows no faster
// than the fleet.
func BenchmarkPlace(b *testing.B) {
	node := 1
	several := make([]Request, 4)
	for i := range several {
		several[i].Type = "NVIDIA A40-8Q"
	}
	sixteen := make([]Request, 16)
	for i := range sixteen {
		sixteen[i].Type = "NVIDIA A40-2Q"
	}
	group := make([]Use, 64)
	for i := range group {
		group[i] = Use{Host: fmt.Sprintf("host%05d", i%12), GPU: "0000:41:00.0"}
	}
	for _, c := range []struct {
		name     string
		requests []Request
		options  Options
	}{
		{"pack", several[:1], Options{}},
		{"spread", several[:1], Options{Policy: Spread}},
		{"spread-keep", several[:1], Options{Policy: Spread, KeepEmpty: 2}},
		{"numa", several[:1], Options{Policy: NUMA, NUMANode: &node}},
		{"group", several[:1], Options{Avoid: group}},
		{"pinned", []Request{{Type: "NVIDIA A40-8Q", Parent: "0000:43:00.0"}}, Options{Policy: Pinned}},
		{"pack-4", several, Options{}},
		{"spread-4-apart", several, Options{Policy: Spread, AntiAffinity: true}},
		{"pack-16", sixteen, Options{}},
	} {
		for _, gpus := range benchFleetSizes {
			s := benchSnapshot(b, gpus)
			b.Run(fmt.Sprintf("%s/gpus=%d", c.name, gpus), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := s.Place(c.requests, c.options); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkPlaceFirst is the first decision over a new snapshot, pinned by name.
func BenchmarkPlaceFirst(b *testing.B) {
	for _, gpus := range benchFleetSizes {
		fleet := benchFleet(gpus)
		b.Run(fmt.Sprintf("pinned/gpus=%d", gpus), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				s, err := NewSnapshot(fleet...)
				require.NoError(b, err)
				b.StartTimer()
				if _, err := s.Place([]Request{{Type: "NVIDIA A40-8Q", Parent: "0000:43:00.0"}}, Options{Policy: Pinned}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRefuse is a decision that finds no place, without the reasons.
func BenchmarkRefuse(b *testing.B) {
	requests := []Request{
		{Type: "NVIDIA A40-48Q"},
		{Type: "NVIDIA A40-48Q"},
		{Type: "NVIDIA A40-48Q"},
		{Type: "NVIDIA A40-48Q"},
		{Type: "NVIDIA A40-48Q"},
		{Type: "NVIDIA A40-48Q"},
		{Type: "NVIDIA A40-48Q"},
		{Type: "NVIDIA A40-48Q"},
		{Type: "NVIDIA A40-48Q"},
	}
	for _, gpus := range benchFleetSizes {
		s := benchSnapshot(b, gpus)
		b.Run(fmt.Sprintf("gpus=%d", gpus), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Place(requests, Options{}); err == nil {
					b.Fatal("placed")
				}
			}
		})
	}
}

// BenchmarkAfter is the step from one snapshot to the next.
func BenchmarkAfter(b *testing.B) {
	for _, gpus := range benchFleetSizes {
		s := benchSnapshot(b, gpus)
		p, err := s.Place([]Request{{Type: "NVIDIA A40-8Q"}}, Options{})
		require.NoError(b, err)
		b.Run(fmt.Sprintf("gpus=%d", gpus), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.After(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkNewSnapshot is the index over a fleet's inventories.
func BenchmarkNewSnapshot(b *testing.B) {
	for _, gpus := range benchFleetSizes {
		fleet := benchFleet(gpus)
		b.Run(fmt.Sprintf("gpus=%d", gpus), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := NewSnapshot(fleet...); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(gpus), "ns/GPU")
		})
	}
}
