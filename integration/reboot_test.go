//go:build integration

package integration

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
)

// The tests in this file run on two boots of the lab: TestMain runs them first,
// asks for the reboot, and runs them again. boot() tells which it is.

var (
	ourDefinition  = uuid.MustParse("5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a01")
	autoDefinition = uuid.MustParse("5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a02")
	theirs         = uuid.MustParse("5b1d8c8e-0a51-4a52-9d3c-5a0c3d9d6a03")
)

func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(within(t, time.Minute), name, args...).CombinedOutput()
	require.NoError(t, err, "%s %s: %s", name, strings.Join(args, " "), out)
	return string(out)
}

// Definitions: what we write, mdevctl starts and libvirt lists; what mdevctl
// writes, we read; both are there after a reboot, when no device is.
func TestRebootKeepsDefinitions(t *testing.T) {
	host := openHost(t)
	want := []mdev.Definition{
		{Parent: "mtty", UUID: ourDefinition, Type: "mtty-2", Start: mdev.StartManual, Params: []mdev.Param{}},
		{Parent: "mtty", UUID: autoDefinition, Type: "mtty-1", Start: mdev.StartAuto, Params: []mdev.Param{}},
		{Parent: "mtty", UUID: theirs, Type: "mtty-1", Start: mdev.StartManual, Params: []mdev.Param{}},
	}
	if boot() == "1" {
		require.NoError(t, host.Define(t.Context(), mdev.Definition{Parent: "mtty", UUID: ourDefinition, Type: "Dual port serial"}))
		require.NoError(t, host.Define(t.Context(), want[1]))
		command(t, "mdevctl", "define", "--uuid", theirs.String(), "--parent", "mtty", "--type", "mtty-1")
	} else {
		for _, def := range want {
			if def.Start == mdev.StartManual {
				_, err := host.Device(t.Context(), def.UUID.String())
				require.ErrorIs(t, err, mdev.ErrNotFound, "devices do not outlive a reboot")
			}
		}
	}
	found, err := host.Definitions(t.Context())
	require.NoError(t, err)
	assert.Equal(t, want, found)

	listed := command(t, "mdevctl", "list", "--defined")
	for _, def := range want {
		assert.Contains(t, listed, def.UUID.String()+" mtty "+def.Type+" "+string(def.Start))
	}
	node := "mdev_" + strings.ReplaceAll(ourDefinition.String(), "-", "_") + "_mtty"
	require.Eventually(t, func() bool {
		out, err := exec.CommandContext(t.Context(), "virsh", "-q", "nodedev-list", "--cap", "mdev", "--all").CombinedOutput()
		return err == nil && strings.Contains(string(out), node)
	}, time.Minute, 200*time.Millisecond, "libvirt lists it")

	command(t, "mdevctl", "start", "--uuid", ourDefinition.String())
	dev, err := host.Device(t.Context(), ourDefinition.String())
	require.NoError(t, err)
	assert.Equal(t, "mtty-2", dev.Type)
	require.NoError(t, host.Remove(t.Context(), dev.ID))

	created, err := host.Create(t.Context(), found[2].Request())
	require.NoError(t, err)
	assert.Contains(t, command(t, "mdevctl", "list"), created.ID)
	require.NoError(t, host.Remove(t.Context(), created.ID))
	if boot() == "1" {
		return
	}
	for _, def := range want {
		require.NoError(t, host.Undefine(t.Context(), def.Parent, def.UUID))
		_, err := os.Stat("/etc/mdevctl.d/mtty/" + def.UUID.String())
		require.ErrorIs(t, err, os.ErrNotExist)
		if err := host.Remove(t.Context(), def.UUID.String()); err != nil { // mdevctl may have started the automatic one
			require.ErrorIs(t, err, mdev.ErrNotFound)
		}
	}
	assert.NotContains(t, command(t, "mdevctl", "list", "--defined"), "mtty")
}
