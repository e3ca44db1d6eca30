package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
)

// TestInventoryTable: each GPU is shown with its virtual functions, one that has
// none enabled too; those that offer the same are told once; a problem comes with
// what to do about it.
func TestInventoryTable(t *testing.T) {
	host := mounted(t, "mtty", "l40s@0001:41:00.0,vfs=0", "l40s@0002:41:00.0,vfs=4")
	for _, args := range [][]string{{"create", "--type", "mtty-1", "--uuid", id}, {"create", "--type", "1148"}} {
		status, _, stderr := host.do("", args...)
		require.Zero(t, status, stderr)
	}
	release, err := host.Use(id, "desk1", 4242)
	require.NoError(t, err)
	removed := make(chan error, 1)
	go func() { removed <- host.WriteAttr("sys/bus/mdev/devices/"+id+"/remove", []byte("1")) }()
	require.Eventually(t, func() bool { return host.busIsEmpty() }, 10*time.Second, time.Millisecond)

	status, out, stderr := host.do("", "inventory")
	require.Zero(t, status, stderr)
	assert.Regexp(t, `(?m)^0001:41:00.0 .* 0 of 32 `, out)
	assert.Regexp(t, `(?m)^0002:41:00.0 .* 4 of 32 `, out)
	assert.Regexp(t, `(?m)^0002:41:00.5 and 2 more +1148 +NVIDIA L40S-2Q +1 +3 `, out)
	assert.Equal(t, 1, strings.Count(out, "NVIDIA L40S-2Q"))
	assert.Regexp(t, `(?m)^`+id+` .* ghost +VM desk1 \(process 4242\)$`, out)
	assert.Regexp(t, `(?m)^problem: `+id+`: it has left the mdev bus .*; stop the VM`, out)
	release()
	require.NoError(t, <-removed)
}

// TestMIGColumn: MIG mode is told as far as it is known.
func TestMIGColumn(t *testing.T) {
	assert.Empty(t, mig(nil))
	assert.Equal(t, "off", mig(&mdev.MIG{}))
	assert.Equal(t, "on, no GPU instances", mig(&mdev.MIG{Enabled: true}))
	small, unknown := mdev.Instance{ID: 1, Profile: "1g.24gb"}, mdev.Instance{ID: 2}
	assert.Equal(t, "on, 2 of 1g.24gb", mig(&mdev.MIG{Enabled: true, Instances: []mdev.GPUInstance{{Instance: small}, {Instance: small}}}))
	assert.Equal(t, "on, 1 of a size that is not known", mig(&mdev.MIG{Enabled: true, Instances: []mdev.GPUInstance{{Instance: unknown}}}))
}
