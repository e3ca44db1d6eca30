package vgpu

import (
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/placement"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// TestEditIsKept: what an administrator changes in the document of a VM whose Start
// was killed, is kept by Reconcile, also when it takes back where the vGPUs are.
func TestEditIsKept(t *testing.T) {
	for _, c := range []struct {
		board, typ string
		elsewhere  bool // the Start moves the vGPU
	}{{"mtty", "mtty-1", false}, {"l40s,vfs=3", "NVIDIA L40S-4Q", true}} {
		t.Run(c.board, func(t *testing.T) {
			r := newRig(t, c.board)
			before := r.provisionVM(c.typ, WhileRunning)
			if c.elsewhere {
				_, err := r.host.Create(t.Context(), mdev.CreateRequest{Type: c.typ, Parent: before.VGPUs[0].ID})
				require.NoError(t, err)
			}
			p := r.launch(func(a access) fate {
				if strings.HasPrefix(a.what, "start ") {
					return dieBefore
				}
				return live
			})
			_, died := p.run(func(ctx context.Context, m *Manager) error { return start(ctx, m, "") })
			require.True(t, died)
			text, err := r.xml("vm")
			require.NoError(t, err)
			_, err = r.hyper.Define(t.Context(), strings.Replace(text, "<graphics", "<!-- mine --><graphics", 1))
			require.NoError(t, err)
			r.settled()
			text, err = r.xml("vm")
			require.NoError(t, err)
			assert.Contains(t, text, "<!-- mine -->")
			after, err := r.m.Status(t.Context(), "vm")
			require.NoError(t, err)
			assert.Equal(t, before.VGPUs[0].ID, after.VGPUs[0].ID)
		})
	}
}

// TestSecretsAreKept: a Start that moves a vGPU defines the VM with its passwords.
func TestSecretsAreKept(t *testing.T) {
	r := newRig(t, "l40s,vfs=2")
	req := request("vm", "NVIDIA L40S-4Q", 1)
	req.Domain = strings.Replace(req.Domain, "<graphics type='vnc'/>", "<graphics type='vnc' passwd='secret'/>", 1)
	req.Lifetime = WhileRunning
	vm, err := r.m.Provision(t.Context(), req)
	require.NoError(t, err)
	_, err = r.host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-4Q", Parent: vm.VGPUs[0].ID})
	require.NoError(t, err)
	moved, err := r.m.Start(t.Context(), "vm", StartOptions{})
	require.NoError(t, err)
	assert.NotEqual(t, vm.VGPUs[0].ID, moved.VGPUs[0].ID)
	assert.Equal(t, vm.VGPUs[0].Address, moved.VGPUs[0].Address, "the guest has it where it had it")
	text, err := r.xml("vm")
	require.NoError(t, err)
	assert.Contains(t, text, "passwd='secret'")
	files, err := os.ReadDir(r.dir + "/" + vmsDir)
	require.NoError(t, err)
	for _, f := range files {
		data, err := os.ReadFile(r.dir + "/" + vmsDir + "/" + f.Name())
		require.NoError(t, err)
		assert.NotContains(t, string(data), "secret")
	}
}

// TestRenamedWhileRunning: the vGPU of a VM that somebody renamed stays with it.
func TestRenamedWhileRunning(t *testing.T) {
	r := newRig(t, "mtty")
	r.provisionVM("mtty-1", WhileRunning)
	require.NoError(r.t, r.hyper.Rename(context.Background(), "vm", "renamed"))
	_, err := r.m.Start(t.Context(), "renamed", StartOptions{})
	require.NoError(t, err)
	report := r.settled()
	for _, a := range report.Actions {
		assert.NotEqual(t, ActionRelease, a.Kind, "%+v", a)
	}
	vm, err := r.m.Status(t.Context(), "renamed")
	require.NoError(t, err)
	assert.Equal(t, StateRunning, vm.State)
	assert.True(t, vm.VGPUs[0].Present)
	_, err = r.m.Status(t.Context(), "vm")
	require.ErrorIs(t, err, ErrNotFound, "the old name is forgotten")
}

// TestVFThatCannotBeUndone: a virtual function that keeps its type, though neither
// it nor the Manager could finish with it, is not forgotten.
func TestVFThatCannotBeUndone(t *testing.T) {
	r := newRig(t, "l40s,vfs=2")
	before := r.world()
	params := r.sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Path: "vgpu_params", Err: syscall.EIO})
	undo := r.sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Path: "current_vgpu_type", Do: func(a mdevtest.Access) error {
		if strings.TrimSpace(a.Data) == "0" {
			return syscall.EIO
		}
		return nil
	}})
	req := request("vm", "NVIDIA L40S-4Q", 1)
	req.VGPUs[0].Params = []mdev.Param{{Name: "vgpu_params", Value: "enable_uvm=1"}}
	_, err := r.m.Provision(t.Context(), req)
	require.Error(t, err)
	params()
	undo()
	r.settled()
	assert.Equal(t, before, r.world())
}

