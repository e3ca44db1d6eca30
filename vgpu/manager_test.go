package vgpu

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// rig is a simulated host with its libvirt and a Manager.
type rig struct {
	t     testing.TB
	sim   *mdevtest.Host
	host  *mdev.Host
	hyper *vgputest.Hypervisor
	dir   string
	run   string // what this boot has seen
	m     *Manager
	board string
}

func newRig(t testing.TB, boards ...string) *rig {
	t.Helper()
	var list []mdevtest.Board
	for _, name := range boards {
		b, err := mdevtest.NewBoard(name)
		require.NoError(t, err)
		list = append(list, b)
	}
	r := &rig{t: t, sim: mdevtest.New(list...), dir: stateDir(t), run: stateDir(t), board: strings.Join(boards, " ")}
	var err error
	r.host, err = mdev.Open(mdev.Config{FS: r.sim})
	require.NoError(t, err)
	r.hyper = vgputest.New(r.sim)
	r.m = r.manager(Observer{})
	return r
}

func (r *rig) manager(o Observer) *Manager {
	m, err := New(Config{
		Host: r.host, Hypervisor: r.hyper, StateDir: r.dir, RuntimeDir: r.run, Observer: o,
		Timeouts: Timeouts{Lock: 2 * time.Second, Start: 2 * time.Second, Release: 2 * time.Second, Undo: 5 * time.Second},
	})
	require.NoError(r.t, err)
	return m
}

const bareDomain = `<domain type='kvm'>
  <name>%s</name>
  <uuid>%s</uuid>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <graphics type='vnc'/>
  </devices>
</domain>
`

// document is the same for a name each time.
func document(name string) string {
	return fmt.Sprintf(bareDomain, name, documentUUID(name))
}

func documentUUID(name string) uuid.UUID { return uuid.NewSHA1(uuid.NameSpaceDNS, []byte(name)) }

// withoutUUID is a document that leaves its UUID to libvirt.
func withoutUUID(doc string) string {
	before, rest, _ := strings.Cut(doc, "  <uuid>")
	_, after, _ := strings.Cut(rest, "</uuid>\n")
	return before + after
}

// xml is the document from which a VM starts next.
func (r *rig) xml(vm string) (string, error) {
	def, err := r.hyper.Virsh().Definition(context.Background(), vm)
	return def.XML, err
}

func request(name, typ string, n int) ProvisionRequest {
	req := ProvisionRequest{Domain: document(name)}
	for range n {
		req.VGPUs = append(req.VGPUs, Request{Type: typ})
	}
	return req
}

// quickStop does not wait for anybody.
var quickStop = StopOptions{GuestTimeout: 50 * time.Millisecond, TerminateTimeout: 50 * time.Millisecond}

// world is all that an operation may change, for comparison.
func (r *rig) world() string {
	r.t.Helper()
	inv, err := r.host.Inventory(context.Background())
	require.NoError(r.t, err)
	out := ""
	for _, gpu := range inv.GPUs {
		for _, c := range gpu.Capacity {
			out += fmt.Sprintln(gpu.Name, c.Type, c.Available)
		}
		for _, p := range gpu.Parents {
			for _, d := range p.Devices {
				out += fmt.Sprintln("device", d.ID, d.Type, d.Parent, d.State, d.Holder != nil)
			}
		}
	}
	infos, err := r.hyper.Domains(context.Background())
	require.NoError(r.t, err)
	for _, info := range infos {
		xml, err := r.xml(info.Name)
		require.NoError(r.t, err)
		out += fmt.Sprintln("domain", info.Name, info.State, xml)
	}
	for _, sub := range []string{vmsDir, "damaged"} {
		entries, err := os.ReadDir(filepath.Join(r.dir, sub))
		require.NoError(r.t, err)
		for _, e := range entries {
			out += fmt.Sprintln(sub, e.Name())
		}
	}
	return out
}

