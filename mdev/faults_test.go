package mdev_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
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

// Each errno that a driver may give comes out as its sentinel, with a meaning
// and a next step, and nothing is left behind.
func TestErrnosOfCreate(t *testing.T) {
	for errno, want := range map[syscall.Errno]error{
		syscall.EINVAL: mdev.ErrInvalid, syscall.EEXIST: mdev.ErrExists, syscall.ENOSPC: mdev.ErrNoCapacity, syscall.EUSERS: mdev.ErrNoCapacity,
		syscall.EIO: mdev.ErrRefused, syscall.ENODEV: mdev.ErrNotFound, syscall.ENOENT: mdev.ErrNotFound, syscall.ENOMEM: mdev.ErrNoCapacity,
		syscall.EPERM: mdev.ErrPermission, syscall.EACCES: mdev.ErrPermission, syscall.EROFS: mdev.ErrPermission, syscall.EAGAIN: mdev.ErrInUse, syscall.EBUSY: mdev.ErrInUse,
	} {
		t.Run(errno.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim, host := simulated(t, "tesla-m60")
				before := inventory(t, host)
				sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Path: "create", Err: errno})
				_, err := host.Create(t.Context(), mdev.CreateRequest{Type: "GRID M60-2Q", Parent: "0000:05:00.0"})
				require.ErrorIs(t, err, want)
				require.ErrorIs(t, err, errno)
				var e *mdev.Error
				require.ErrorAs(t, err, &e)
				assert.NotEmpty(t, e.Meaning)
				assert.NotEmpty(t, e.Hint())
				assert.NotContains(t, err.Error(), "\n")
				assert.Equal(t, before, inventory(t, host))
			})
		})
	}
}

func TestErrnosOfVF(t *testing.T) {
	for errno, want := range map[syscall.Errno]error{
		syscall.EINVAL: mdev.ErrInvalid, syscall.ERANGE: mdev.ErrInvalid, syscall.EPERM: mdev.ErrExists, syscall.EIO: mdev.ErrRefused,
		syscall.EBUSY: mdev.ErrInUse, syscall.ENODEV: mdev.ErrNotFound, syscall.EACCES: mdev.ErrPermission, syscall.EROFS: mdev.ErrPermission,
	} {
		t.Run(errno.Error(), func(t *testing.T) {
			sim, host := simulated(t, "l40s,vfs=2")
			vf := inventory(t, host).GPUs[0].Parents[0].Name
			sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Path: "current_vgpu_type", Err: errno})
			_, err := host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-2Q", Parent: vf})
			require.ErrorIs(t, err, want)
			require.ErrorIs(t, err, errno)
		})
	}
}

// A driver's EIO tells what the GPU runs, and is also the lack of room that it
// mostly is.
func TestRefusalNamesWhatTheGPURuns(t *testing.T) {
	_, host := simulated(t, "tesla-m60")
	create := func(typ string) error {
		_, err := host.Create(t.Context(), mdev.CreateRequest{Type: typ, Parent: "0000:05:00.0"})
		return err
	}
	require.NoError(t, create("GRID M60-2Q"))
	require.NoError(t, create("GRID M60-2B"))
	err := create("GRID M60-4Q")
	require.ErrorIs(t, err, mdev.ErrNoCapacity)
	require.ErrorIs(t, err, syscall.EIO)
	assert.Contains(t, err.Error(), `GPU 0000:05:00.0 already runs 1 of "GRID M60-2B", 1 of "GRID M60-2Q"`)

	_, host = simulated(t, "a40,vfs=8")
	require.NoError(t, func() error {
		_, err := host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA A40-24Q"})
		return err
	}())
	vf := inventory(t, host).GPUs[0].Parents[4].Name
	_, err = host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA A40-2Q", Parent: vf})
	require.ErrorIs(t, err, syscall.EIO)
	assert.Contains(t, err.Error(), `1 of "NVIDIA A40-24Q"`, "a sibling's counts")
}

func TestExistingUUIDSaysWhere(t *testing.T) {
	_, host := simulated(t, "tesla-m60")
	id := uuid.New()
	req := mdev.CreateRequest{Type: "nvidia-18", Parent: "0000:06:00.0", UUID: id}
	_, err := host.Create(t.Context(), req)
	require.NoError(t, err)
	req.Parent = "0000:05:00.0"
	_, err = host.Create(t.Context(), req)
	require.ErrorIs(t, err, mdev.ErrExists)
	assert.Contains(t, err.Error(), "nvidia-18 (GRID M60-2Q) under parent 0000:06:00.0")
	req.Parent, req.Type = "", "GRID M60-8Q"
	_, err = host.Create(t.Context(), req)
	require.ErrorIs(t, err, mdev.ErrExists)
	req.Type = "GRID M60-2Q"
	created, err := host.Create(t.Context(), req)
	require.NoError(t, err)
	assert.True(t, created.Existed)
}

