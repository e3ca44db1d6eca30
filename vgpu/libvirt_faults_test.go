package vgpu

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// TestLibvirtHangs: no call of the Manager waits for a libvirt that answers nothing;
// the error says that it did not answer, and one Reconcile later all is as before.
func TestLibvirtHangs(t *testing.T) {
	ctx := t.Context()
	for _, c := range []struct {
		name   string
		method string
		do     func(*Manager) error
		open   bool // libvirt may still do it
	}{
		{"read", "Definition", func(m *Manager) error {
			_, err := m.Status(ctx, "vm")
			return err
		}, false},
		{"define", "Define", func(m *Manager) error {
			_, err := m.Provision(ctx, request("other", "mtty-1", 1))
			return err
		}, true},
		{"start", "Start", func(m *Manager) error {
			_, err := m.Start(ctx, "vm", StartOptions{})
			return err
		}, true},
		{"undefine", "Undefine", func(m *Manager) error { return m.Teardown(ctx, "vm", TeardownOptions{Stop: quickStop}) }, false},
		{"events", "Events", func(m *Manager) error { return m.Watch(ctx) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, "mtty")
			r.provisionVM("mtty-1", Reserved)
			before := r.world()
			answer := r.hyper.Fail(vgputest.Fault{Method: c.method, Hang: true})
			endsSoon(t, func() {
				err := c.do(r.through(r.hyper))
				var e *Error
				if assert.ErrorAs(t, err, &e) {
					assert.NotEmpty(t, e.Op)
					assert.NotEmpty(t, e.Hint(), "%v", err)
				}
				assert.ErrorIs(t, err, context.DeadlineExceeded)
			})
			if c.open {
				_, unfinished, err := r.m.store.tasks.Read(documentUUID(map[bool]string{true: "other", false: "vm"}[c.name == "define"]).String())
				require.NoError(t, err)
				assert.True(t, unfinished, "the task stays, since libvirt may still do it")
			}
			answer()
			r.settled()
			assert.Equal(t, before, r.world())
		})
	}
}

// TestLostAnswer: what libvirt does after the connection broke is found and undone
// by Reconcile, though the operation had failed and undone all that it saw.
func TestLostAnswer(t *testing.T) {
	r := newRig(t, "mtty")
	before := r.world()
	var late string
	mend := r.hyper.Fail(vgputest.Fault{Method: "Define", Do: func(_ context.Context, c vgputest.Call) error {
		late = c.XML
		return &domain.Error{Op: "define", Meaning: "the connection broke", Err: domain.ErrUnavailable}
	}})
	_, err := r.through(r.hyper).Provision(t.Context(), request("vm", "mtty-1", 1))
	require.ErrorIs(t, err, domain.ErrUnavailable)
	mend()
	_, err = r.hyper.Define(t.Context(), late) // only now
	require.NoError(t, err)
	r.settled()
	assert.Equal(t, before, r.world(), "no VM without its vGPU")
}

// TestStartedByAnother: a VM that somebody else starts at the same moment runs on.
func TestStartedByAnother(t *testing.T) {
	r := newRig(t, "mtty")
	r.provisionVM("mtty-1", WhileRunning)
	r.hyper.Fail(vgputest.Fault{Method: "Start", Do: func(ctx context.Context, c vgputest.Call) error {
		return r.hyper.Virsh().Start(ctx, c.VM) // virsh start, just before
	}})
	vm, err := r.through(r.hyper).Start(t.Context(), "vm", StartOptions{})
	require.NoError(t, err)
	assert.Equal(t, StateRunning, vm.State)
	assert.Empty(t, r.settled().Actions)
}

// TestDeniedStop: a refusal for want of rights is told at once, as what it is, and
// nothing is left to be finished.
func TestDeniedStop(t *testing.T) {
	r := newRig(t, "mtty")
	r.provisionVM("mtty-1", Reserved)
	_, err := r.m.Start(t.Context(), "vm", StartOptions{})
	require.NoError(t, err)
	before := r.world()
	r.hyper.Fail(vgputest.Fault{Method: "Terminate", Err: &domain.Error{Op: "terminate", Meaning: "access denied by polkit", Err: domain.ErrPermission}})
	_, err = r.through(r.hyper).Stop(t.Context(), "vm", StopOptions{SkipGuest: true, TerminateTimeout: time.Hour})
	require.ErrorIs(t, err, domain.ErrPermission)
	assert.Equal(t, before, r.world())
}

// TestUnreadableDomain: a VM whose document cannot be read is not said to be gone.
func TestUnreadableDomain(t *testing.T) {
	r := newRig(t, "mtty")
	r.provisionVM("mtty-1", Reserved)
	_, err := r.m.Provision(t.Context(), request("other", "mtty-1", 1))
	require.NoError(t, err)
	broken := errors.New("broken")
	r.hyper.Fail(vgputest.Fault{Method: "Definition", VM: "vm", Err: broken})
	m := r.through(r.hyper)
	_, err = m.Status(t.Context(), "vm")
	require.ErrorIs(t, err, broken)
	vms, err := m.List(t.Context())
	require.ErrorIs(t, err, broken)
	assert.ErrorContains(t, err, "vm")
	require.Len(t, vms, 1)
	assert.Equal(t, "other", vms[0].Name)
}

