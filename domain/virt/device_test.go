//go:build cgo

package virt

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
)

const (
	mdevElement = `<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='C0FFEE00-0000-4000-8000-000000000001'/></source></hostdev>`
	liveMdev    = `<domain type='kvm' id='1'><devices>
  <controller type='pci' index='0' model='pcie-root'><alias name='pcie.0'/></controller>
  <hostdev mode='subsystem' type='mdev' managed='no' model='vfio-pci' display='off'>
    <source><address uuid='c0ffee00-0000-4000-8000-000000000001'/></source>
    <alias name='hostdev0'/><address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
  </hostdev>
</devices></domain>`
	liveNone = `<domain type='kvm' id='1'><devices/></domain>`
)

// guest is a daemon whose VM has the mdev of liveMdev until gone is set.
func guest(t *testing.T) (d *daemon, gone *atomic.Bool) {
	d, gone = startDaemon(t), new(atomic.Bool)
	d.answer(procXML, func(*xdr) ([]byte, error) {
		if gone.Load() {
			return text(liveNone), nil
		}
		return text(liveMdev), nil
	})
	done := func(*xdr) ([]byte, error) { return nil, nil }
	d.answer(procDetachFlags, done)
	d.answer(procDetachAlias, done)
	return d, gone
}

// Detach returns when the guest has let go, not when libvirt says that it asked,
// whether the device is named by its element or by its alias.
func TestDetachWaitsForTheGuest(t *testing.T) {
	for name, device := range map[string]string{
		"uuid": mdevElement, "alias": "hostdev0", "alias element": "<hostdev><alias name='hostdev0'/></hostdev>",
	} {
		t.Run(name, func(t *testing.T) {
			ctx := within(t)
			d, gone := guest(t)
			c := openURI(t, Config{URI: d.uri()})
			calls := d.watch()
			result := make(chan error, 1)
			go func() { result <- c.Detach(ctx, "one", device, domain.ScopeLive) }()
			asked := false
			for !asked || <-calls != procXML { // it looks after it has asked
				if !asked {
					p := <-calls
					asked = p == procDetachFlags || p == procDetachAlias
				}
			}
			d.deviceRemoved("another")
			select {
			case err := <-result:
				require.FailNow(t, "returned too early", "%v", err)
			case <-time.After(10 * time.Millisecond):
			}
			gone.Store(true)
			d.deviceRemoved("hostdev0")
			require.NoError(t, <-result)
		})
	}
}

// A lost event is made up for by the live document.
func TestDetachWithoutEvent(t *testing.T) {
	d, gone := guest(t)
	c := openURI(t, Config{URI: d.uri()})
	d.answer(procDetachAlias, func(*xdr) ([]byte, error) {
		time.AfterFunc(20*time.Millisecond, func() { gone.Store(true) })
		return nil, nil
	})
	require.NoError(t, c.Detach(within(t), "one", "hostdev0", domain.ScopeLive))
}

// A guest that does not let go, or says no, leaves the device in the saved
// definition too, and the error says so.
func TestDetachRefused(t *testing.T) {
	d, _ := guest(t)
	c := openURI(t, Config{URI: d.uri()})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	d.answer(procDetachAlias, func(*xdr) ([]byte, error) {
		d.answer(procXML, func(*xdr) ([]byte, error) { // the guest was asked, and Detach looks
			cancel()
			return text(liveMdev), nil
		})
		return nil, nil
	})
	err := c.Detach(ctx, "one", mdevElement, domain.ScopeLive|domain.ScopeSaved)
	require.ErrorIs(t, err, domain.ErrInUse)
	require.ErrorIs(t, err, context.Canceled)
	assert.Contains(t, err.Error(), "did not let go of \"hostdev0\"")
	assert.Zero(t, d.count(procDetachFlags), "the saved definition was touched")

	d.answer(procDetachAlias, func(*xdr) ([]byte, error) {
		go d.removalFailed("hostdev0")
		return nil, nil
	})
	err = c.Detach(within(t), "one", mdevElement, domain.ScopeLive|domain.ScopeSaved)
	require.ErrorIs(t, err, domain.ErrInUse)
	assert.Contains(t, err.Error(), "refused")
	assert.Zero(t, d.count(procDetachFlags))
}

