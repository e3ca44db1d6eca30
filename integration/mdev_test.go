//go:build integration

package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev"
)

// mdevPatience bounds what is waited for in these tests.
const mdevPatience = 60 * time.Second

// The test program also runs as processes of their own: one whose write to
// "remove" blocks, and one that takes part in the soak.
func init() {
	words := strings.Fields(os.Getenv("VGPUKIT_MDEV_CHILD"))
	if len(words) == 0 {
		return
	}
	switch words[0] {
	case "hold":
		node, err := os.OpenFile(words[1], os.O_RDWR, 0)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("holding")
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = node.Close()
	case "remove":
		fmt.Println("removing")
		if err := os.WriteFile(words[1], []byte("1\n"), 0); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	case "soak":
		duration, err := time.ParseDuration(words[2])
		if err == nil {
			err = soak(words[1], duration)
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	os.Exit(0)
}

// mdevChild starts the test program as another process and waits for its first
// word, if there is one to wait for. End closes its standard input.
func mdevChild(t *testing.T, do, first string) (cmd *exec.Cmd, end func()) {
	t.Helper()
	cmd = exec.CommandContext(context.Background(), os.Args[0])
	cmd.Env = append(os.Environ(), "VGPUKIT_MDEV_CHILD="+do)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, first, strings.TrimSpace(line))
	return cmd, sync.OnceFunc(func() { _ = stdin.Close() })
}

func kernelMdev(t *testing.T, typ string) mdev.Created {
	t.Helper()
	host := openHost(t)
	created, err := host.Create(within(t, mdevPatience), mdev.CreateRequest{Type: typ})
	require.NoError(t, err)
	t.Cleanup(func() {
		if err := host.Remove(context.Background(), created.ID); err != nil && !errors.Is(err, mdev.ErrNotFound) {
			t.Errorf("left behind: %v", err)
		}
	})
	return created
}

// qemuWith starts a real VM on a device, without a disk, and returns what ends
// it.
func qemuWith(t *testing.T, name string, dev *mdev.Device) (end func()) {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), "qemu-system-x86_64", "-name", "guest="+name+",debug-threads=on", "-machine", "q35,accel=tcg", "-m", "64",
		"-nodefaults", "-display", "none", "-device", "vfio-pci,sysfsdev=/"+dev.Path)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start())
	end = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	t.Cleanup(end)
	host := openHost(t)
	require.Eventually(t, func() bool {
		now, err := host.Device(context.Background(), dev.ID)
		return err == nil && now.Holder != nil && now.Holder.PID == cmd.Process.Pid
	}, mdevPatience, 20*time.Millisecond, "QEMU has not opened the device: %s", &said)
	return end
}

func TestMdevInventoryOfTheKernelsSamples(t *testing.T) {
	inv, err := openHost(t).Inventory(t.Context())
	require.NoError(t, err)
	assert.Empty(t, inv.Problems)
	types := map[string]int{}
	for _, gpu := range inv.GPUs {
		if gpu.SRIOV != nil && gpu.SRIOV.Enabled == 0 {
			require.Len(t, gpu.Problems, 1)
			assert.Equal(t, mdev.ProblemVFsOff, gpu.Problems[0].Code)
		} else {
			assert.Empty(t, gpu.Problems)
		}
		for _, p := range gpu.Parents {
			assert.Empty(t, p.Problems)
			for _, typ := range p.Types {
				assert.NotEmpty(t, typ.Name)
				assert.Equal(t, "vfio-pci", typ.DeviceAPI)
				types[typ.ID] = typ.Available
			}
		}
	}
	for id, n := range map[string]int{"mtty-1": 24, "mtty-2": 12} {
		if _, ok := types[id]; !ok {
			lacking(t, id)
		}
		assert.Equal(t, n, types[id], id)
	}
	assert.Contains(t, types, "mdpy-xga")
}