// TestAskedAgain: an operation that was interrupted and is asked for again, is done
// as it is asked for now.
func TestAskedAgain(t *testing.T) {
	interrupted := func(t *testing.T, r *rig, do func(context.Context, *Manager) error) {
		t.Helper()
		p := r.launch(func(a access) fate {
			if strings.HasPrefix(a.what, "terminate") {
				return dieBefore
			}
			return live
		})
		_, died := p.run(do)
		require.True(t, died)
	}
	for _, c := range []struct {
		name        string
		first, then func(context.Context, *Manager) error
		after       State
	}{
		{
			"stop, then by force", func(ctx context.Context, m *Manager) error {
				_, err := m.Stop(ctx, "vm", StopOptions{SkipGuest: true, TerminateTimeout: time.Hour})
				return err
			}, func(ctx context.Context, m *Manager) error {
				_, err := m.Stop(ctx, "vm", StopOptions{SkipGuest: true, TerminateTimeout: 10 * time.Millisecond, Force: true})
				return err
			}, StateOff,
		},
		{
			"stop, then teardown", func(ctx context.Context, m *Manager) error {
				_, err := m.Stop(ctx, "vm", StopOptions{SkipGuest: true, TerminateTimeout: time.Hour})
				return err
			}, func(ctx context.Context, m *Manager) error {
				return m.Teardown(ctx, "vm", TeardownOptions{Stop: StopOptions{SkipGuest: true, TerminateTimeout: 10 * time.Millisecond, Force: true}})
			}, StateAbsent,
		},
		{"teardown twice", func(ctx context.Context, m *Manager) error {
			return m.Teardown(ctx, "vm", TeardownOptions{Stop: StopOptions{SkipGuest: true, TerminateTimeout: time.Hour}})
		}, func(ctx context.Context, m *Manager) error {
			return m.Teardown(ctx, "vm", TeardownOptions{Stop: StopOptions{SkipGuest: true, TerminateTimeout: 10 * time.Millisecond, Force: true}})
		}, StateAbsent},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, "mtty")
			r.provisionVM("mtty-1", Reserved)
			_, err := r.m.Start(t.Context(), "vm", StartOptions{})
			require.NoError(t, err)
			interrupted(t, r, c.first)
			r.hyper.SetGuest("", vgputest.Guest{IgnoresSIGTERM: true}) // only force helps
			endsSoon(t, func() { require.NoError(t, c.then(t.Context(), r.m)) })
			vm, err := r.m.Status(t.Context(), "vm")
			if c.after == StateAbsent {
				require.ErrorIs(t, err, ErrNotFound)
			} else {
				require.NoError(t, err)
				assert.Equal(t, c.after, vm.State)
				assert.Empty(t, vm.Unfinished)
			}
			assert.Empty(t, r.settled().Actions)
		})
	}
}

