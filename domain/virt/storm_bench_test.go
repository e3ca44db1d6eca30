//go:build cgo

package virt

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

const (
	stormVMs   = 64
	stormStart = 300 * time.Millisecond
)

// serveStorm is a simulated libvirt, as shipped, whose starts take so long.
func serveStorm(t testing.TB, start time.Duration) (h *vgputest.Hypervisor, uri string) {
	board, err := mdevtest.NewBoard("tesla-m60")
	require.NoError(t, err)
	h = vgputest.New(mdevtest.New(board))
	if start > 0 {
		h.Fail(vgputest.Fault{Method: "Start", Delay: start})
	}
	dir, err := os.MkdirTemp("", "virt") // short, as a socket's path must be
	require.NoError(t, err)
	socket := filepath.Join(dir, "libvirt-sock")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	ctx, end := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- h.Serve(ctx, l) }()
	t.Cleanup(func() {
		end()
		require.NoError(t, <-served)
		require.NoError(t, os.RemoveAll(dir))
	})
	return h, "qemu+unix:///system?socket=" + socket
}

func stormVM(n int) (name, xml string) {
	name = fmt.Sprint("storm-", n)
	return name, fmt.Sprintf("<domain type='kvm'><name>%s</name><uuid>64646464-0000-4000-8000-%012d</uuid>", name, n) + "<memory>1</memory><os><type>hvm</type></os></domain>"
}

// dialBare opens connections of libvirt's own.
func dialBare(t testing.TB, uri string, connections int) (conns []*libvirt.Connect) {
	for range connections {
		conn, err := libvirt.NewConnect(uri)
		require.NoError(t, err)
		t.Cleanup(func() { _, _ = conn.Close() })
		require.NoError(t, conn.SetKeepAlive(1, 25)) // see losesWakeups
		conns = append(conns, conn)
	}
	return conns
}

// bareStorm defines and starts all VMs at once with libvirt's own calls.
func bareStorm(t testing.TB, conns []*libvirt.Connect) {
	together(func(n int) {
		_, xml := stormVM(n)
		d, err := conns[n%len(conns)].DomainDefineXML(xml)
		if err == nil {
			err = d.Create()
			_ = d.Free()
		}
		if err != nil {
			t.Error(err)
		}
	})
}

func connStorm(t testing.TB, c *Conn) {
	together(func(n int) {
		name, xml := stormVM(n)
		_, err := c.Define(t.Context(), xml)
		if err == nil {
			err = c.Start(t.Context(), name)
		}
		if err != nil {
			t.Error(err)
		}
	})
}

func together(f func(n int)) {
	var all sync.WaitGroup
	for n := range stormVMs {
		all.Go(func() { f(n) })
	}
	all.Wait()
}

// calm ends and undefines all VMs.
func calm(t testing.TB, h *vgputest.Hypervisor) {
	for n := range stormVMs {
		name, _ := stormVM(n)
		require.NoError(t, h.Virsh().Destroy(t.Context(), name))
		require.NoError(t, h.Virsh().Undefine(t.Context(), name, domain.UndefineOptions{}))
	}
}

// BenchmarkStorm defines and starts 64 VMs at once on a libvirtd as shipped, where a
// start takes 300 ms: with libvirt's calls over one connection and over one for each VM,
// and with a Conn. It reports the medians, in seconds, how the Conn compares, and the
// longest time of the quick calls made through it meanwhile.
func BenchmarkStorm(b *testing.B) {
	require.NoError(b, startEventLoop(slog.New(slog.DiscardHandler)))
	h, uri := serveStorm(b, stormStart)
	c := openURI(b, Config{URI: uri})
	single, each := dialBare(b, uri, 1), dialBare(b, uri, stormVMs)
	_, watched := stormVM(stormVMs)
	_, err := c.Define(b.Context(), watched)
	require.NoError(b, err)
	var one, many, conn []float64
	var quick time.Duration
	measure := func(to *[]float64, storm func()) {
		begun := time.Now()
		storm()
		*to = append(*to, time.Since(begun).Seconds())
		calm(b, h)
	}
	for b.Loop() {
		measure(&one, func() { bareStorm(b, single) })
		measure(&many, func() { bareStorm(b, each) })
		measure(&conn, func() {
			stop := quickCalls(b, c, &quick)
			connStorm(b, c)
			stop()
		})
	}
	b.ReportMetric(quick.Seconds()*1e3, "slowest-quick-ms")
	b.ReportMetric(median(one), "bare-one-s")
	b.ReportMetric(median(many), "bare-64-s")
	b.ReportMetric(median(conn), "virt-s")
	b.ReportMetric(median(conn)/median(one), "virt/bare-one")
	b.ReportMetric(median(conn)/median(many), "virt/bare-64")
}

// quickCalls looks at a VM again and again until stop, and notes the longest time.
func quickCalls(t testing.TB, c *Conn, longest *time.Duration) (stop func()) {
	name, _ := stormVM(stormVMs)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-end:
				tick.Stop()
				return
			case <-tick.C:
			}
			begun := time.Now()
			if _, err := c.Definition(t.Context(), name); err != nil {
				t.Error(err)
			}
			*longest = max(*longest, time.Since(begun))
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
