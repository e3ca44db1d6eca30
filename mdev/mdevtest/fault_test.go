package mdevtest_test

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// A fault strikes the accesses that it describes, and no other.
func TestFaults(t *testing.T) {
	const name = "sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/available_instances"
	for _, c := range []struct {
		what  string
		fault mdevtest.Fault
		fails []bool // read available_instances, read name, read available_instances
	}{
		{"any", mdevtest.Fault{}, []bool{true, true, true}},
		{"by last element", mdevtest.Fault{Path: "available_*"}, []bool{true, false, true}},
		{"by whole name", mdevtest.Fault{Path: "sys/class/*/*/*/mtty-1/name"}, []bool{false, true, false}},
		{"the second", mdevtest.Fault{N: 2}, []bool{false, true, false}},
		{"the second match", mdevtest.Fault{Path: "available_instances", N: 2}, []bool{false, false, true}},
		{"another kind", mdevtest.Fault{Op: mdevtest.OpWrite}, []bool{false, false, false}},
		{"from a crash on", mdevtest.Fault{N: 2, Crash: true}, []bool{false, true, true}},
	} {
		h := newHost(t, "mtty")
		undo := h.Fail(c.fault)
		for i, file := range []string{name, typeDir("mtty", "mtty-1") + "/name", name} {
			_, err := h.ReadFile(file)
			require.Equal(t, c.fails[i], err != nil, "%s: access %d", c.what, i)
			var pathError *fs.PathError
			if err != nil {
				require.ErrorAs(t, err, &pathError, c.what)
				require.ErrorIs(t, err, syscall.EIO, c.what)
			}
		}
		undo()
		_, err := h.ReadFile(name)
		require.NoError(t, err, c.what)
		require.Equal(t, 4, h.Accesses(), c.what)
	}
}

// An access that hangs goes on once the fault is taken out, or fails then; a crash ends it.
func TestHang(t *testing.T) {
	const name = "sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1/available_instances"
	for _, c := range []struct {
		what  string
		err   error
		crash bool
		want  error
	}{{"answers", nil, false, nil}, {"fails", syscall.ENODEV, false, syscall.ENODEV}, {"crash", nil, true, syscall.EIO}} {
		synctest.Test(t, func(t *testing.T) {
			h := newHost(t, "mtty")
			end := h.Fail(mdevtest.Fault{Path: "available_instances", Hang: true, Err: c.err})
			done := make(chan error, 1)
			go func() {
				_, err := h.ReadFile(name)
				done <- err
			}()
			synctest.Wait()
			require.Empty(t, done, c.what)
			_, err := h.ReadFile(typeDir("mtty", "mtty-1") + "/name")
			require.NoError(t, err, "others are answered")
			if c.crash {
				h.Fail(mdevtest.Fault{Crash: true})
				_, err := h.ReadDir("sys")
				require.Error(t, err)
			} else {
				end()
			}
			require.ErrorIs(t, <-done, c.want, c.what)
		})
	}
}

// A callback may use the host, decide each time, and block.
func TestFaultCallback(t *testing.T) {
	h := newHost(t, "tesla-m60")
	var seen []mdevtest.Access
	defer h.Fail(mdevtest.Fault{Op: mdevtest.OpReadDir, N: 1, Do: func(a mdevtest.Access) error {
		seen = append(seen, a)
		return h.Unplug("0000:05:00.0") // the GPU falls off the bus in mid-scan
	}})()
	entries, err := h.ReadDir("sys/class/mdev_bus")
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, []mdevtest.Access{{N: 1, Op: mdevtest.OpReadDir, Name: "sys/class/mdev_bus"}}, seen)

	errOdd := errors.New("odd")
	defer h.Fail(mdevtest.Fault{Op: mdevtest.OpStat, Do: func(mdevtest.Access) error { return errOdd }})()
	_, err = h.Stat("sys")
	require.ErrorIs(t, err, errOdd)
}

// A killed process holds nothing open, and its blocked removal goes on.
func TestCrash(t *testing.T) {
	h := newHost(t, "mtty")
	typ := typeDir("mtty", "mtty-1")
	require.NoError(t, write(h, typ+"/create", uuid2))
	_, err := h.OpenNode("dev/vfio/0")
	require.NoError(t, err)
	release, done := removeInUse(t, h, typ)

	undo := h.Fail(mdevtest.Fault{Op: mdevtest.OpStat, Crash: true, Err: syscall.EINTR})
	_, err = h.Stat("sys")
	require.ErrorIs(t, err, syscall.EINTR)
	require.Error(t, within(t, "the dead process's remove", done))
	_, err = h.ReadDir("sys")
	require.ErrorIs(t, err, syscall.EINTR)
	undo()

	node, err := h.OpenNode("dev/vfio/0")
	require.NoError(t, err, "the kernel has closed it")
	require.NoError(t, node.Close())
	_, err = h.Stat("sys/class/mdev_bus/mtty/" + uuid1)
	require.NoError(t, err, "still a ghost")
	release()
	_, err = h.Stat("sys/class/mdev_bus/mtty/" + uuid1)
	require.ErrorIs(t, err, syscall.ENOENT)
}

// The accesses of a scan can be failed one after the other.
func TestFailAtEachAccess(t *testing.T) {
	h := newHost(t, "mdpy")
	scan := func() (failures int) {
		for _, o := range []string{"mdpy-vga", "mdpy-xga", "mdpy-hd"} {
			if _, err := h.ReadFile(typeDir("mdpy", o) + "/name"); err != nil {
				failures++
			}
		}
		return failures
	}
	require.Zero(t, scan())
	n := h.Accesses()
	require.Equal(t, 3, n)
	for k := 1; k <= n; k++ {
		undo := h.Fail(mdevtest.Fault{N: k})
		require.Equal(t, 1, scan(), "access %d", k)
		undo()
	}
}

// A read-only sysfs, as in a container: EROFS, which comes before EACCES, and
// after ENOENT.
func TestReadOnly(t *testing.T) {
	h := newHost(t, "mtty")
	typ := typeDir("mtty", "mtty-1")
	h.SetReadOnly(true)
	require.ErrorIs(t, write(h, typ+"/create", uuid1), syscall.EROFS)
	require.ErrorIs(t, write(h, typ+"/name", "x"), syscall.EROFS)
	require.ErrorIs(t, write(h, typ+"/nothing", "x"), syscall.ENOENT)
	h.SetReadOnly(false)
	require.NoError(t, write(h, typ+"/create", uuid1))
}