// TestNewerEntry: what a newer program wrote is neither moved nor acted upon.
func TestNewerEntry(t *testing.T) {
	for _, place := range []func(*rig) string{
		func(r *rig) string { return r.m.store.tasks.Path(documentUUID("vm").String()) },
		func(r *rig) string { return r.m.store.grants.Path(documentUUID("vm").String()) },
	} {
		r := newRig(t, "mtty")
		r.provisionVM("mtty-1", Reserved)
		path := place(r)
		data, err := os.ReadFile(r.m.store.grants.Path(documentUUID("vm").String()))
		require.NoError(t, err)
		newer := strings.Replace(string(data), `"vgpukit": 1`, `"vgpukit": 2`, 1)
		require.NoError(t, os.WriteFile(path, []byte(newer), 0o600))
		before := r.world()
		_, err = r.m.Start(t.Context(), "vm", StartOptions{})
		require.ErrorIs(t, err, ErrState)
		assert.ErrorContains(t, err, "newer version")
		report, err := r.m.Reconcile(t.Context(), ReconcileOptions{})
		require.Error(t, err)
		require.NotEmpty(t, report.Actions)
		assert.Equal(t, ReportUnread, report.Actions[0].Kind)
		assert.Equal(t, before, r.world())
		kept, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, newer, string(kept))
	}
}

// TestOtherLibvirt: a VM that was provisioned through another libvirt, and is not
// known to this one, keeps its vGPUs, whatever is asked for here.
func TestOtherLibvirt(t *testing.T) {
	r := newRig(t, "mtty")
	r.provisionVM("mtty-1", Reserved)
	before := r.world()
	other := vgputest.New(r.sim)
	other.SetURI("qemu:///session")
	m := r.through(other)
	report, err := m.Reconcile(t.Context(), ReconcileOptions{Restore: true})
	require.NoError(t, err)
	require.Len(t, report.Actions, 1)
	assert.Equal(t, ReportElsewhere, report.Actions[0].Kind)
	assert.False(t, report.Actions[0].Done)
	assert.NotEmpty(t, report.Actions[0].Next)
	assert.Empty(t, report.Strangers)
	for name, do := range map[string]func() error{
		"provision": func() error { _, err := m.Provision(t.Context(), request("vm", "mtty-1", 1)); return err },
		"plan":      func() error { _, err := m.Plan(t.Context(), request("vm", "mtty-1", 1)); return err },
		"start":     func() error { _, err := m.Start(t.Context(), "vm", StartOptions{}); return err },
		"teardown":  func() error { return m.Teardown(t.Context(), "vm", TeardownOptions{}) },
	} {
		require.ErrorIs(t, do(), ErrExists, name)
	}
	assert.Equal(t, before, r.world())
	assert.Empty(t, r.settled().Actions)
}

// TestNoLockIsLeft: whoever asks for a VM that is not there, or hears of VMs of
// others, leaves no lock file behind.
func TestNoLockIsLeft(t *testing.T) {
	r := newRig(t, "mtty")
	_, err := r.m.Start(t.Context(), "typo", StartOptions{})
	require.ErrorIs(t, err, ErrNotFound)
	_, err = r.hyper.Define(t.Context(), string(document("theirs")))
	require.NoError(t, err)
	r.m.giveBack(t.Context(), domain.Event{VM: "theirs", UUID: documentUUID("theirs")})
	locks, err := os.ReadDir(r.dir + "/" + "locks")
	require.NoError(t, err)
	assert.Empty(t, locks)
}

