//go:build cgo

package virt

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
)

// sent is how many messages of which function go to the daemon.
type sent map[string]int

// Each call sends the daemon these messages and no others, of a VM that is off and of
// one that runs, given by name or by UUID. Not counted are keep-alive messages and events,
// and what opens a connection.
func TestMessages(t *testing.T) {
	const (
		byName, byUUID = "virDomainLookupByName", "virDomainLookupByUUID"
		state, kept    = "virDomainGetState", "virDomainIsPersistent"
		xml, list      = "virDomainGetXMLDesc", "virConnectListAllDomains"
		define         = "virDomainDefineXMLFlags"
		saved          = "virDomainHasManagedSaveImage"
	)
	info := func(ctx context.Context, c *Conn, vm string) error { return second(c.Info(ctx, vm)) }
	definition := func(ctx context.Context, c *Conn, vm string) error { return second(c.Definition(ctx, vm)) }
	domains := func(ctx context.Context, c *Conn, _ string) error { return second(c.Domains(ctx)) }
	for _, test := range []struct {
		name string
		do   func(ctx context.Context, c *Conn, vm string) error
		off  sent // nil: refused of a VM that is off
		runs sent // nil: of one that runs
	}{
		{"Info", info, sent{byName: 1, kept: 1}, sent{byName: 1, kept: 1, state: 1}},
		{"Definition", definition, sent{byName: 1, kept: 1, xml: 1}, sent{byName: 1, kept: 1, state: 1, xml: 1}},
		{"XML", func(ctx context.Context, c *Conn, vm string) error { return second(c.XML(ctx, vm)) }, sent{byName: 1, xml: 1}, sent{byName: 1, kept: 1, xml: 1}},
		{"LiveXML", func(ctx context.Context, c *Conn, vm string) error { return second(c.LiveXML(ctx, vm)) }, sent{byName: 1, xml: 1}, sent{byName: 1, xml: 1}},
		{"Domains", domains, sent{list: 2}, sent{list: 3}},
		{"Define", func(ctx context.Context, c *Conn, _ string) error {
			_, xml := stormVM(0)
			return second(c.Define(ctx, xml))
		}, sent{define: 1}, sent{define: 1, state: 1}},
		{"Undefine", func(ctx context.Context, c *Conn, vm string) error {
			return c.Undefine(ctx, vm, domain.UndefineOptions{ManagedSave: true, NVRAM: true, SnapshotsMetadata: true, CheckpointsMetadata: true})
		}, sent{byName: 1, "virDomainUndefineFlags": 1}, sent{byName: 1, "virDomainUndefineFlags": 1}},
		{"Start", func(ctx context.Context, c *Conn, vm string) error { return c.Start(ctx, vm) }, sent{byName: 1, "virDomainCreateWithFlags": 1}, nil},
		{"Shutdown", func(ctx context.Context, c *Conn, vm string) error { return c.Shutdown(ctx, vm, domain.ShutdownACPI) }, nil, sent{byName: 1, "virDomainShutdownFlags": 1}},
		{"Terminate", func(ctx context.Context, c *Conn, vm string) error { return c.Terminate(ctx, vm) }, nil, sent{byName: 1, "virDomainDestroyFlags": 1}},
		{"Destroy", func(ctx context.Context, c *Conn, vm string) error { return c.Destroy(ctx, vm) }, nil, sent{byName: 1, "virDomainDestroyFlags": 1}},
		{"HasManagedSave", func(ctx context.Context, c *Conn, vm string) error { return second(c.HasManagedSave(ctx, vm)) }, sent{byName: 1, saved: 1}, sent{byName: 1, saved: 1}},
		{"ManagedSave", func(ctx context.Context, c *Conn, vm string) error { return c.ManagedSave(ctx, vm) }, nil, sent{byName: 1, "virDomainManagedSave": 1}},
		{"ManagedSaveRemove", func(ctx context.Context, c *Conn, vm string) error { return c.ManagedSaveRemove(ctx, vm) }, sent{byName: 1, saved: 1}, nil},
		{"Events", func(ctx context.Context, c *Conn, _ string) error { return second(c.Events(ctx)) }, sent{"virConnectDomainEventRegisterAny": 5}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, runs := range []bool{false, true} {
				for _, lookup := range []string{byName, byUUID} {
					want := test.off
					if runs {
						want = test.runs
					}
					if want == nil {
						continue
					}
					got := countMessages(t, runs, lookup == byUUID, test.do)
					if n := got[byUUID]; n > 0 {
						got[byName] = n
						delete(got, byUUID)
					}
					assert.Equal(t, want, got, "runs: %v, %s", runs, lookup)
				}
			}
		})
	}
}

// countMessages returns what a call sends of a VM, by its name or UUID.
func countMessages(t *testing.T, runs, byUUID bool, do func(context.Context, *Conn, string) error) sent {
	h, uri := serveStorm(t, 0)
	ctx, c := within(t), openURI(t, Config{URI: uri})
	vm, xml := stormVM(0)
	info, err := c.Define(ctx, xml)
	require.NoError(t, err)
	require.NoError(t, c.Start(ctx, vm)) // and the connection for slow calls is open
	if !runs {
		require.NoError(t, c.Destroy(ctx, vm))
	}
	if byUUID {
		vm = info.UUID.String()
	}
	h.ResetCalls()
	require.NoError(t, do(ctx, c, vm))
	return h.Messages()
}