func TestDidYouMean(t *testing.T) {
	_, host := simulated(t, "tesla-m60", "l40s,vfs=2")
	for typ, want := range map[string]string{
		"GRID M60-8q": "GRID M60-8Q", "M60-8Q": "GRID M60-8Q", "nvidia-222": "nvidia-22", "NVIDIA L40S-48q": "NVIDIA L40S-48Q",
	} {
		_, err := host.Create(t.Context(), mdev.CreateRequest{Type: typ})
		require.ErrorIs(t, err, mdev.ErrNotFound)
		var e *mdev.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, "did you mean "+want+"?", e.Hint(), typ)
	}
	_, err := host.Create(t.Context(), mdev.CreateRequest{Type: "nvidia-22", Parent: "0000:05:0.0"})
	require.ErrorIs(t, err, mdev.ErrNotFound)
	assert.Equal(t, "did you mean 0000:05:00.0?", err.(*mdev.Error).Hint())
	pf := inventory(t, host).GPUs[2].Name
	_, err = host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-2Q", Parent: pf})
	require.ErrorIs(t, err, mdev.ErrNotFound)
	assert.Contains(t, err.Error(), "physical function")
}

// Whatever access fails, a failed Create leaves the host as it was; a failed
// Remove leaves the device there or gone.
func TestEveryAccessMayFail(t *testing.T) {
	for _, specs := range [][]string{{"tesla-m60"}, {"a40,vfs=2"}, {"l40s,vfs=2"}, {"ap-matrix"}} {
		t.Run(specs[0], func(t *testing.T) {
			sim, host := simulated(t, specs...)
			before := inventory(t, host)
			free := before.GPUs[0].Capacity[0]
			req := mdev.CreateRequest{Type: free.Type}
			if strings.HasPrefix(specs[0], "l40s") || strings.HasPrefix(specs[0], "tesla") {
				req.Params = []mdev.Param{{Name: "vgpu_params", Value: "frame_rate_limiter=0"}}
			}
			sim.ResetAccesses()
			created, err := host.Create(t.Context(), req)
			require.NoError(t, err)
			creating := sim.Accesses()
			require.NoError(t, host.Remove(t.Context(), created.ID))
			removing := sim.Accesses() - creating

			for n := 1; n <= creating; n++ {
				undo := sim.Fail(mdevtest.Fault{N: n, Err: syscall.EIO})
				created, err := host.Create(t.Context(), req)
				undo()
				if err == nil {
					require.NoError(t, host.Remove(t.Context(), created.ID))
				}
				require.Equal(t, before, inventory(t, host), "access %d failed, and then %v", n, err)
			}
			for n := 1; n <= removing; n++ {
				created, err := host.Create(t.Context(), req)
				require.NoError(t, err)
				undo := sim.Fail(mdevtest.Fault{N: n, Err: syscall.EIO})
				err = host.Remove(t.Context(), created.ID)
				undo()
				if err != nil {
					require.NoError(t, host.Remove(t.Context(), created.ID), "access %d failed: %v", n, err)
				}
				require.Equal(t, before, inventory(t, host), "access %d failed", n)
			}
		})
	}
}

// A write that the kernel does not finish holds nobody longer than the context,
// and what it makes in the end is taken back.
func TestBlockedWritesHangNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, host := simulated(t, "tesla-m60", "l40s,vfs=1")
		before := inventory(t, host)
		for file, typ := range map[string]string{"create": "GRID M60-2Q", "current_vgpu_type": "NVIDIA L40S-2Q"} {
			let := make(chan struct{})
			undo := sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Path: file, N: 1, Do: func(mdevtest.Access) error { <-let; return nil }})
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			start := time.Now()
			_, err := host.Create(ctx, mdev.CreateRequest{Type: typ})
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Less(t, time.Since(start), 3*time.Second)
			close(let)
			require.Eventually(t, func() bool {
				inv, err := host.Inventory(context.Background())
				return err == nil && assert.ObjectsAreEqual(before, inv)
			}, 5*time.Second, 10*time.Millisecond, "what was made late is removed")
			undo()
		}
		created, err := host.Create(t.Context(), mdev.CreateRequest{Type: "GRID M60-2Q"})
		require.NoError(t, err)
		let := make(chan struct{})
		undo := sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Path: "remove", N: 1, Do: func(mdevtest.Access) error { <-let; return nil }})
		defer undo()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, host.Remove(ctx, created.ID), context.DeadlineExceeded)
		close(let)
		require.Eventually(t, func() bool {
			_, err := host.Device(context.Background(), created.ID)
			return errors.Is(err, mdev.ErrNotFound)
		}, 5*time.Second, time.Millisecond)
	})
}