// TestProvisionTellsDifferences: a VM that is there with other vGPUs than asked for
// is not said to be as asked.
func TestProvisionTellsDifferences(t *testing.T) {
	r := newRig(t, "tesla-m60")
	ask := func() ProvisionRequest {
		req := request("vm", "GRID M60-8Q", 1)
		req.VGPUs[0].Params = []mdev.Param{{Name: "vgpu_params", Value: "enable_uvm=1"}}
		req.VGPUs[0].Display, req.VGPUs[0].Alias = domain.SwitchOn, "ua-one"
		return req
	}
	_, err := r.m.Provision(t.Context(), ask())
	require.NoError(t, err)
	before := r.world()
	again, err := r.m.Provision(t.Context(), ask())
	require.NoError(t, err)
	assert.True(t, again.Existed)
	for name, change := range map[string]func(*ProvisionRequest){
		"parameters": func(q *ProvisionRequest) { q.VGPUs[0].Params = nil },
		"display":    func(q *ProvisionRequest) { q.VGPUs[0].Display = "" },
		"ramfb":      func(q *ProvisionRequest) { q.VGPUs[0].RAMFB = domain.SwitchOn },
		"alias":      func(q *ProvisionRequest) { q.VGPUs[0].Alias = "ua-two" },
		"UUID": func(q *ProvisionRequest) {
			q.Domain = strings.Replace(q.Domain, documentUUID("vm").String(), uuid.NewString(), 1)
		},
	} {
		req := ask()
		change(&req)
		_, err := r.m.Provision(t.Context(), req)
		require.ErrorIs(t, err, ErrExists, name)
		_, err = r.m.Plan(t.Context(), req)
		require.ErrorIs(t, err, ErrExists, name)
	}
	assert.Equal(t, before, r.world())
}

// TestBadParamsAreRefusedAtOnce: also where the vGPU is made only later.
func TestBadParamsAreRefusedAtOnce(t *testing.T) {
	r := newRig(t, "tesla-m60")
	before := r.world()
	for _, life := range []Lifetime{Reserved, WhileRunning} {
		req := request("vm", "GRID M60-8Q", 2)
		req.Lifetime = life
		req.VGPUs[1].Params = []mdev.Param{{Name: "../../remove", Value: "1"}}
		_, err := r.m.Provision(t.Context(), req)
		require.ErrorIs(t, err, ErrInvalid)
	}
	assert.Equal(t, before, r.world())
}

// TestPlanSaysWhatProvisionWouldDo: for a VM that is there as asked, for a name that
// somebody else has, and for what an undefined VM has left.
func TestPlanSaysWhatProvisionWouldDo(t *testing.T) {
	r := newRig(t, "mtty")
	ctx := t.Context()
	req := request("vm", "mtty-1", 1)
	plan, err := r.m.Plan(ctx, req)
	require.NoError(t, err)
	assert.False(t, plan.Existed)
	assert.Equal(t, documentUUID("vm"), plan.UUID)
	nameless := req
	nameless.Domain = withoutUUID(req.Domain)
	open, err := r.m.Plan(ctx, nameless)
	require.NoError(t, err)
	assert.NotEqual(t, uuid.Nil, open.UUID, "it is made up")
	vm := r.provisionVM("mtty-1", Reserved)
	assert.Equal(t, plan.VGPUs[0].ID, vm.VGPUs[0].ID)
	there, err := r.m.Plan(ctx, req)
	require.NoError(t, err)
	assert.True(t, there.Existed)
	assert.Equal(t, vm.UUID, there.UUID)
	assert.Equal(t, vm.VGPUs[0].ID, there.VGPUs[0].ID)

	require.NoError(t, r.hyper.Undefine(ctx, "vm", domain.UndefineOptions{}))
	left, err := r.m.Plan(ctx, req)
	require.NoError(t, err, "what it left is cleared first")
	assert.Equal(t, plan.VGPUs, left.VGPUs)

	_, err = r.hyper.Define(ctx, string(document("theirs")))
	require.NoError(t, err)
	_, err = r.m.Plan(ctx, request("theirs", "mtty-1", 1))
	require.ErrorIs(t, err, ErrExists)
}