// TestLifeOfAVM: a VM with one and with several vGPUs, of every framework, goes
// from nothing to running and back to nothing.
func TestLifeOfAVM(t *testing.T) {
	for _, board := range []struct{ name, typ string }{
		{"tesla-m60", "GRID M60-2Q"},
		{"a40,vfs=8", "NVIDIA A40-4Q"},
		{"l40s,vfs=8", "NVIDIA L40S-4Q"},
		{"mdpy", "mdpy-xga"},
	} {
		for _, life := range []Lifetime{Reserved, WhileRunning} {
			for _, n := range []int{1, 2} {
				t.Run(fmt.Sprintf("%s %s %d", board.name, life, n), func(t *testing.T) {
					if board.name == "tesla-m60" && n == 2 {
						board.typ = "GRID M60-8Q" // before Ampere: only the largest profile
					}
					r := newRig(t, board.name)
					ctx := t.Context()
					before := r.world()

					req := request("vm", board.typ, n)
					req.Lifetime = life
					if n == 2 {
						req.Domain = withoutUUID(req.Domain)
					}
					vm, err := r.m.Provision(ctx, req)
					require.NoError(t, err)
					assert.Equal(t, StateOff, vm.State)
					require.Len(t, vm.VGPUs, n)
					for i, g := range vm.VGPUs {
						assert.Equal(t, life == Reserved, g.Present, "vGPU %d", i)
						assert.NotEmpty(t, g.Address)
					}

					again, err := r.m.Provision(ctx, req)
					require.NoError(t, err)
					assert.True(t, again.Existed, "asking for what is there succeeds and says so")

					vm, err = r.m.Start(ctx, "vm", StartOptions{})
					require.NoError(t, err)
					assert.Equal(t, StateRunning, vm.State)
					for _, g := range vm.VGPUs {
						assert.True(t, g.Present)
					}

					vm, err = r.m.Stop(ctx, "vm", quickStop)
					require.NoError(t, err)
					assert.Equal(t, StateOff, vm.State)
					for _, g := range vm.VGPUs {
						assert.Equal(t, life == Reserved, g.Present)
					}

					require.NoError(t, r.m.Teardown(ctx, "vm", TeardownOptions{Stop: quickStop}))
					assert.Equal(t, before, r.world(), "nothing is left")
				})
			}
		}
	}
}

// TestFailureAtEachStep: whichever step of an operation fails, everything is as
// before, and the error names VM and step.
func TestFailureAtEachStep(t *testing.T) {
	type point struct {
		call  string
		after bool
	}
	for _, op := range []struct {
		name  string
		setup func(*rig)
		do    func(*rig) error
		calls []point
	}{
		{"provision", func(*rig) {}, func(r *rig) error {
			_, err := r.m.Provision(context.Background(), request("vm", "NVIDIA L40S-4Q", 2))
			return err
		}, []point{{"Define", false}, {"Define", true}}},
		{"start", func(r *rig) {
			req := request("vm", "NVIDIA L40S-4Q", 2)
			req.Lifetime = WhileRunning
			_, err := r.m.Provision(context.Background(), req)
			require.NoError(r.t, err)
		}, func(r *rig) error {
			_, err := r.m.Start(context.Background(), "vm", StartOptions{})
			return err
		}, []point{{"Start", false}, {"Start", true}}},
		{"teardown", func(r *rig) {
			_, err := r.m.Provision(context.Background(), request("vm", "NVIDIA L40S-4Q", 2))
			require.NoError(r.t, err)
		}, func(r *rig) error {
			return r.m.Teardown(context.Background(), "vm", TeardownOptions{Stop: quickStop})
		}, []point{{"Undefine", false}}},
	} {
		for _, p := range op.calls {
			t.Run(fmt.Sprintf("%s %s after=%v", op.name, p.call, p.after), func(t *testing.T) {
				r := newRig(t, "l40s,vfs=8")
				op.setup(r)
				before := r.world()
				broken := fmt.Errorf("injected")
				mend := r.hyper.Fail(vgputest.Fault{Method: p.call, After: p.after, Err: broken})
				err := op.do(r)
				require.ErrorIs(t, err, broken)
				var e *Error
				require.ErrorAs(t, err, &e)
				assert.Equal(t, op.name, e.Op)
				assert.Equal(t, "vm", e.VM)
				assert.NotEmpty(t, e.Step)
				mend()
				assert.Equal(t, before, r.world())
			})
		}
	}
}