func TestReadOnlySysfs(t *testing.T) {
	sim, host := simulated(t, "tesla-m60")
	sim.SetReadOnly(true)
	_, err := host.Create(t.Context(), mdev.CreateRequest{Type: "GRID M60-2Q"})
	require.ErrorIs(t, err, mdev.ErrPermission)
	require.ErrorIs(t, err, syscall.EROFS)
	assert.Contains(t, err.(*mdev.Error).Hint(), "container")
}

// Inventory: what cannot be read is told where it belongs, and the rest is there.
func TestInventorySurvivesWhatIsUnreadable(t *testing.T) {
	sim, host := simulated(t, "tesla-m60", "l40s,vfs=2")
	whole := inventory(t, host)
	sim.ResetAccesses()
	inventory(t, host)
	accesses := sim.Accesses()
	for n := 1; n <= accesses; n++ {
		for _, errno := range []error{syscall.EIO, syscall.ENOENT, syscall.ENODEV} {
			var struck string
			undo := sim.Fail(mdevtest.Fault{N: n, Do: func(a mdevtest.Access) error {
				struck = string(a.Op) + " " + a.Name
				return &fs.PathError{Op: string(a.Op), Path: a.Name, Err: errno}
			}})
			inv, err := host.Inventory(t.Context())
			undo()
			if err != nil {
				assert.Contains(t, []string{"readdir sys/class/mdev_bus", "stat sys/class/mdev_bus", "readdir sys/bus/mdev/devices", "stat sys/bus/mdev/devices"}, struck)
				continue
			}
			lost := 0
			for i := range whole.GPUs {
				if i >= len(inv.GPUs) || len(inv.GPUs[i].Parents) < len(whole.GPUs[i].Parents) {
					lost++
				}
			}
			if errno == syscall.EIO && lost > 0 {
				assert.NotEmpty(t, inv.AllProblems(), "%v at %s", errno, struck)
			}
		}
	}
	assert.Equal(t, whole, inventory(t, host))
}

func TestHalfMadeDeviceIsWaitedFor(t *testing.T) {
	sim, host := simulated(t, "tesla-m60")
	id := uuid.New()
	finish, err := sim.HalfMake("0000:05:00.0", "nvidia-18", id.String())
	require.NoError(t, err)
	dev, err := host.Device(t.Context(), id.String())
	require.NoError(t, err)
	assert.Equal(t, mdev.StateHalfMade, dev.State)
	assert.NotEmpty(t, dev.Problems)
	time.AfterFunc(20*time.Millisecond, finish)
	created, err := host.Create(t.Context(), mdev.CreateRequest{Type: "nvidia-18", UUID: id})
	require.NoError(t, err)
	assert.True(t, created.Existed)
	assert.Equal(t, mdev.StateReady, created.State)
}

// Many create and remove at the same time: never more than fits, no wrong
// error, nothing left over.
func TestConcurrentCreateAndRemove(t *testing.T) {
	for _, spec := range []string{"mtty", "tesla-m60", "a40,vfs=8", "l40s,vfs=8"} {
		t.Run(spec, func(t *testing.T) {
			t.Parallel()
			_, host := simulated(t, spec)
			before := inventory(t, host)
			c := before.GPUs[0].Capacity[0]
			var wg sync.WaitGroup
			shared := uuid.NewSHA1(uuid.NameSpaceOID, []byte(spec))
			for n := range 16 {
				wg.Go(func() {
					for round := range 5 {
						req := mdev.CreateRequest{Type: c.Type}
						if n%4 == 0 && before.GPUs[0].Parents[0].Framework == mdev.FrameworkMdev {
							req.UUID = shared // several fight for one device
						}
						created, err := host.Create(context.Background(), req)
						if err != nil {
							if !errors.Is(err, mdev.ErrNoCapacity) && (req.UUID == uuid.UUID{} || !errors.Is(err, mdev.ErrNotFound) && !errors.Is(err, mdev.ErrExists)) {
								t.Errorf("create: %v", err)
							}
							continue
						}
						err = host.Remove(context.Background(), created.ID)
						if err != nil && !(req.UUID == shared && errors.Is(err, mdev.ErrNotFound)) {
							t.Errorf("round %d: remove: %v", round, err)
						}
					}
				})
			}
			wg.Wait()
			assert.Equal(t, before, inventory(t, host))
		})
	}
}

