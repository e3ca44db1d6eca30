package vgputest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

const operations = 10_000

// TestTenThousandOperations: whatever is done in whatever order, a vGPU is open exactly
// while a VM that names it runs, and in the end no goroutine, descriptor or file is
// left.
func TestTenThousandOperations(t *testing.T) {
	goroutines, descriptors := runtime.NumGoroutine(), openFiles(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t, "mtty")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.makeVGPUs(3)
	names := []string{"one", "two", "three"}
	done := map[string]int{}
	for n := range operations {
		vm := names[rng.IntN(len(names))]
		what, do := w.operation(rng, vm, names)
		within, stop := context.WithTimeout(ctx, time.Duration(rng.IntN(3))*time.Millisecond)
		if rng.IntN(4) > 0 {
			within = ctx
		}
		if err := do(within); err == nil {
			done[what]++
		}
		stop()
		w.holds(fmt.Sprintf("operation %d, %s %s", n, what, vm))
	}
	for what, times := range done {
		t.Log(what, times)
	}
	require.Greater(t, len(done), 20, "most of them succeed some time: %v", done)
	w.libvirt.SetGuest("", vgputest.Guest{})
	all := domain.UndefineOptions{ManagedSave: true, NVRAM: true, SnapshotsMetadata: true}
	for {
		infos, err := w.libvirt.Domains(ctx)
		require.NoError(t, err)
		if len(infos) == 0 {
			break
		}
		_ = w.libvirt.Destroy(ctx, infos[0].Name)
		_ = w.libvirt.Undefine(ctx, infos[0].Name, all)
	}
	for _, path := range w.libvirt.Files() {
		require.Contains(t, path, "/saved/", "only what was saved to a file, and is kept, is left")
	}
	cancel()
	for begin := time.Now(); runtime.NumGoroutine() > goroutines && time.Since(begin) < 10*time.Second; {
		runtime.Gosched() // those that end just now
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), goroutines, "goroutines are left")
	require.LessOrEqual(t, openFiles(t), descriptors) // others' may end just now
}