// TestHiddenType: a type that virtual functions do not list, since a vGPU of another
// size runs beside it, is not said to be unknown; a name that cannot be one is.
func TestHiddenType(t *testing.T) {
	r := newRig(t, "l40s,vfs=3")
	_, err := r.host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-1Q"})
	require.NoError(t, err)
	fresh, err := mdev.Open(mdev.Config{FS: r.sim}) // which has never seen the whole list
	require.NoError(t, err)
	r.host = fresh
	m := r.manager(Observer{})
	_, err = m.Plan(t.Context(), request("vm", "NVIDIA L40S-2Q", 1))
	require.ErrorIs(t, err, ErrNoCapacity)
	require.NotErrorIs(t, err, ErrNotFound)
	_, err = m.Plan(t.Context(), request("vm", "NVIDIA A40-2Q", 1))
	require.ErrorIs(t, err, ErrNotFound)
}

// TestPlacementIsRemembered: vGPUs that are made again, go where the caller wanted
// them when the VM was provisioned.
func TestPlacementIsRemembered(t *testing.T) {
	r := newRig(t, "l40s@0000:41:00.0,vfs=2", "l40s@0000:61:00.0,vfs=2", "l40s@0000:81:00.0,vfs=2")
	req := request("vm", "NVIDIA L40S-4Q", 1)
	req.Lifetime = WhileRunning
	req.Placement.Avoid = []placement.Use{{GPU: "0000:41:00.0"}, {GPU: "0000:61:00.0"}}
	vm, err := r.m.Provision(t.Context(), req)
	require.NoError(t, err)
	theirs, err := r.host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-4Q", Parent: vm.VGPUs[0].ID})
	require.NoError(t, err)
	for range 2 { // also from what the first Start has stored
		vm, err = r.m.Start(t.Context(), "vm", StartOptions{})
		require.NoError(t, err)
		assert.Equal(t, "0000:81:00.0", vm.VGPUs[0].GPU)
		assert.NotEqual(t, theirs.ID, vm.VGPUs[0].ID)
		_, err = r.m.Stop(t.Context(), "vm", quickStop)
		require.NoError(t, err)
	}
}

// TestUndefinedWhileItStops: a VM that somebody undefined while it ran, and whose Stop
// was killed, is stopped and has its vGPU removed by one Reconcile.
func TestUndefinedWhileItStops(t *testing.T) {
	r := newRig(t, "mtty")
	empty := r.world()
	r.provisionVM("mtty-1", Reserved)
	_, err := r.m.Start(t.Context(), "vm", StartOptions{})
	require.NoError(t, err)
	require.NoError(t, r.hyper.Undefine(t.Context(), "vm", domain.UndefineOptions{}))
	p := r.launch(func(a access) fate {
		if strings.HasPrefix(a.what, "shutdown ") {
			return dieBefore
		}
		return live
	})
	_, died := p.run(func(ctx context.Context, m *Manager) error {
		_, err := m.Stop(ctx, "vm", quickStop)
		return err
	})
	require.True(t, died)
	r.settled()
	assert.Equal(t, empty, r.world())
}

// TestLeaseOfAFailedStart: a Start that fails just when it has taken a virtual function
// gives it up; what a stranger makes there next is not the VM's.
func TestLeaseOfAFailedStart(t *testing.T) {
	r := newRig(t, "l40s,vfs=2")
	before := r.provisionVM("NVIDIA L40S-4Q", WhileRunning)
	p := r.launch(func(a access) fate {
		if strings.HasPrefix(a.what, "put owners") {
			return failAfter
		}
		return live
	})
	err, died := p.run(func(ctx context.Context, m *Manager) error { return start(ctx, m, "") })
	require.False(t, died)
	require.ErrorIs(t, err, errFault)
	theirs, err := r.host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-4Q", Parent: before.VGPUs[0].ID})
	require.NoError(t, err)
	after, err := r.m.Status(t.Context(), "vm")
	require.NoError(t, err)
	assert.False(t, after.VGPUs[0].Present)
	r.settled()
	_, err = r.host.Find(t.Context(), theirs.ID)
	assert.NoError(t, err, "it is a stranger's")
}
