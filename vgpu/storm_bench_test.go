//go:build cgo

package vgpu

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// BenchmarkBootStorm has 64 VMs provisioned and started at the same moment on a host of 8
// GPUs, by a hypervisor that takes 300 ms a start, in this process or through virt.Conn, and
// tells how much longer that takes than the same definitions and starts alone.
func BenchmarkBootStorm(b *testing.B) {
	for _, c := range []struct {
		name, typ, board string
		boards           int
	}{
		{"M60", "GRID M60-1Q", "tesla-m60", 4}, {"A40", "NVIDIA A40-4Q", "a40", 8}, {"L40S", "NVIDIA L40S-4Q", "l40s", 8},
	} {
		for _, through := range []string{"in process", "through virt"} {
			b.Run(c.name+" "+through, func(b *testing.B) {
				var ours, bare, cpu []time.Duration
				for range b.N {
					one := newStorm(b, c.board, c.boards, through)
					bare = append(bare, one.bare())
					one = newStorm(b, c.board, c.boards, through)
					before := processorTime(b)
					ours = append(ours, one.managed(c.typ))
					cpu = append(cpu, processorTime(b)-before)
				}
				b.ReportMetric(float64(median(ours))/float64(median(bare)), "times-bare")
				b.ReportMetric(float64(median(cpu).Milliseconds()), "cpu-ms")
				b.ReportMetric(float64(median(bare).Milliseconds()), "bare-ms")
				b.ReportMetric(float64(median(ours).Milliseconds()), "ours-ms")
			})
		}
	}
}

// processorTime is what this process has had of the processors.
func processorTime(b *testing.B) time.Duration {
	var use syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &use))
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func median(of []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[len(sorted)/2]
}

// boots is one storm.
type boots struct {
	b     *testing.B
	rig   *rig
	hyper Hypervisor
	docs  []string
}

func newStorm(b *testing.B, board string, boards int, through string) boots {
	var specs []string
	for i := range boards {
		specs = append(specs, fmt.Sprintf("%s@0000:%02x:00.0", board, 0x11+0x10*i))
	}
	s := boots{b: b, rig: newRig(b, specs...)}
	_, err := s.rig.host.Inventory(context.Background()) // a simulated host makes its files when they are first looked at
	require.NoError(b, err)
	s.hyper = s.rig.hyper
	s.rig.hyper.Fail(vgputest.Fault{Method: "Start", Delay: 300 * time.Millisecond})
	for i := range 64 {
		s.docs = append(s.docs, document(fmt.Sprint("vm", i)))
	}
	if through == "in process" {
		return s
	}
	s.hyper = s.rig.served().Conn
	return s
}

func (s boots) all(do func(ctx context.Context, i int) error) time.Duration {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	begin := time.Now()
	errs := atOnce(64, func(i int) error { return do(ctx, i) })
	took := time.Since(begin)
	for _, err := range errs {
		require.NoError(s.b, err)
	}
	return took
}

func (s boots) bare() time.Duration {
	return s.all(func(ctx context.Context, i int) error {
		if _, err := s.hyper.Define(ctx, s.docs[i]); err != nil {
			return err
		}
		return s.hyper.Start(ctx, fmt.Sprint("vm", i))
	})
}

func (s boots) managed(typ string) time.Duration {
	m, err := New(Config{Host: s.rig.host, Hypervisor: s.hyper, StateDir: s.rig.dir, RuntimeDir: s.rig.run})
	require.NoError(s.b, err)
	return s.all(func(ctx context.Context, i int) error {
		if _, err := m.Provision(ctx, ProvisionRequest{Domain: s.docs[i], VGPUs: []Request{{Type: typ}}}); err != nil {
			return err
		}
		_, err := m.Start(ctx, fmt.Sprint("vm", i), StartOptions{})
		return err
	})
}
