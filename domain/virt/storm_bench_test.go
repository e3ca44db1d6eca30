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

// serveStorm is a simulated libvirt, as shipped, whose starts take their time.
func serveStorm(t testing.TB) (h *vgputest.Hypervisor, uri string) {
	board, err := mdevtest.NewBoard("tesla-m60")
	require.NoError(t, err)
	h = vgputest.New(mdevtest.New(board))
	h.Fail(vgputest.Fault{Method: "Start", Delay: stormStart})
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
	return name, "<domain type='kvm'><name>" + name + "</name><memory>1</memory><os><type>hvm</type></os></domain>"
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
// and with a Conn. It reports the medians, in seconds, and how the Conn compares.
func BenchmarkStorm(b *testing.B) {
	require.NoError(b, startEventLoop(slog.New(slog.DiscardHandler)))
	h, uri := serveStorm(b)
	c := openURI(b, Config{URI: uri})
	single, each := dialBare(b, uri, 1), dialBare(b, uri, stormVMs)
	var one, many, conn []float64
	measure := func(to *[]float64, storm func()) {
		begun := time.Now()
		storm()
		*to = append(*to, time.Since(begun).Seconds())
		calm(b, h)
	}
	for b.Loop() {
		measure(&one, func() { bareStorm(b, single) })
		measure(&many, func() { bareStorm(b, each) })
		measure(&conn, func() { connStorm(b, c) })
	}
	b.ReportMetric(median(one), "bare-one-s")
	b.ReportMetric(median(many), "bare-64-s")
	b.ReportMetric(median(conn), "virt-s")
	b.ReportMetric(median(conn)/median(one), "virt/bare-one")
	b.ReportMetric(median(conn)/median(many), "virt/bare-64")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