// TestOperationsTogether: operations that come together, daemons that end and reboots
// among them, leave nobody waiting, and a vGPU open exactly while a VM that names it runs.
func TestOperationsTogether(t *testing.T) {
	w := newWorld(t, "mtty")
	w.makeVGPUs(3)
	names := []string{"one", "two", "three"}
	ctx, cancel := context.WithCancel(t.Context())
	var hands sync.WaitGroup
	for hand := range uint64(8) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d of %d", seed, hand)
		rng := rand.New(rand.NewPCG(seed, hand))
		hands.Go(func() {
			for range operations / 20 {
				_, do := w.operation(rng, names[rng.IntN(len(names))], names)
				_ = do(ctx)
				if hand == 0 {
					w.libvirt.SetDown(rng.IntN(2) == 0)
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { hands.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		cancel()
		t.Error("somebody waits in vain")
		<-ended
	}
	cancel()
	w.libvirt.SetDown(false)
	for _, id := range w.vgpus { // that reboots lost in the midst of others
		_, _ = w.host.Create(t.Context(), mdev.CreateRequest{Type: "mtty-1", UUID: parseID(id)})
	}
	w.holds("in the end")
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// simulated is a host with its libvirt and some vGPUs.
type simulated struct {
	t       *testing.T
	sim     *mdevtest.Host
	host    *mdev.Host
	libvirt *vgputest.Hypervisor
	vgpus   []string
}

func newWorld(t *testing.T, spec string) *simulated {
	t.Helper()
	board, err := mdevtest.NewBoard(spec)
	require.NoError(t, err)
	w := &simulated{t: t, sim: mdevtest.New(board)}
	w.host, err = mdev.Open(mdev.Config{FS: w.sim})
	require.NoError(t, err)
	w.libvirt = vgputest.New(w.sim)
	return w
}

func (w *simulated) makeVGPUs(n int) {
	for range n {
		made, err := w.host.Create(w.t.Context(), mdev.CreateRequest{Type: "mtty-1"})
		require.NoError(w.t, err)
		w.vgpus = append(w.vgpus, made.ID)
	}
}

// machineWith is a document with these vGPUs, in a machine with a free slot to plug into.
func machineWith(name string, vgpus ...string) string {
	devices := ""
	for i, id := range vgpus {
		devices += fmt.Sprintf("<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='%s'/></source>"+
			"<alias name='ua-%d'/><address type='pci' bus='0x00' slot='0x%02x' function='0x0'/></hostdev>", id, i, 8+i)
	}
	overrides := ""
	for i := range vgpus {
		overrides += fmt.Sprintf("<qemu:device alias='ua-%d'><qemu:frontend><qemu:property name='x-device-dirty-page-tracking' type='string' value='off'/></qemu:frontend></qemu:device>", i)
	}
	return fmt.Sprintf(`<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>%s</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/disk'/><target dev='vda' bus='virtio'/></disk><controller type='pci' index='0' model='pcie-root'/><controller type='pci' index='1' model='pcie-root-port'/>%s</devices>
  <qemu:override>%s</qemu:override>
</domain>`, name, devices, overrides)
}

func element(id string) string {
	return fmt.Sprintf("<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='%s'/></source></hostdev>", id)
}

// operation is one that is drawn, with its name.
func (w *simulated) operation(rng *rand.Rand, vm string, names []string) (string, func(context.Context) error) {
	h := w.libvirt
	if rng.IntN(2) == 0 {
		h = h.Virsh()
	}
	id, other := w.vgpus[rng.IntN(len(w.vgpus))], names[rng.IntN(len(names))]
	path := "/saved/" + vm
	scope := domain.Scope(1 + rng.IntN(3))
	all := []struct {
		name string
		do   func(context.Context) error
	}{
		{"define", func(ctx context.Context) error { _, err := h.Define(ctx, machineWith(vm, id)); return err }},
		{"redefine", func(ctx context.Context) error {
			def, err := h.Definition(ctx, vm)
			if err == nil {
				_, err = h.Define(ctx, def.XML)
			}
			return err
		}},
		{"create", func(ctx context.Context) error { _, err := h.Create(ctx, machineWith(vm, id)); return err }},
		{"undefine", func(ctx context.Context) error {
			return h.Undefine(ctx, vm, domain.UndefineOptions{ManagedSave: rng.IntN(2) == 0, SnapshotsMetadata: rng.IntN(2) == 0})
		}},
		{"start", func(ctx context.Context) error { return h.Start(ctx, vm) }},
		{"start again", func(ctx context.Context) error { return h.Start(ctx, vm) }},
		{"shutdown", func(ctx context.Context) error { return h.Shutdown(ctx, vm, domain.ShutdownAny) }},
		{"terminate", func(ctx context.Context) error { return h.Terminate(ctx, vm) }},
		{"destroy", func(ctx context.Context) error { return h.Destroy(ctx, vm) }},
		{"crash", func(ctx context.Context) error { return h.Crash(ctx, vm) }},
		{"power off", func(ctx context.Context) error { return h.PowerOff(ctx, vm) }},
		{"suspend", func(ctx context.Context) error { return h.Suspend(ctx, vm) }},
		{"resume", func(ctx context.Context) error { return h.Resume(ctx, vm) }},
		{"reset", func(ctx context.Context) error { return h.Reset(ctx, vm) }},
		{"managed save", func(ctx context.Context) error { return h.ManagedSave(ctx, vm) }},
		{"managed save remove", func(ctx context.Context) error { return h.ManagedSaveRemove(ctx, vm) }},
		{"save", func(ctx context.Context) error { return h.Save(ctx, vm, path) }},
		{"restore", func(ctx context.Context) error { return h.Restore(ctx, path, "") }},
		{"attach", func(ctx context.Context) error { return h.Attach(ctx, vm, element(id), scope) }},
		{"detach", func(ctx context.Context) error {
			within, stop := context.WithTimeout(ctx, time.Millisecond)
			defer stop()
			return h.Detach(within, vm, element(id), scope)
		}},
		{"rename", func(ctx context.Context) error { return h.Rename(ctx, vm, other) }},
		{"clone", func(ctx context.Context) error { _, err := h.Clone(ctx, vm, other); return err }},
		{"autostart", func(ctx context.Context) error { return h.SetAutostart(ctx, vm, rng.IntN(2) == 0) }},
		{"metadata", func(ctx context.Context) error {
			return h.SetMetadata(ctx, vm, fmt.Sprintf("<v:vgpus xmlns:v='%s'/>", domain.MetadataURI), scope)
		}},
		{"snapshot", func(ctx context.Context) error { return h.Snapshot(ctx, vm, fmt.Sprint(rng.IntN(3))) }},
		{"revert", func(ctx context.Context) error { return h.Revert(ctx, vm, fmt.Sprint(rng.IntN(3))) }},
		{"guest", func(context.Context) error {
			h.SetGuest(vm, vgputest.Guest{Deaf: rng.IntN(3) == 0, IgnoresSIGTERM: rng.IntN(4) == 0})
			return nil
		}},
		{"restart daemon", func(context.Context) error { h.RestartDaemon(); return nil }},
		{"listen", func(ctx context.Context) error {
			within, stop := context.WithCancel(ctx)
			defer stop()
			events, err := h.Events(within)
			if err == nil {
				_ = h.Suspend(within, vm)
				stop()
				for range events {
				}
			}
			return err
		}},
		{"fault", func(ctx context.Context) error {
			undo := h.Fail(vgputest.Fault{VM: vm, Hang: rng.IntN(2) == 0, After: rng.IntN(2) == 0, Delay: time.Microsecond})
			defer undo()
			within, stop := context.WithTimeout(ctx, time.Millisecond)
			defer stop()
			return h.Start(within, vm)
		}},
		{"reboot", func(context.Context) error {
			if rng.IntN(10) > 0 {
				return nil
			}
			w.sim.Reboot()
			for _, id := range w.vgpus {
				if _, err := w.host.Create(w.t.Context(), mdev.CreateRequest{Type: "mtty-1", UUID: parseID(id)}); err != nil {
					return err
				}
			}
			return nil
		}},
	}
	drawn := all[rng.IntN(len(all))]
	return drawn.name, drawn.do
}

// holds checks that host and libvirt agree on who has which vGPU.
func (w *simulated) holds(what string) {
	w.t.Helper()
	ctx := context.Background()
	infos, err := w.libvirt.Virsh().Domains(ctx)
	require.NoError(w.t, err, what)
	owner := map[string]string{}
	for _, info := range infos {
		require.True(w.t, info.State.Active() || info.Persistent, "%s: %s is off and has no definition", what, info.Name)
		live, err := w.libvirt.Virsh().LiveXML(ctx, info.Name)
		require.NoError(w.t, err, what)
		doc, err := domain.Parse([]byte(live))
		require.NoError(w.t, err, "%s: %s", what, live)
		id, ok := doc.UUID()
		require.True(w.t, ok && id == info.UUID && doc.Name() == info.Name, "%s: %s", what, live)
		for _, d := range doc.Hostdevs() {
			if info.State.Active() {
				require.Empty(w.t, owner[d.ID()], what)
				owner[d.ID()] = info.Name
			}
		}
	}
	for _, id := range w.vgpus {
		d, err := w.host.Device(ctx, id)
		require.NoError(w.t, err, what)
		held := ""
		if d.Holder != nil {
			held = d.Holder.VM
		}
		require.Equal(w.t, owner[id], held, "%s: %s", what, id)
	}
}

func parseID(id string) uuid.UUID {
	parsed, err := uuid.Parse(id)
	if err != nil {
		panic(err)
	}
	return parsed
}