func TestMdevCreateDuplicateAndRemove(t *testing.T) {
	host := openHost(t)
	before, err := host.Inventory(t.Context())
	require.NoError(t, err)
	id := uuid.New()
	created, err := host.Create(t.Context(), mdev.CreateRequest{Type: "mtty-2", UUID: id})
	require.NoError(t, err)
	assert.Equal(t, mdev.StateReady, created.State)
	assert.NotEmpty(t, created.VFIONode)
	assert.Equal(t, "mtty", created.Parent)

	again, err := host.Create(t.Context(), mdev.CreateRequest{Type: "mtty-2", UUID: id})
	require.NoError(t, err)
	assert.True(t, again.Existed)
	_, err = host.Create(t.Context(), mdev.CreateRequest{Type: "mtty-1", UUID: id})
	require.ErrorIs(t, err, mdev.ErrExists)
	_, err = host.Create(t.Context(), mdev.CreateRequest{Type: "mtty-3"})
	require.ErrorIs(t, err, mdev.ErrNotFound)
	_, err = host.Device(t.Context(), id.String()[1:])
	require.ErrorIs(t, err, mdev.ErrInvalid)

	require.NoError(t, host.Remove(t.Context(), created.ID))
	require.ErrorIs(t, host.Remove(t.Context(), created.ID), mdev.ErrNotFound)
	after, err := host.Inventory(t.Context())
	require.NoError(t, err)
	assert.Equal(t, before, after)
}

// mtty has 24 ports, of which mtty-2 takes two.
func TestMdevExhausted(t *testing.T) {
	host := openHost(t)
	for range 12 {
		kernelMdev(t, "mtty-2")
	}
	_, err := host.Create(t.Context(), mdev.CreateRequest{Type: "mtty-2", Parent: "mtty"})
	require.ErrorIs(t, err, mdev.ErrNoCapacity)
	require.ErrorIs(t, err, syscall.ENOSPC)
	_, err = host.Create(t.Context(), mdev.CreateRequest{Type: "mtty-1"})
	require.ErrorIs(t, err, mdev.ErrNoCapacity, "the types share the ports")
}

// A device that a VM has is refused at once, with the VM's name, and the VM
// keeps it; once the VM has ended it can be removed.
func TestMdevInUseIsRefusedAtOnce(t *testing.T) {
	host := openHost(t)
	for _, typ := range []string{"mtty-2", "mdpy-xga"} {
		t.Run(typ, func(t *testing.T) {
			created := kernelMdev(t, typ)
			end := qemuWith(t, "desk1", &created.Device)
			for range 3 {
				start := time.Now()
				err := host.Remove(t.Context(), created.ID)
				took := time.Since(start)
				require.ErrorIs(t, err, mdev.ErrInUse)
				require.ErrorIs(t, err, syscall.EBUSY)
				assert.Contains(t, err.Error(), `VM "desk1" (pid `)
				assert.Less(t, took, 2*time.Second, "at once, on a slow machine")
			}
			dev, err := host.Device(t.Context(), created.ID)
			require.NoError(t, err)
			assert.Equal(t, mdev.StateReady, dev.State)
			assert.Equal(t, "desk1", dev.Holder.VM)
			end()
			require.NoError(t, host.Remove(within(t, mdevPatience), created.ID))
		})
	}
}

func TestMdevHeldGroupIsRefused(t *testing.T) {
	host := openHost(t)
	created := kernelMdev(t, "mtty-1")
	child, end := mdevChild(t, "hold "+created.VFIONode, "holding")
	start := time.Now()
	err := host.Remove(t.Context(), created.ID)
	require.ErrorIs(t, err, mdev.ErrInUse)
	assert.Contains(t, err.Error(), fmt.Sprintf("(pid %d)", child.Process.Pid))
	assert.Less(t, time.Since(start), 3*time.Second)
	end()
	require.NoError(t, child.Wait())
	require.NoError(t, host.Remove(within(t, mdevPatience), created.ID))
}