// Asking again, while the guest still has the first request, waits on.
func TestDetachAskedBefore(t *testing.T) {
	d, gone := guest(t)
	c := openURI(t, Config{URI: d.uri()})
	d.answer(procDetachAlias, func(*xdr) ([]byte, error) {
		gone.Store(true)
		return nil, libvirt.Error{Code: 1, Domain: 10, Message: "internal error: unable to execute QEMU command 'device_del': Device hostdev0 is already in the process of unplug"}
	})
	require.NoError(t, c.Detach(within(t), "one", "hostdev0", domain.ScopeLive))
}

// What is gone from one place is still taken out of the other; what is in
// neither is reported. An alias of libvirt's making, which the saved definition
// does not have, is enough while the VM runs.
func TestDetachOfBoth(t *testing.T) {
	const both = domain.ScopeLive | domain.ScopeSaved
	missing := libvirt.Error{Code: 99, Domain: 10, Message: "device not found: no such device in config"}
	for _, tt := range []struct {
		name        string
		device      string
		live, saved bool
		scope       domain.Scope
		is          error
	}{
		{"both", mdevElement, true, true, both, nil},
		{"both, by alias", "hostdev0", true, true, both, nil},
		{"live only", mdevElement, true, false, both, nil},
		{"live only, by alias", "hostdev0", true, false, both, nil},
		{"saved only", mdevElement, false, true, both, nil},
		{"saved only, by alias", "hostdev0", false, true, both, domain.ErrNotFound},
		{"neither", mdevElement, false, false, both, domain.ErrNotFound},
		{"not live", mdevElement, false, true, domain.ScopeLive, domain.ErrNotFound},
		{"not saved", mdevElement, true, false, domain.ScopeSaved, domain.ErrNotFound},
		{"saved", mdevElement, true, true, domain.ScopeSaved, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, gone := guest(t)
			c := openURI(t, Config{URI: d.uri()})
			gone.Store(!tt.live)
			var saved atomic.Bool
			saved.Store(tt.saved)
			arguments := func(a *xdr) (device string, flags uint32) {
				a.text()               // the VM's name,
				a.rest = a.rest[16+4:] // UUID and id
				return a.text(), a.word()
			}
			d.answer(procDetachAlias, func(a *xdr) ([]byte, error) {
				alias, flags := arguments(a)
				assert.Equal(t, "hostdev0", alias)
				if flags != uint32(libvirt.DOMAIN_DEVICE_MODIFY_LIVE) {
					return nil, missing
				}
				gone.Store(true)
				return nil, nil
			})
			d.answer(procDetachFlags, func(a *xdr) ([]byte, error) {
				element, flags := arguments(a)
				assert.Contains(t, strings.ToLower(element), "c0ffee00-0000-4000-8000-000000000001")
				assert.True(t, strings.HasPrefix(element, "<hostdev") && strings.HasSuffix(element, "</hostdev>"), element)
				assert.Equal(t, uint32(libvirt.DOMAIN_DEVICE_MODIFY_CONFIG), flags)
				if !saved.Swap(false) {
					return nil, missing
				}
				return nil, nil
			})
			err := c.Detach(within(t), "one", tt.device, tt.scope)
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
				return
			}
			require.NoError(t, err)
			assert.False(t, saved.Load(), "still in the saved definition")
			assert.True(t, gone.Load() || tt.scope == domain.ScopeSaved)
		})
	}
}

// A VM that stops while Detach waits has let go; one that does not run has
// nothing to let go.
func TestDetachStopped(t *testing.T) {
	d, _ := guest(t)
	c := openURI(t, Config{URI: d.uri()})
	d.answer(procDetachAlias, func(*xdr) ([]byte, error) {
		d.answer(procState, func(*xdr) ([]byte, error) { return words(5, 0), nil })
		go d.lifecycle(libvirt.DOMAIN_EVENT_STOPPED, 1)
		return nil, nil
	})
	require.NoError(t, c.Detach(within(t), "one", "hostdev0", domain.ScopeLive))
	require.ErrorIs(t, c.Detach(within(t), "one", "hostdev0", domain.ScopeLive), domain.ErrState)
}

// The test driver cannot attach devices: the error says so.
func TestAttachUnsupported(t *testing.T) {
	c := openTest(t)
	err := c.Attach(within(t), "one", mdevElement, domain.ScopeLive)
	require.ErrorIs(t, err, domain.ErrUnsupported)
	require.ErrorIs(t, c.Attach(within(t), "none", mdevElement, domain.ScopeLive), domain.ErrNotFound)
}