// TestSlowCreate: a vGPU that the kernel makes after the caller's patience has
// ended, and its process too, is found by Reconcile.
func TestSlowCreate(t *testing.T) {
	r := newRig(t, "mtty")
	before := r.world()
	release := make(chan struct{})
	fail := r.sim.Fail(mdevtest.Fault{Op: mdevtest.OpWrite, Path: "create", N: 1, Do: func(a mdevtest.Access) error {
		<-release
		return nil
	}})
	p := r.launch(nil)
	ctx, cancel := context.WithTimeout(p.ctx, 50*time.Millisecond)
	defer cancel()
	err, died := p.run(func(_ context.Context, m *Manager) error {
		_, err := m.Provision(ctx, request("vm", "mtty-1", 1))
		return err
	})
	require.False(t, died)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	p.mu.Lock()
	p.dead = true // no code of it runs on
	p.mu.Unlock()
	close(release)
	fail()
	require.Eventually(t, func() bool {
		inv, err := r.host.Inventory(context.Background())
		return err == nil && len(inv.GPUs[0].Parents[0].Devices) == 1
	}, 10*time.Second, time.Millisecond, "the kernel has made it after all")
	r.settled()
	assert.Equal(t, before, r.world())
}

// TestNVRAMIsKept: a Provision that fails after libvirt has defined the VM undoes
// that too if a firmware's variables of that name are there from before.
func TestNVRAMIsKept(t *testing.T) {
	r := newRig(t, "mtty")
	ctx, virsh := t.Context(), r.hyper.Virsh()
	req := request("vm", "mtty-1", 1)
	req.Domain = strings.Replace(req.Domain, "</type></os>", "</type><loader readonly='yes' type='pflash'>OVMF_CODE.fd</loader></os>", 1)
	_, err := virsh.Define(ctx, req.Domain)
	require.NoError(t, err)
	require.NoError(t, virsh.Start(ctx, "vm"))
	require.NoError(t, virsh.Destroy(ctx, "vm"))
	require.ErrorIs(t, virsh.Undefine(ctx, "vm", domain.UndefineOptions{}), domain.ErrState)
	require.NoError(t, virsh.Undefine(ctx, "vm", domain.UndefineOptions{KeepNVRAM: true}))
	before := r.world()
	broken := errors.New("broken")
	mend := r.hyper.Fail(vgputest.Fault{Method: "Define", After: true, Err: broken})
	_, err = r.through(r.hyper).Provision(ctx, req)
	require.ErrorIs(t, err, broken)
	mend()
	assert.Equal(t, before, r.world())
	_, err = virsh.Define(ctx, req.Domain)
	require.NoError(t, err)
	require.ErrorIs(t, virsh.Undefine(ctx, "vm", domain.UndefineOptions{}), domain.ErrState, "they were removed, and were not ours")
}

// TestWatchEnds: a Watch whose stream of events ends says so.
func TestWatchEnds(t *testing.T) {
	r := newRig(t, "mtty")
	ended := make(chan domain.Event)
	close(ended)
	err := r.through(streamOf{r.hyper, ended}).Watch(t.Context())
	require.ErrorIs(t, err, ErrUnavailable)
}

// streamOf is a hypervisor with this stream of events.
type streamOf struct {
	Hypervisor
	events <-chan domain.Event
}

func (s streamOf) Events(context.Context) (<-chan domain.Event, error) { return s.events, nil }

// TestUnreachableLibvirtEndsNoVM: a guest that cannot be asked because there is no
// connection is not sent SIGTERM instead, however the connection failed.
func TestUnreachableLibvirtEndsNoVM(t *testing.T) {
	for name, beneath := range map[string]error{"refused": nil, "no answer while connecting": context.DeadlineExceeded} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "mtty")
			r.provisionVM("mtty-1", Reserved)
			_, err := r.m.Start(t.Context(), "vm", StartOptions{})
			require.NoError(t, err)
			terminated := false
			r.hyper.Fail(vgputest.Fault{Method: "Shutdown", Err: &domain.Error{Op: "connect to", Object: "qemu:///system", Kind: domain.ErrUnavailable, Err: beneath}})
			r.hyper.Fail(vgputest.Fault{Method: "Terminate", Do: func(context.Context, vgputest.Call) error {
				terminated = true
				return nil
			}})
			_, err = r.through(r.hyper).Stop(t.Context(), "vm", StopOptions{GuestTimeout: time.Minute})
			require.ErrorIs(t, err, ErrUnavailable)
			assert.False(t, terminated)
		})
	}
}

// TestDefiniteAnswerIsNoSilence: what libvirt says just as it is given up on counts.
func TestDefiniteAnswerIsNoSilence(t *testing.T) {
	gone := &domain.Error{Op: "look up", Object: "vm", Kind: domain.ErrNotFound}
	hyper := vgputest.New(mdevtest.New())
	hyper.Fail(vgputest.Fault{Method: "Domains", Do: func(ctx context.Context, _ vgputest.Call) error {
		<-ctx.Done()
		return gone
	}})
	_, err := patientHypervisor{hyper, time.Millisecond}.Domains(t.Context())
	require.ErrorIs(t, err, domain.ErrNotFound)
	require.NotErrorIs(t, err, ErrUnavailable)
}

// TestRecoverWaitsForLibvirt: a start that libvirt still does keeps its devices, also
// if one of them fails to be removed for another reason.
func TestRecoverWaitsForLibvirt(t *testing.T) {
	busy := &mdev.Error{Op: "remove", Object: "b", Kind: mdev.ErrInUse}
	joined := fault.Join((&operation{op: opStart, vm: "vm"}).wrap("remove", "a", errFault), busy)
	assert.True(t, fault.Any(joined, ErrInUse))
	assert.NotErrorIs(t, joined, ErrInUse, "the whole is of the first one's kind")
}
