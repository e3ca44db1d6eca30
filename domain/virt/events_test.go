//go:build cgo

package virt

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
)

// Each listener hears a VM's whole life, in order, from the moment that Events
// returns.
func TestEventsTellALife(t *testing.T) {
	ctx, c := within(t), openTest(t)
	first, err := c.Events(ctx)
	require.NoError(t, err)
	other, err := c.Events(ctx)
	require.NoError(t, err)
	info, err := c.Define(ctx, document)
	require.NoError(t, err)
	require.NoError(t, c.Start(ctx, "web1"))
	require.NoError(t, c.Suspend(ctx, "web1"))
	require.NoError(t, c.Resume(ctx, "web1"))
	require.NoError(t, c.Shutdown(ctx, "web1", domain.ShutdownAny))
	require.NoError(t, c.Start(ctx, "web1"))
	require.NoError(t, c.Destroy(ctx, "web1"))
	require.NoError(t, c.Undefine(ctx, "web1", domain.UndefineOptions{}))
	for _, events := range []<-chan domain.Event{first, other} {
		var got []string
		for len(got) == 0 || got[len(got)-1] != "undefined removed" {
			e := next(t, events)
			assert.Equal(t, "web1", e.VM)
			assert.Equal(t, info.UUID, e.UUID)
			got = append(got, string(e.Kind)+" "+e.Detail)
		}
		assert.Equal(t, []string{
			"defined added", "started booted", "suspended paused", "resumed unpaused", "stopped shutdown",
			"started booted", "stopped destroyed", "undefined removed",
		}, got)
	}
}

// The channel is closed when its context ends and when the Conn is closed, also
// when nobody reads.
func TestEventsEnd(t *testing.T) {
	c, err := Open(within(t), Config{URI: testURI(t)})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	mine, err := c.Events(ctx)
	require.NoError(t, err)
	unread, err := c.Events(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Suspend(within(t), "one"))
	cancel()
	drained := func(events <-chan domain.Event) bool {
		for {
			select {
			case _, ok := <-events:
				if !ok {
					return true
				}
			case <-within(t).Done():
				return false
			}
		}
	}
	assert.True(t, drained(mine))
	require.NoError(t, c.Close())
	assert.True(t, drained(unread))
	_, err = c.Events(t.Context())
	require.ErrorIs(t, err, domain.ErrUnavailable)
}

// Every event that libvirt's headers name has a kind and a word for each detail;
// one that came later is left out or has no detail.
func TestLifecycleEventTable(t *testing.T) {
	for event := libvirt.DOMAIN_EVENT_DEFINED; event <= libvirt.DOMAIN_EVENT_CRASHED; event++ {
		kind, detail, ok := lifecycle(&libvirt.DomainEventLifecycle{Event: event})
		assert.True(t, ok)
		assert.NotEmpty(t, kind)
		assert.NotEmpty(t, detail)
	}
	for _, tt := range []struct {
		event  libvirt.DomainEventType
		detail int
		kind   domain.EventKind
		word   string
	}{
		{libvirt.DOMAIN_EVENT_STOPPED, int(libvirt.DOMAIN_EVENT_STOPPED_FAILED), domain.EventStopped, "failed"},
		{libvirt.DOMAIN_EVENT_STOPPED, int(libvirt.DOMAIN_EVENT_STOPPED_MIGRATED), domain.EventStopped, "migrated"},
		{libvirt.DOMAIN_EVENT_STARTED, int(libvirt.DOMAIN_EVENT_STARTED_MIGRATED), domain.EventStarted, "migrated"},
		{libvirt.DOMAIN_EVENT_SHUTDOWN, int(libvirt.DOMAIN_EVENT_SHUTDOWN_GUEST), domain.EventShutdown, "guest request"},
		{libvirt.DOMAIN_EVENT_SUSPENDED, int(libvirt.DOMAIN_EVENT_SUSPENDED_IOERROR), domain.EventSuspended, "i/o error"},
		{libvirt.DOMAIN_EVENT_RESUMED, int(libvirt.DOMAIN_EVENT_RESUMED_POSTCOPY), domain.EventResumed, "post-copy"},
		{libvirt.DOMAIN_EVENT_CRASHED, int(libvirt.DOMAIN_EVENT_CRASHED_CRASHLOADED), domain.EventCrashed, "crashloaded"},
		{libvirt.DOMAIN_EVENT_DEFINED, 99, domain.EventDefined, ""},
		{libvirt.DOMAIN_EVENT_DEFINED, -1, domain.EventDefined, ""},
	} {
		kind, word, ok := lifecycle(&libvirt.DomainEventLifecycle{Event: tt.event, Detail: tt.detail})
		assert.True(t, ok)
		assert.Equal(t, tt.kind, kind)
		assert.Equal(t, tt.word, word)
	}
	_, _, ok := lifecycle(&libvirt.DomainEventLifecycle{Event: 77})
	assert.False(t, ok)
}

// Many callers at a time on one Conn see a consistent host; run with -race.
func TestConcurrentUse(t *testing.T) {
	ctx := within(t)
	c := openURI(t, Config{URI: testURI(t), MaxCalls: 4})
	events, err := c.Events(ctx)
	require.NoError(t, err)
	const vms, rounds = 8, 5
	var wg sync.WaitGroup
	for i := range vms {
		name := fmt.Sprintf("vm%d", i)
		xml := fmt.Sprintf("<domain type='test'><name>%s</name><memory>1024</memory><os><type>hvm</type></os></domain>", name)
		wg.Go(func() {
			for range rounds {
				info, err := c.Define(ctx, xml)
				assert.NoError(t, err)
				assert.NoError(t, c.Start(ctx, info.UUID.String()))
				_, err = c.Domains(ctx)
				assert.NoError(t, err)
				assert.NoError(t, c.Destroy(ctx, name))
				assert.NoError(t, c.Undefine(ctx, name, domain.UndefineOptions{}))
			}
		})
	}
	wg.Wait()
	seen := map[domain.EventKind]int{}
	for seen[domain.EventUndefined] < vms*rounds {
		seen[next(t, events).Kind]++
	}
	assert.Equal(t, map[domain.EventKind]int{
		domain.EventDefined: vms * rounds, domain.EventStarted: vms * rounds,
		domain.EventStopped: vms * rounds, domain.EventUndefined: vms * rounds,
	}, seen)
	list, err := c.Domains(ctx)
	require.NoError(t, err)
	assert.Len(t, list, 2)
}