// TestStrangersAreSafe: what we did not make is reported and never touched.
func TestStrangersAreSafe(t *testing.T) {
	r := newRig(t, "mtty")
	ctx := t.Context()
	stranger, err := r.host.Create(ctx, mdev.CreateRequest{Type: "mtty-1"})
	require.NoError(t, err)
	_, err = r.hyper.Define(ctx, string(document("theirs")))
	require.NoError(t, err)
	before := r.world()

	_, err = r.m.Provision(ctx, request("theirs", "mtty-1", 1))
	require.ErrorIs(t, err, ErrExists)
	_, err = r.m.Start(ctx, "theirs", StartOptions{})
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorIs(t, r.m.Teardown(ctx, "theirs", TeardownOptions{}), ErrInvalid)
	_, err = r.m.Provision(ctx, ProvisionRequest{Domain: document("vm"), VGPUs: []Request{{Type: "mtty-1", UUID: uuid.MustParse(stranger.ID)}}})
	require.ErrorIs(t, err, ErrExists)

	report, err := r.m.Reconcile(ctx, ReconcileOptions{})
	require.NoError(t, err)
	assert.Empty(t, report.Actions)
	require.Len(t, report.Strangers, 1)
	assert.Equal(t, stranger.ID, report.Strangers[0].ID)
	assert.Equal(t, before, r.world())
}

// TestHostReboot: Reserved vGPUs vanish with a reboot; Reconcile names their VMs,
// and Start or a restoring Reconcile makes the same ones again.
func TestHostReboot(t *testing.T) {
	r := newRig(t, "tesla-m60", "l40s,vfs=8")
	ctx := t.Context()
	_, err := r.m.Provision(ctx, request("one", "GRID M60-2Q", 1))
	require.NoError(t, err)
	_, err = r.m.Provision(ctx, request("two", "NVIDIA L40S-4Q", 2))
	require.NoError(t, err)
	before := r.world()
	r.sim.Reboot()

	report, err := r.m.Reconcile(ctx, ReconcileOptions{})
	require.NoError(t, err)
	require.Len(t, report.Actions, 3)
	for _, a := range report.Actions {
		assert.Equal(t, ActionRestore, a.Kind)
		assert.False(t, a.Done)
		assert.NotEmpty(t, a.Next)
	}
	status, err := r.m.Status(ctx, "one")
	require.NoError(t, err)
	assert.Equal(t, StateIncomplete, status.State)

	report, err = r.m.Reconcile(ctx, ReconcileOptions{Restore: true})
	require.NoError(t, err)
	assert.Equal(t, before, r.world())
	report, err = r.m.Reconcile(ctx, ReconcileOptions{Restore: true})
	require.NoError(t, err)
	assert.Empty(t, report.Actions, "a second time there is nothing to do")

	r.sim.Reboot()
	_, err = r.m.Start(ctx, "two", StartOptions{})
	require.NoError(t, err)
}

// TestWatchGivesBack: a VM that ends by itself gives its vGPUs back.
func TestWatchGivesBack(t *testing.T) {
	r := newRig(t, "tesla-m60")
	req := request("vm", "GRID M60-2Q", 1)
	req.Lifetime = WhileRunning
	_, err := r.m.Provision(t.Context(), req)
	require.NoError(t, err)
	before := r.world()
	ctx, cancel := context.WithCancel(t.Context())
	gave := make(chan struct{})
	watcher := r.manager(Observer{StepEnded: func(_ context.Context, s Step, _ error) {
		if s.Name == string(ActionRelease) {
			close(gave)
		}
	}})
	ended := make(chan error)
	started := make(chan struct{})
	go func() {
		close(started)
		ended <- watcher.Watch(ctx)
	}()
	<-started
	_, err = r.m.Start(t.Context(), "vm", StartOptions{})
	require.NoError(t, err)
	require.NoError(r.t, r.hyper.Crash(context.Background(), "vm"))
	<-gave
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	assert.Equal(t, before, r.world())
}

