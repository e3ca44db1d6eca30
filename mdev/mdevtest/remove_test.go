package mdevtest_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// The kernel's answers to "echo X > remove".
func TestRemoveErrnos(t *testing.T) {
	for _, c := range []struct {
		data string
		want error
		gone bool
	}{
		{"1", nil, true},
		{"1\n", nil, true},
		{"0x10", nil, true},
		{"42", nil, true},
		{"0\n", nil, false},
		{"", nil, false},
		{"\n", syscall.EINVAL, false},
		{"yes", syscall.EINVAL, false},
		{"-1", syscall.EINVAL, false},
		{"1\n\n", syscall.EINVAL, false},
		{"99999999999999999999", syscall.EINVAL, false},
	} {
		h := newHost(t, "mtty")
		require.NoError(t, write(h, typeDir("mtty", "mtty-1")+"/create", uuid1))
		err := write(h, deviceDir(uuid1)+"/remove", c.data)
		require.ErrorIs(t, err, c.want, "%q", c.data)
		_, err = h.Stat(deviceDir(uuid1))
		require.Equal(t, c.gone, err != nil, "%q", c.data)
		if c.gone {
			require.ErrorIs(t, write(h, deviceDir(uuid1)+"/remove", "1"), syscall.ENOENT)
			require.Equal(t, "24\n", read(t, h, typeDir("mtty", "mtty-1")+"/available_instances"))
		}
	}
}

// removeInUse makes a device, lets a VM use it and starts to remove it. It
// returns once the removal blocks.
func removeInUse(t *testing.T, h *mdevtest.Host, typ string) (release func(), done <-chan error) {
	t.Helper()
	require.NoError(t, write(h, typ+"/create", uuid1))
	release, err := h.Use(uuid1, "desk1", 4242)
	require.NoError(t, err)
	result := make(chan error, 1)
	go func() { result <- write(h, deviceDir(uuid1)+"/remove", "1") }()
	require.Eventually(t, func() bool {
		_, err := h.Stat(deviceDir(uuid1))
		return err != nil
	}, 10*time.Second, time.Millisecond)
	return release, result
}

// In use, kernel 5.14 and later: the write blocks; the device leaves the bus
// at once, its directory stays, its instance stays counted, remove is gone.
func TestRemoveInUseBlocks(t *testing.T) {
	h := newHost(t, "mtty")
	typ := typeDir("mtty", "mtty-2")
	before := snapshot(t, h)
	release, done := removeInUse(t, h, typ)

	const ghost = "sys/class/mdev_bus/mtty/" + uuid1
	entries, err := h.ReadDir(ghost)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, "iommu_group", entries[0].Name())
	require.ErrorIs(t, write(h, ghost+"/remove", "1"), syscall.ENOENT)
	require.Equal(t, "11\n", read(t, h, typ+"/available_instances"))
	require.ErrorIs(t, write(h, typ+"/create", uuid1), syscall.EEXIST)
	_, err = h.OpenNode("dev/vfio/0")
	require.ErrorIs(t, err, syscall.EBUSY)
	select {
	case err := <-done:
		t.Fatalf("remove ended while the device is in use: %v", err)
	default:
	}

	release()
	require.NoError(t, within(t, "remove", done))
	requireSame(t, before, snapshot(t, h))
}

// In use, older kernels: EBUSY, and the device stays.
func TestRemoveInUseOldKernel(t *testing.T) {
	h := newHost(t, "mtty")
	h.SetKernel(5, 10)
	require.NoError(t, write(h, typeDir("mtty", "mtty-2")+"/create", uuid1))
	release, err := h.Use(uuid1, "desk1", 4242)
	require.NoError(t, err)
	before := snapshot(t, h)
	require.ErrorIs(t, write(h, deviceDir(uuid1)+"/remove", "1"), syscall.EBUSY)
	requireSame(t, before, snapshot(t, h))
	release()
	release()
	require.NoError(t, write(h, deviceDir(uuid1)+"/remove", "1"))
}