func TestParams(t *testing.T) {
	sim, host := simulated(t, "tesla-m60", "ap-matrix", "l40s,vfs=2")
	for _, test := range []struct {
		typ    string
		params []mdev.Param
		file   string
		want   string
	}{
		{"GRID M60-2Q", []mdev.Param{{Name: "vgpu_params", Value: "frame_rate_limiter=0,disable_vnc=1"}}, "nvidia/vgpu_params", "frame_rate_limiter=0,disable_vnc=1\n"},
		{"NVIDIA L40S-2Q", []mdev.Param{{Name: "vgpu_params", Value: "enable_uvm=1"}}, "nvidia/vgpu_params", "enable_uvm=1\n"},
		{"vfio_ap-passthrough", []mdev.Param{{Name: "assign_adapter", Value: "5"}, {Name: "assign_domain", Value: "4"}}, "matrix", "05.0004\n"},
	} {
		created, err := host.Create(t.Context(), mdev.CreateRequest{Type: test.typ, Params: test.params})
		require.NoError(t, err)
		data, err := sim.ReadFile(created.Path + "/" + test.file)
		require.NoError(t, err)
		assert.Equal(t, test.want, string(data))
		require.NoError(t, host.Remove(t.Context(), created.ID))
	}
	before := inventory(t, host)
	for want, params := range map[error][]mdev.Param{
		mdev.ErrInvalid:     {{Name: "vgpu_params", Value: strings.Repeat("a=1,", 300) + "b=2"}},
		mdev.ErrUnsupported: {{Name: "assign_adapter", Value: "5"}},
		syscall.EINVAL:      {{Name: "vgpu_params", Value: "a=1"}, {Name: "placement_id", Value: "x"}},
	} {
		_, err := host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-2Q", Params: params})
		require.ErrorIs(t, err, want, "%v", params)
		assert.Equal(t, before, inventory(t, host), "undone: %v", fmt.Sprint(params))
	}
}

// A parameter that fails on a device that was already there leaves the others as
// they were; one that the device does not have is noticed before any is written.
func TestParamsOfAnExistingDeviceArePutBack(t *testing.T) {
	for _, test := range []struct {
		name   string
		params []mdev.Param
		want   error
		writes int
	}{
		{"refused value", []mdev.Param{{Name: "vgpu_params", Value: "b=2"}, {Name: "placement_id", Value: "x"}}, syscall.EINVAL, 3},
		{"no such attribute", []mdev.Param{{Name: "vgpu_params", Value: "b=2"}, {Name: "assign_adapter", Value: "5"}}, mdev.ErrUnsupported, 0},
		{"cleared, then refused", []mdev.Param{{Name: "vgpu_params", Value: ""}, {Name: "placement_id", Value: "x"}}, syscall.EINVAL, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			sim, host := simulated(t, "l40s,vfs=2")
			req := mdev.CreateRequest{Type: "NVIDIA L40S-2Q", Parent: "0000:41:00.4", Params: []mdev.Param{{Name: "vgpu_params", Value: "a=1"}}}
			created, err := host.Create(t.Context(), req)
			require.NoError(t, err)
			writes := 0
			sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Do: func(mdevtest.Access) error { writes++; return nil }})
			req.Params = test.params
			_, err = host.Create(t.Context(), req)
			require.ErrorIs(t, err, test.want)
			assert.Equal(t, test.writes, writes)
			data, err := sim.ReadFile(created.Path + "/nvidia/vgpu_params")
			require.NoError(t, err)
			assert.Equal(t, "a=1\n", string(data))
		})
	}
}

// What cannot be put back is told beside the reason.
func TestParamThatCannotBePutBackIsTold(t *testing.T) {
	sim, host := simulated(t, "l40s,vfs=2")
	req := mdev.CreateRequest{Type: "NVIDIA L40S-2Q", Parent: "0000:41:00.4"}
	_, err := host.Create(t.Context(), req)
	require.NoError(t, err)
	sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Path: "vgpu_params", N: 2, Err: syscall.EPERM})
	req.Params = []mdev.Param{{Name: "vgpu_params", Value: "b=2"}, {Name: "placement_id", Value: "x"}}
	_, err = host.Create(t.Context(), req)
	require.ErrorIs(t, err, syscall.EINVAL)
	require.ErrorIs(t, err, syscall.EPERM)
	assert.Contains(t, err.Error(), "put back")
}