// Someone else's blocked removal is seen as what it is, and is over when the VM
// has ended.
func TestMdevGhost(t *testing.T) {
	host := openHost(t)
	before, err := host.Inventory(t.Context())
	require.NoError(t, err)
	created := kernelMdev(t, "mtty-2")
	end := qemuWith(t, "desk2", &created.Device)
	remover, _ := mdevChild(t, "remove /"+created.Path+"/remove", "removing")
	require.Eventually(t, func() bool {
		dev, err := host.Device(context.Background(), created.ID)
		return err == nil && dev.State == mdev.StateGhost
	}, mdevPatience, 20*time.Millisecond)
	dev, err := host.Device(t.Context(), created.ID)
	require.NoError(t, err)
	require.NotNil(t, dev.Holder)
	assert.Equal(t, "desk2", dev.Holder.VM)
	err = host.Remove(t.Context(), created.ID)
	require.ErrorIs(t, err, mdev.ErrInUse)
	var e *mdev.Error
	require.ErrorAs(t, err, &e)
	assert.Contains(t, e.Hint(), "desk2")
	_, err = host.Create(t.Context(), mdev.CreateRequest{Type: "mtty-2", UUID: uuid.MustParse(created.ID)})
	require.ErrorIs(t, err, mdev.ErrExists)
	end()
	require.NoError(t, remover.Wait())
	after, err := host.Inventory(t.Context())
	require.NoError(t, err)
	assert.Equal(t, before, after)
}

// The probe says what QEMU would learn: mtty can be migrated, mdpy shows a
// picture in a region and cannot.
func TestMdevProbe(t *testing.T) {
	host := openHost(t)
	tty := kernelMdev(t, "mtty-2")
	probe, err := host.Probe(t.Context(), tty.ID)
	require.NoError(t, err)
	t.Logf("%+v", probe)
	assert.Equal(t, "pci", probe.Kind)
	assert.True(t, probe.Migration.Supported())
	assert.True(t, probe.Migration.P2P)
	assert.True(t, probe.Migration.PreCopy)
	assert.Contains(t, regionNames(&probe), "bar0")
	assert.Contains(t, regionNames(&probe), "config")
	assert.NotEmpty(t, probe.Interrupts)

	display := kernelMdev(t, "mdpy-xga")
	probe, err = host.Probe(t.Context(), display.ID)
	require.NoError(t, err)
	t.Logf("%+v", probe)
	assert.Equal(t, mdev.Migration{}, probe.Migration)
	assert.True(t, probe.Display.Region)
	mappable := false
	for _, region := range probe.Regions {
		mappable = mappable || region.Map
	}
	assert.True(t, mappable, "its picture can be mapped")

	_, err = host.Probe(t.Context(), uuid.NewString())
	require.ErrorIs(t, err, mdev.ErrNotFound)
	end := qemuWith(t, "desk3", &display.Device)
	_, err = host.Probe(t.Context(), display.ID)
	require.ErrorIs(t, err, mdev.ErrInUse)
	assert.Contains(t, err.Error(), "desk3")
	end()
	require.NoError(t, host.Remove(within(t, mdevPatience), display.ID))
}

func regionNames(p *mdev.Probe) []string {
	var names []string
	for _, region := range p.Regions {
		names = append(names, region.Name)
	}
	return names
}

