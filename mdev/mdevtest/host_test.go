package mdevtest_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

var ctx = context.Background()

// newHost returns a host with boards given as NewBoard takes them.
func newHost(t testing.TB, specs ...string) *mdevtest.Host {
	t.Helper()
	h := mdevtest.New()
	for _, spec := range specs {
		b, err := mdevtest.NewBoard(spec)
		require.NoError(t, err)
		require.NoError(t, h.Plug(b))
	}
	return h
}

func typeDir(parent, typ string) string {
	return "sys/class/mdev_bus/" + parent + "/mdev_supported_types/" + typ
}

func deviceDir(uuid string) string { return "sys/bus/mdev/devices/" + uuid }

func read(t testing.TB, h *mdevtest.Host, name string) string {
	t.Helper()
	b, err := h.ReadFile(name)
	require.NoError(t, err)
	return string(b)
}

func write(h *mdevtest.Host, name, data string) error { return h.WriteAttr(name, []byte(data)) }

// within waits for what another goroutine does; the time only bounds a
// failure.
func within(t testing.TB, what string, done <-chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatalf("%s did not end", what)
		return nil
	}
}

// A host is made of specs, or not at all; its vGPUs are listed whatever their framework,
// one that is being removed too.
func TestNewHostAndDevices(t *testing.T) {
	_, err := mdevtest.NewHost("mtty", "geforce")
	require.ErrorContains(t, err, "geforce")
	_, err = mdevtest.NewHost("tesla-m60@0000:05:00.0", "a40@0000:05:00.0")
	require.Error(t, err, "two boards in one slot")
	h, err := mdevtest.NewHost("mtty", "l40s@0000:41:00.0,vfs=2")
	require.NoError(t, err)
	require.Empty(t, h.Devices())
	require.NoError(t, write(h, vf(0)+"/current_vgpu_type", "1148"))
	release, done := removeInUse(t, h, typeDir("mtty", "mtty-2"))
	require.Equal(t, []string{"0000:41:00.4", uuid1}, h.Devices())
	release()
	require.NoError(t, within(t, "remove", done))
	require.Equal(t, []string{"0000:41:00.4"}, h.Devices())
	h.Reboot()
	require.Empty(t, h.Devices())
}
