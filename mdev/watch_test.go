package mdev_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, host := simulated(t, "tesla-m60", "l40s,vfs=2")
		changes, err := host.Watch(t.Context())
		require.NoError(t, err)
		first := <-changes
		require.Equal(t, mdev.ChangeScanned, first.Kind)
		require.Equal(t, inventory(t, host), first.Inventory)

		created, err := host.Create(t.Context(), mdev.CreateRequest{Type: "GRID M60-2Q"})
		require.NoError(t, err)
		change := <-changes
		require.Equal(t, mdev.ChangeDeviceAdded, change.Kind)
		assert.Equal(t, created.Device, *change.Device)
		require.NoError(t, host.Remove(t.Context(), created.ID))
		change = <-changes
		require.Equal(t, mdev.ChangeDeviceRemoved, change.Kind)
		assert.Equal(t, created.ID, change.Device.ID)

		// A virtual function that is given a type sends no event.
		vf, err := host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-2Q"})
		require.NoError(t, err)
		change = <-changes
		require.Equal(t, mdev.ChangeDeviceAdded, change.Kind)
		assert.Equal(t, vf.ID, change.Device.ID)

		// Lost events: a scan, and what was missed.
		sim.LoseUevents()
		created, err = host.Create(t.Context(), mdev.CreateRequest{Type: "GRID M60-2Q"})
		require.NoError(t, err)
		kinds := map[mdev.ChangeKind]int{}
		for kinds[mdev.ChangeDeviceAdded] == 0 || kinds[mdev.ChangeScanned] == 0 {
			change := <-changes
			kinds[change.Kind]++
			if change.Device != nil {
				assert.Equal(t, created.ID, change.Device.ID)
			}
		}
		require.NoError(t, sim.Unplug("0000:06:00.0"))
		for change = range changes {
			if change.Kind == mdev.ChangeParentRemoved {
				break
			}
		}
		assert.Equal(t, "0000:06:00.0", change.Parent)
	})
}

// On a root that is not the machine's there are no events, and it is said.
func TestWatchElsewhereIsRefused(t *testing.T) {
	host, err := mdev.Open(mdev.Config{Root: t.TempDir()})
	require.NoError(t, err)
	_, err = host.Watch(t.Context())
	require.ErrorIs(t, err, mdev.ErrUnsupported)
}

// A host that cannot be read after events were lost is told as a problem, once,
// and read again until it can be: nothing that was missed stays untold.
func TestWatchReadsAgainUntilItCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		sim, host := simulated(t, "mtty")
		changes, err := host.Watch(ctx)
		require.NoError(t, err)
		require.Equal(t, mdev.ChangeScanned, (<-changes).Kind)
		readable := sim.Fail(mdevtest.Fault{Op: mdevtest.OpReadDir, Path: "mdev_bus"})
		sim.LoseUevents()
		require.NoError(t, sim.WriteAttr("sys/class/mdev_bus/mtty/mdev_supported_types/mtty-2/create", []byte(uuid.NewString())))
		change := <-changes
		require.Equal(t, mdev.ChangeProblem, change.Kind)
		assert.ErrorIs(t, change.Problem.Err, syscall.EIO)
		for change.Kind == mdev.ChangeProblem || change.Kind == mdev.ChangeDeviceAdded { // by its second event
			select {
			case change = <-changes:
				require.NotEqual(t, mdev.ChangeProblem, change.Kind, "it is told once")
			case <-time.After(time.Minute):
				change.Kind = ""
			}
		}
		readable()
		require.Equal(t, mdev.ChangeScanned, (<-changes).Kind)
		cancel()
		for range changes {
		}
	})
}

// What a fresh scan could not read is not told as gone.
func TestWatchTakesNothingUnreadForGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		sim, host := simulated(t, "mtty", "mdpy")
		created, err := host.Create(t.Context(), mdev.CreateRequest{Type: "mtty-2"})
		require.NoError(t, err)
		changes, err := host.Watch(ctx)
		require.NoError(t, err)
		<-changes
		sim.Fail(mdevtest.Fault{Op: mdevtest.OpReadDir, Path: "mtty", N: 1})
		sim.LoseUevents()
		other, err := host.Create(t.Context(), mdev.CreateRequest{Type: "mdpy-xga"})
		require.NoError(t, err)
		require.Equal(t, mdev.ChangeScanned, (<-changes).Kind)
		change := <-changes
		require.Equal(t, mdev.ChangeDeviceAdded, change.Kind, "of %s", created.ID)
		assert.Equal(t, other.ID, change.Device.ID)
		cancel()
		for range changes {
		}
	})
}

// brokenEvents is a host whose source of events fails.
type brokenEvents struct {
	*mdevtest.Host
	last []mdev.Uevent
}

func (b brokenEvents) Uevents(context.Context) (<-chan mdev.Uevent, error) {
	events := make(chan mdev.Uevent, len(b.last))
	for _, event := range b.last {
		events <- event
	}
	close(events)
	return events, nil
}

// A watch that ends before its context says why.
func TestWatchThatEndsSaysWhy(t *testing.T) {
	sim, _ := simulated(t, "mtty")
	for _, last := range [][]mdev.Uevent{nil, {{Err: syscall.EBADF}}} {
		host, err := mdev.Open(mdev.Config{FS: brokenEvents{sim, last}})
		require.NoError(t, err)
		changes, err := host.Watch(t.Context())
		require.NoError(t, err)
		var told []mdev.Change
		for change := range changes {
			told = append(told, change)
		}
		require.Len(t, told, 2)
		require.Equal(t, mdev.ChangeProblem, told[1].Kind)
		assert.Contains(t, told[1].Problem.Text, "no more events")
		if last != nil {
			require.ErrorIs(t, told[1].Problem.Err, syscall.EBADF)
		}
	}
}

const watchInNamespace = "VGPUKIT_WATCH_IN_NAMESPACE"

// Another network namespace gets the kernel's events; one that belongs to another
// user namespace gets none, and Watch says so instead of waiting for ever.
func TestWatchInOtherNamespaces(t *testing.T) {
	if want := os.Getenv(watchInNamespace); want != "" {
		host, err := mdev.Open(mdev.Config{})
		require.NoError(t, err)
		_, err = host.Watch(t.Context())
		require.Equal(t, want == "refused", errors.Is(err, mdev.ErrUnsupported), "%v", err)
		return
	}
	for want, flags := range map[string]uintptr{"watched": syscall.CLONE_NEWNET, "refused": syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET} {
		t.Run(want, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run", "^TestWatchInOtherNamespaces$")
			cmd.Env = append(os.Environ(), watchInNamespace+"="+want)
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
			out, err := cmd.CombinedOutput()
			if errno := syscall.Errno(0); errors.As(err, &errno) {
				t.Skipf("this system has no such namespaces: %v", err)
			}
			require.NoError(t, err, "%s", out)
		})
	}
}