// TestManagedVFIsRefused: a virtual function that libvirt would take from NVIDIA's
// driver, and so destroy its vGPU, is refused with the reason, however it is written.
func TestManagedVFIsRefused(t *testing.T) {
	const address = "<address type='pci' domain='0' bus='0x61' slot='0' function='4'/>"
	for name, device := range map[string]string{
		"as libvirt writes it":  "<hostdev mode='subsystem' type='pci' managed='yes'><source>" + address + "</source></hostdev>",
		"an interface":          "<interface type='hostdev' managed='yes'><source>" + address + "</source></interface>",
		"empty source before":   "<hostdev type='pci' managed='yes'><source/><source>" + address + "</source></hostdev>",
		"two sources":           "<hostdev type='pci' managed='yes'><source>" + address + "</source><source><address bus='1'/></source></hostdev>",
		"a plus and blanks":     "<hostdev type='pci' managed='yes'><source><address bus=' +97' function='+0x4'/></source></hostdev>",
		"octal":                 "<hostdev type='pci' managed='yes'><source><address bus='0141' function='04'/></source></hostdev>",
		"another address type":  "<hostdev type='pci' managed='yes'><source><address type='usb' bus='0x61' function='4'/></source></hostdev>",
		"prefixes":              "<hostdev x:type='pci' type='usb' x:managed='yes' managed='no' xmlns:x='u'><source><address x:bus='0x61' bus='1' function='4'/></source></hostdev>",
		"the xml prefix":        "<hostdev type='pci' xml:managed='yes' managed='no'><source>" + address + "</source></hostdev>",
		"behind other devices":  "</devices><devices><hostdev type='pci' managed='yes'><source>" + address + "</source></hostdev>",
		"an interface, by name": "<interface x:type='hostdev' type='network' managed='yes' xmlns:x='u'><source>" + address + "</source></interface>",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "l40s@0000:61:00.0,vfs=4")
			before := r.world()
			req := request("vm", "NVIDIA L40S-4Q", 1)
			req.Domain = strings.Replace(req.Domain, "</devices>", device+"</devices>", 1)
			_, err := r.m.Provision(t.Context(), req)
			require.ErrorIs(t, err, ErrInvalid)
			assert.ErrorContains(t, err, "managed='yes'")
			assert.Equal(t, before, r.world())
		})
	}
}

// TestProvisionAfterUndefine: a VM that somebody undefined by hand can be
// provisioned again at once; what it left is removed first.
func TestProvisionAfterUndefine(t *testing.T) {
	r := newRig(t, "tesla-m60")
	_, err := r.m.Provision(t.Context(), request("vm", "GRID M60-2Q", 1))
	require.NoError(t, err)
	require.NoError(t, r.hyper.Undefine(t.Context(), "vm", domain.UndefineOptions{}))
	vm, err := r.m.Provision(t.Context(), request("vm", "GRID M60-4Q", 1))
	require.NoError(t, err)
	assert.False(t, vm.Existed)
	require.NoError(t, r.m.Teardown(t.Context(), "vm", TeardownOptions{Stop: quickStop}))
	inv, err := r.host.Inventory(t.Context())
	require.NoError(t, err)
	for _, gpu := range inv.GPUs {
		assert.Empty(t, gpu.Parents[0].Devices)
	}
}

// TestNoBootNoManager: whether a vGPU was made in this boot is not guessed.
func TestNoBootNoManager(t *testing.T) {
	r := newRig(t, "mtty")
	mend := r.sim.Fail(mdevtest.Fault{Path: "boot_id"})
	_, err := New(Config{Host: r.host, Hypervisor: r.hyper, StateDir: r.dir, RuntimeDir: r.run})
	require.ErrorContains(t, err, "boot_id")
	mend()
	_, err = New(Config{Host: r.host, Hypervisor: r.hyper, StateDir: r.dir, RuntimeDir: r.run})
	require.NoError(t, err)
}
