//go:build cgo

package vgpu

import (
	"context"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/domain/virt"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// polled is a hypervisor that counts what its polls send: those are as many as time allows.
type polled struct {
	*virt.Conn
	served *vgputest.Hypervisor
	polls  int
}

func (p *polled) Info(ctx context.Context, vm string) (domain.Info, error) {
	before := sent(p.served)
	info, err := p.Conn.Info(ctx, vm)
	p.polls += sent(p.served) - before
	return info, err
}

// sent is how many messages a served libvirt was sent, besides those that open a connection
// or register for its events, once each.
func sent(h *vgputest.Hypervisor) (n int) {
	for name, times := range h.Messages() {
		if !strings.HasPrefix(name, "virConnect") || name == "virConnectListAllDomains" {
			n += times
		}
	}
	return n
}

// TestCounts: however many vGPUs a VM has, an operation syncs the state directory at most four
// times, and sends libvirt at most so many messages beside polls.
func TestCounts(t *testing.T) {
	const syncs = 4
	messages := map[string]int{"provision": 6, "start": 8, "stop": 10, "teardown": 10, "teardown of one that runs": 10}
	for _, b := range []struct{ board, typ string }{{"mtty", "mtty-1"}, {"a40,vfs=16", "NVIDIA A40-1Q"}, {"l40s,vfs=16", "NVIDIA L40S-1Q"}} {
		for _, life := range []Lifetime{Reserved, WhileRunning} {
			for _, n := range []int{1, 8} {
				t.Run(fmt.Sprint(b.board, " ", life, " ", n), func(t *testing.T) {
					r := newRig(t, b.board)
					h := r.served()
					m, err := New(Config{Host: r.host, Hypervisor: h, StateDir: r.dir, RuntimeDir: r.run})
					require.NoError(t, err)
					ask := func(name string, n int) func() error {
						return func() error {
							req := request(name, b.typ, n)
							req.Lifetime = life
							_, err := m.Provision(t.Context(), req)
							return err
						}
					}
					start := func() error { _, err := m.Start(t.Context(), "vm", StartOptions{}); return err }
					down := func() error { return m.Teardown(t.Context(), "vm", TeardownOptions{Stop: quickStop}) }
					require.NoError(t, ask("warm", 1)()) // connections and events are there from here on
					_, err = m.Start(t.Context(), "warm", StartOptions{})
					require.NoError(t, err)
					require.NoError(t, m.Teardown(t.Context(), "warm", TeardownOptions{Stop: quickStop}))
					for _, op := range []struct {
						name string
						do   func() error
					}{
						{"provision", ask("vm", n)},
						{"start", start},
						{"stop", func() error { _, err := m.Stop(t.Context(), "vm", quickStop); return err }},
						{"teardown", down},
						{"provision", ask("vm", n)},
						{"start", start},
						{"teardown of one that runs", down},
					} {
						h.polls = 0
						synced, told, before := m.store.dir.Syncs(), sent(r.hyper), maps.Clone(r.hyper.Messages())
						require.NoError(t, op.do(), op.name)
						got := sent(r.hyper) - told - h.polls
						assert.LessOrEqual(t, m.store.dir.Syncs()-synced, int64(syncs), op.name)
						assert.LessOrEqual(t, got, messages[op.name], "%s: %v", op.name, difference(fmt.Sprintln(before), fmt.Sprintln(r.hyper.Messages())))
						t.Logf("%s: %d syncs, %d messages", op.name, m.store.dir.Syncs()-synced, got)
					}
				})
			}
		}
	}
}

// served is the rig's libvirt through its protocol.
func (r *rig) served() *polled {
	r.t.Helper()
	socket := filepath.Join(r.run, "libvirt-sock")
	l, err := net.Listen("unix", socket)
	require.NoError(r.t, err)
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.hyper.Serve(ctx, l) }()
	conn, err := virt.Open(ctx, virt.Config{URI: "qemu+unix:///system?socket=" + socket})
	require.NoError(r.t, err)
	r.t.Cleanup(func() {
		require.NoError(r.t, conn.Close())
		end()
		require.NoError(r.t, <-ended)
	})
	return &polled{Conn: conn, served: r.hyper}
}