// Who holds the group has it alone: no VM starts, and remove does not block.
func TestRemoveWhileHoldingTheGroup(t *testing.T) {
	h := newHost(t, "mtty")
	require.NoError(t, write(h, typeDir("mtty", "mtty-2")+"/create", uuid1))
	node, err := h.OpenNode("dev/vfio/0")
	require.NoError(t, err)
	_, err = h.OpenNode("dev/vfio/0")
	require.ErrorIs(t, err, syscall.EBUSY)
	_, err = h.Use(uuid1, "desk1", 1)
	require.ErrorIs(t, err, syscall.EBUSY)
	require.NoError(t, write(h, deviceDir(uuid1)+"/remove", "1"))
	_, err = h.Stat("dev/vfio/0")
	require.ErrorIs(t, err, syscall.ENOENT)
	require.NoError(t, node.Close())
	require.Error(t, node.Close())
}

// A device that is still being made answers EAGAIN.
func TestHalfMade(t *testing.T) {
	h := newHost(t, "tesla-m60")
	typ := typeDir("0000:05:00.0", "nvidia-18")
	finish, err := h.HalfMake("0000:05:00.0", "GRID M60-2Q", uuid1)
	require.NoError(t, err)
	_, err = h.Stat(deviceDir(uuid1))
	require.NoError(t, err)
	_, err = h.Stat(deviceDir(uuid1) + "/mdev_type")
	require.ErrorIs(t, err, syscall.ENOENT)
	require.Equal(t, "3\n", read(t, h, typ+"/available_instances"))
	_, err = h.Use(uuid1, "desk1", 1)
	require.ErrorIs(t, err, syscall.ENOENT)
	finish()
	finish()
	_, err = h.Stat(deviceDir(uuid1) + "/mdev_type/devices/" + uuid1)
	require.NoError(t, err)

	_, err = h.HalfMake("0000:05:00.0", "18", uuid2)
	require.NoError(t, err)
	require.ErrorIs(t, write(h, deviceDir(uuid2)+"/remove", "1"), syscall.EAGAIN)
}

// After the VM the driver cleans up: EBUSY on old kernels, a longer wait on
// newer ones.
func TestCleanUp(t *testing.T) {
	h := newHost(t, "tesla-m60,clean-up=1h")
	typ := typeDir("0000:05:00.0", "nvidia-22")
	release, done := removeInUse(t, h, typ)
	release()
	h.Advance(59 * time.Minute)
	require.Equal(t, "0\n", read(t, h, typ+"/available_instances"))
	select {
	case err := <-done:
		t.Fatalf("remove ended before the driver had cleaned up: %v", err)
	default:
	}
	h.Advance(time.Minute)
	require.NoError(t, within(t, "remove", done))
	require.Equal(t, "1\n", read(t, h, typ+"/available_instances"))

	h.SetKernel(5, 4)
	require.NoError(t, write(h, typ+"/create", uuid1))
	release, err := h.Use(uuid1, "desk1", 1)
	require.NoError(t, err)
	release()
	require.ErrorIs(t, write(h, deviceDir(uuid1)+"/remove", "1"), syscall.EBUSY)
	h.Advance(time.Hour)
	require.NoError(t, write(h, deviceDir(uuid1)+"/remove", "1"))
}

// A reboot frees who waits, and loses all devices; it is another boot.
func TestReboot(t *testing.T) {
	h := newHost(t, "mtty", "l40s,vfs=2", "a100-mig@0002:41:00.0")
	require.NoError(t, h.WriteFile("etc/mdevctl.d/mtty/"+uuid1, []byte("{}"), 0o644))
	before := snapshot(t, h)
	require.NoError(t, write(h, vf(0)+"/current_vgpu_type", "1148"))
	_, done := removeInUse(t, h, typeDir("mtty", "mtty-2"))
	h.Reboot()
	require.NoError(t, within(t, "remove", done))
	after := snapshot(t, h)
	const boot = "./proc/sys/kernel/random/boot_id"
	require.NotEqual(t, before[boot], after[boot])
	delete(before, boot)
	delete(after, boot)
	requireSame(t, before, after)
	require.Equal(t, []string{"mtty", "0000:41:00.0", "0002:41:00.0"}, h.GPUs())
}

// Who asked for it is called after each reboot, when the host is there again, until he
// asks no more.
func TestOnReboot(t *testing.T) {
	h := newHost(t, "mtty")
	var seen []string
	remove := h.OnReboot(func() {
		names, err := h.ReadDir("sys/class/mdev_bus")
		require.NoError(t, err)
		seen = append(seen, names[0].Name())
	})
	h.Reboot()
	h.Reboot()
	remove()
	remove()
	h.Reboot()
	require.Equal(t, []string{"mtty", "mtty"}, seen)
}
