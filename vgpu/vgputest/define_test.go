package vgputest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
)

// TestDefineLiveDocument: the document of a VM that runs, defined as it was shown, has
// nothing in it of that run, as people do with virsh dumpxml and virsh define.
func TestDefineLiveDocument(t *testing.T) {
	w := newWorld(t, "mtty")
	w.makeVGPUs(1)
	ctx := t.Context()
	_, err := w.libvirt.Create(ctx, machineWith("a"))
	require.NoError(t, err)
	require.NoError(t, w.libvirt.Attach(ctx, "a", element(w.vgpus[0]), domain.ScopeLive))
	shown, err := w.libvirt.LiveXML(ctx, "a")
	require.NoError(t, err)
	require.Contains(t, shown, "id='1'")
	require.Contains(t, shown, "<alias name='hostdev0'/>")
	_, err = w.libvirt.Define(ctx, shown)
	require.NoError(t, err)
	saved, err := w.libvirt.XML(ctx, "a")
	require.NoError(t, err)
	assert.NotContains(t, saved, " id=")
	assert.NotContains(t, saved, "hostdev0")
	assert.Contains(t, saved, w.vgpus[0])
}

// TestSetMetadataRefuses: what is not one element does not get into a document.
func TestSetMetadataRefuses(t *testing.T) {
	w := newWorld(t, "mtty")
	_, err := w.libvirt.Define(t.Context(), machineWith("a"))
	require.NoError(t, err)
	before, err := w.libvirt.XML(t.Context(), "a")
	require.NoError(t, err)
	for _, element := range []string{"</metadata>", "<a>", "text", "<a/><b/>", "<a/>text", "<m:a/>", "<!-- -->", " "} {
		require.ErrorIs(t, w.libvirt.SetMetadata(t.Context(), "a", element, domain.ScopeSaved), domain.ErrInvalid, element)
	}
	after, err := w.libvirt.XML(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, before, after)
}

// TestNames: a VM is found by its present name, in as little time among thousands as
// alone, and a name may look like another VM's UUID.
func TestNames(t *testing.T) {
	w := newWorld(t, "mtty")
	ctx := t.Context()
	first, err := w.libvirt.Define(ctx, machineWith("vm-0"))
	require.NoError(t, err)
	_, err = w.libvirt.Define(ctx, machineWith(first.UUID.String()))
	require.NoError(t, err)
	asked := func() time.Duration {
		best := time.Hour
		for range 20 { // the machine may be busy
			begin := time.Now()
			for range 200 {
				_, err := w.libvirt.Info(ctx, "vm-0")
				require.NoError(t, err)
			}
			best = min(best, time.Since(begin))
		}
		return best
	}
	alone := asked()
	for n := 1; n < 5_000; n++ {
		_, err := w.libvirt.Define(ctx, machineWith(fmt.Sprint("vm-", n)))
		require.NoError(t, err)
	}
	assert.Less(t, asked(), 10*alone)

	require.NoError(t, w.libvirt.Rename(ctx, "vm-1", "renamed"))
	_, err = w.libvirt.Info(ctx, "vm-1")
	require.ErrorIs(t, err, domain.ErrNotFound)
	require.NoError(t, w.libvirt.Rename(ctx, "renamed", "vm-1"))
	require.ErrorIs(t, w.libvirt.Rename(ctx, "vm-1", "vm-2"), domain.ErrState)
	require.NoError(t, w.libvirt.Undefine(ctx, "vm-1", domain.UndefineOptions{}))
	_, err = w.libvirt.Info(ctx, "vm-1")
	require.ErrorIs(t, err, domain.ErrNotFound)
	require.NoError(t, w.libvirt.Rename(ctx, "vm-2", "vm-1"))
}
