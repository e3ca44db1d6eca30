//go:build cgo

package vgputest_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkCalls is what a call costs a test, in process and at a socket: one that reads
// and one that changes, with one VM and among thousands.
func BenchmarkCalls(b *testing.B) {
	for _, vms := range []int{1, 10_000} {
		libvirt := oneVGPU(b)
		for n := range vms {
			_, err := libvirt.Define(b.Context(), machineWith(fmt.Sprint("vm-", n)))
			require.NoError(b, err)
		}
		conn := connect(b, serve(b, libvirt))
		for _, way := range []struct {
			name string
			to   both
		}{{"in process", libvirt}, {"socket", conn}} {
			name := fmt.Sprintf("%s, %d VMs/", way.name, vms)
			b.Run(name+"Info", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, err := way.to.Info(b.Context(), "vm-0")
					require.NoError(b, err)
				}
			})
			b.Run(name+"Start and Terminate", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					require.NoError(b, way.to.Start(b.Context(), "vm-0"))
					require.NoError(b, way.to.Terminate(b.Context(), "vm-0"))
				}
			})
		}
	}
}