func TestMdevWatch(t *testing.T) {
	host := openHost(t)
	ctx, cancel := context.WithTimeout(t.Context(), mdevPatience)
	defer cancel()
	changes, err := host.Watch(ctx)
	require.NoError(t, err)
	first := <-changes
	require.Equal(t, mdev.ChangeScanned, first.Kind)
	require.NotNil(t, first.Inventory)
	for range 3 {
		created := kernelMdev(t, "mtty-1")
		change := <-changes
		assert.Equal(t, mdev.ChangeDeviceAdded, change.Kind)
		require.NotNil(t, change.Device)
		assert.Equal(t, created.Device, *change.Device)
		require.NoError(t, host.Remove(ctx, created.ID))
		change = <-changes
		assert.Equal(t, mdev.ChangeDeviceRemoved, change.Kind)
		assert.Equal(t, created.ID, change.Device.ID)
	}
	// A driver comes and goes with its parents.
	if exec.CommandContext(ctx, "modprobe", "-r", "mdpy").Run() == nil {
		assert.Equal(t, mdev.Change{Kind: mdev.ChangeParentRemoved, Parent: "mdpy"}, <-changes)
		require.NoError(t, exec.CommandContext(ctx, "modprobe", "mdpy").Run())
		assert.Equal(t, mdev.Change{Kind: mdev.ChangeParentAdded, Parent: "mdpy"}, <-changes)
	} else {
		lacking(t, "an mdpy module that can be unloaded")
	}
	cancel()
	for range changes {
	}
}

// soakDuration is VGPUKIT_SOAK, or short.
func soakDuration(t *testing.T) time.Duration {
	text := os.Getenv("VGPUKIT_SOAK")
	if text == "" {
		return 5 * time.Second
	}
	d, err := time.ParseDuration(text)
	require.NoError(t, err)
	return d
}

// 64 goroutines in two processes create and remove on one parent: never more
// than fits, nothing left over, no error but the lack of room.
func TestMdevSoak(t *testing.T) {
	host := openHost(t)
	before, err := host.Inventory(t.Context())
	require.NoError(t, err)
	duration := soakDuration(t)
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), "VGPUKIT_MDEV_CHILD=soak mtty "+duration.String())
	var said strings.Builder
	child.Stdout, child.Stderr = &said, &said
	require.NoError(t, child.Start())
	require.NoError(t, soak("mtty", duration))
	require.NoError(t, child.Wait(), "%s", &said)
	after, err := host.Inventory(t.Context())
	require.NoError(t, err)
	assert.Equal(t, before, after)
}

// soak creates and removes on one parent from 32 goroutines, half of which have
// a device of one UUID to fight for.
func soak(parent string, duration time.Duration) error {
	host, err := mdev.Open(mdev.Config{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), duration+2*mdevPatience)
	defer cancel()
	until := time.Now().Add(duration)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var wrong []error
	rounds := 0
	for n := range 32 {
		wg.Go(func() {
			for time.Now().Before(until) {
				req := mdev.CreateRequest{Type: "mtty-" + strconv.Itoa(1+n%2), Parent: parent}
				shared := n%8 == 7
				if shared {
					req.Type, req.UUID = "mtty-1", uuid.NewSHA1(uuid.NameSpaceOID, []byte{byte(n)})
				}
				created, err := host.Create(ctx, req)
				if err == nil {
					err = host.Remove(ctx, created.ID)
				} else if errors.Is(err, mdev.ErrNoCapacity) {
					err = nil
				}
				if shared && (errors.Is(err, mdev.ErrNotFound) || errors.Is(err, mdev.ErrExists) || errors.Is(err, mdev.ErrInUse)) {
					err = nil // another removed or is removing it
				}
				mu.Lock()
				rounds++
				if err != nil {
					wrong = append(wrong, err)
				}
				mu.Unlock()
			}
		})
	}
	free := 24
	for time.Now().Before(until) {
		inv, err := host.Inventory(ctx)
		if err != nil {
			return err
		}
		for _, gpu := range inv.GPUs {
			if gpu.Name != parent {
				continue
			}
			for _, c := range gpu.Capacity {
				if c.Type == "mtty-1" && (c.Available < 0 || c.Available > free) {
					return fmt.Errorf("%d of %d ports are free", c.Available, free)
				}
			}
		}
		time.Sleep(50 * time.Millisecond) // paces the looking, waits for nothing
	}
	wg.Wait()
	fmt.Printf("soak: %d rounds in %v\n", rounds, duration)
	if rounds == 0 {
		wrong = append(wrong, errors.New("nothing was done"))
	}
	return errors.Join(wrong...)
}
