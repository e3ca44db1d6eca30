//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/domain/virt"
	"github.com/vgpukit/vgpukit/vgpu"
)

// many is how many processes are at work together at most, and company the VMs that they make.
const (
	many    = 16
	company = "vgpukit-test-company-"
)

// small are types of which a board takes that many.
var small = map[string]string{"M60": "GRID M60-0Q", "L40S": "NVIDIA L40S-1Q"}

func init() {
	for i := range many {
		operations[fmt.Sprint("provision company ", i)] = func(ctx context.Context, m *vgpu.Manager, b board) error {
			b.types = []string{small[b.name]}
			_, err := m.Provision(ctx, b.single(fmt.Sprint(company, i), vgpu.Reserved))
			return err
		}
		operations[fmt.Sprint("start company ", i)] = func(ctx context.Context, m *vgpu.Manager, _ board) error {
			_, err := m.Start(ctx, fmt.Sprint(company, i), vgpu.StartOptions{})
			return err
		}
	}
}

// TestCompany: of VMs that as many processes provision at the same moment, and half of which are
// started so, each has its vGPU, and no two have one. There are 4, or 16 with VGPUKIT_KILL=all,
// which takes minutes.
func TestCompany(t *testing.T) {
	many := 4
	if os.Getenv("VGPUKIT_KILL") == "all" {
		many = 16
	}
	for _, name := range []string{"M60", "L40S"} {
		t.Run(name, func(t *testing.T) {
			b := boardNamed(name)
			w := &ward{rig: b.rig(t), board: b, t: t}
			empty := w.state(t)
			at := func(verb string, n int) {
				var all []string
				for i := range n {
					all = append(all, fmt.Sprint(verb, " company ", i))
				}
				for _, said := range w.contest(all...) {
					assert.NoError(t, said)
				}
			}
			at("provision", many)
			at("start", many/2)
			vms, err := w.m.List(t.Context())
			require.NoError(t, err)
			assert.Len(t, vms, many)
			devices, running := map[string]string{}, 0
			for _, vm := range vms {
				require.Len(t, vm.VGPUs, 1)
				g := vm.VGPUs[0]
				assert.True(t, g.Present)
				assert.Empty(t, g.Problem)
				assert.NotContains(t, devices, g.ID)
				devices[g.ID] = vm.Name
				if vm.State == vgpu.StateRunning {
					running++
				}
			}
			assert.Equal(t, many/2, running)
			for _, vm := range vms {
				require.NoError(t, w.m.Teardown(within(t, time.Minute), vm.Name, vgpu.TeardownOptions{Stop: powerOff}))
			}
			require.Equal(t, empty, w.state(t))
		})
	}
}

// attacked is a ward with the VM of ours that others are after.
type attacked struct {
	*ward
	vm vgpu.VM
}

func newAttacked(t *testing.T, b board) attacked {
	t.Helper()
	w := newWard(t, b)
	vm, err := w.m.Provision(within(t, time.Minute), b.single(victim, vgpu.Reserved))
	require.NoError(t, err)
	return attacked{w, vm}
}

// virshDefine defines a document with virsh.
func (a attacked) virshDefine(text string) {
	a.t.Helper()
	path := a.t.TempDir() + "/domain.xml"
	require.NoError(a.t, os.WriteFile(path, []byte(text), 0o600))
	command(a.t, "virsh", "define", path)
}

// undefined takes a domain away at the end that is not ours.
func (a attacked) undefined(name string) {
	a.t.Cleanup(func() {
		conn, err := virt.Open(context.Background(), virt.Config{URI: "qemu:///system"})
		require.NoError(a.t, err)
		defer conn.Close()
		if _, err := conn.Info(context.Background(), name); err == nil {
			require.NoError(a.t, conn.Undefine(context.Background(), name, domain.UndefineOptions{}))
		}
	})
}

// inVain tries all that there is on a domain that is not ours, and sees that nothing changes.
func (a attacked) inVain(name string) {
	a.t.Helper()
	before := a.state(a.t)
	ctx := within(a.t, 2*time.Minute)
	_, start := a.m.Start(ctx, name, vgpu.StartOptions{})
	_, stop := a.m.Stop(ctx, name, powerOff)
	_, update := a.m.Update(ctx, name, vgpu.UpdateOptions{GiveUp: true})
	for what, err := range map[string]error{
		"start": start, "stop": stop, "update": update, "forget": a.m.Forget(ctx, name),
		"teardown": a.m.Teardown(ctx, name, vgpu.TeardownOptions{Stop: powerOff}),
	} {
		require.ErrorIs(a.t, err, vgpu.ErrInvalid, what)
		require.NotEmpty(a.t, vgpu.Hint(err), what)
	}
	for _, opts := range []vgpu.ReconcileOptions{{}, {Restore: true, Now: true}} {
		report, err := a.m.Reconcile(ctx, opts)
		require.NoError(a.t, err)
		require.True(a.t, told(report, vgpu.ReportCopy, name), "%+v", report.Actions)
	}
	require.Equal(a.t, before, a.state(a.t))
}

func told(report vgpu.Report, kind vgpu.ActionKind, vm string) bool {
	for _, action := range report.Actions {
		if action.Kind == kind && action.VM == vm {
			return action.Next != "" && !action.Done
		}
	}
	return false
}

// TestClonedWithVirsh: a clone made with virsh takes nothing of the original, is told, and gets
// vGPUs of its own on request. While it holds the original's vGPU, that one is not stopped for it
// nor torn down under it.
func TestClonedWithVirsh(t *testing.T) {
	onEachBoard(t, "", func(t *testing.T, b board) {
		a := newAttacked(t, b)
		const clone = "vgpukit-test-clone"
		a.undefined(clone)
		text := command(t, "virsh", "dumpxml", victim)
		text = strings.ReplaceAll(text, "<name>"+victim+"</name>", "<name>"+clone+"</name>")
		text = strings.Replace(text, "<uuid>"+a.vm.UUID.String()+"</uuid>", "", 1)
		a.virshDefine(text)
		a.inVain(clone)

		command(t, "virsh", "start", clone) // libvirt knows no better
		err := a.m.Teardown(within(t, time.Minute), victim, vgpu.TeardownOptions{Stop: powerOff})
		require.ErrorIs(t, err, vgpu.ErrInUse)
		require.ErrorContains(t, err, clone)
		report, err := a.m.Reconcile(within(t, time.Minute), vgpu.ReconcileOptions{})
		require.NoError(t, err)
		require.True(t, told(report, vgpu.ReportHeld, victim), "%+v", report.Actions)
		command(t, "virsh", "destroy", clone)

		own, err := a.m.Adopt(within(t, time.Minute), clone, vgpu.AdoptOptions{Fresh: true})
		require.NoError(t, err)
		require.NotEqual(t, a.vm.VGPUs[0].ID, own.VGPUs[0].ID)
		for _, name := range []string{victim, clone} {
			vm, err := a.m.Start(within(t, time.Minute), name, vgpu.StartOptions{})
			require.NoError(t, err)
			require.True(t, vm.VGPUs[0].Present)
		}
		require.NoError(t, a.m.Teardown(within(t, time.Minute), clone, vgpu.TeardownOptions{Stop: powerOff}))
		vm, err := a.m.Status(t.Context(), victim)
		require.NoError(t, err)
		require.Equal(t, vgpu.StateRunning, vm.State)
	})
}

// TestForgedWithVirsh: metadata that names a stranger's vGPU, or another VM's, in whatever
// spelling and with whatever life time, live or saved, grants nothing.
func TestForgedWithVirsh(t *testing.T) {
	onEachBoard(t, "", func(t *testing.T, b board) {
		a := newAttacked(t, b)
		const forger = "vgpukit-test-forger"
		a.undefined(forger)
		a.virshDefine(plain(forger))
		inv, err := a.host.Inventory(t.Context())
		require.NoError(t, err)
		var ids []string
		for _, gpu := range inv.GPUs {
			for _, p := range gpu.Parents {
				for _, d := range p.Devices {
					ids = append(ids, d.ID, strings.ToUpper(d.ID), strings.TrimPrefix(d.ID, "0000:"))
				}
			}
		}
		require.NotEmpty(t, ids)
		for n, id := range append(ids, uuid.NewString(), "nonsense") {
			life := []string{"reserved", "while-running", "for ever"}[n%3]
			element := fmt.Sprintf("<vgpus><vgpu id='%s' type='%s' lifetime='%s'/></vgpus>", id, a.vm.VGPUs[0].Type, life)
			command(t, "virsh", "metadata", forger, domain.MetadataURI, "--key", "vgpukit", "--set", element, "--config")
			command(t, "virsh", "metadata", victim, domain.MetadataURI, "--key", "vgpukit", "--set", element, "--config")
			a.inVain(forger)
		}
		_, err = a.m.Start(within(t, time.Minute), victim, vgpu.StartOptions{})
		require.NoError(t, err)
		command(t, "virsh", "metadata", victim, domain.MetadataURI, "--key", "vgpukit", "--set", fmt.Sprintf("<vgpus><vgpu id='%s'/></vgpus>", ids[0]), "--live")
		vm, err := a.m.Stop(within(t, time.Minute), victim, powerOff)
		require.NoError(t, err)
		require.Equal(t, a.vm.VGPUs[0].ID, vm.VGPUs[0].ID)
		require.True(t, vm.VGPUs[0].Present)
	})
}

// TestEditedWithVirsh: a VM that was redefined without our metadata works on; one that lost its
// hostdev is not started, and Update puts that back; one that was undefined is collected when
// it stays so.
func TestEditedWithVirsh(t *testing.T) {
	onEachBoard(t, "", func(t *testing.T, b board) {
		a := newAttacked(t, b)
		ctx := within(t, 3*time.Minute)
		text := command(t, "virsh", "dumpxml", "--inactive", victim)
		doc, err := domain.Parse([]byte(text))
		require.NoError(t, err)
		bare, err := doc.WithoutMetadata()
		require.NoError(t, err)
		a.virshDefine(bare.String())
		_, err = a.m.Start(ctx, victim, vgpu.StartOptions{})
		require.NoError(t, err)
		vm, err := a.m.Stop(ctx, victim, powerOff)
		require.NoError(t, err)
		require.Len(t, vm.Drift, 1)
		_, err = a.m.Reconcile(ctx, vgpu.ReconcileOptions{Repair: true})
		require.NoError(t, err)

		without, err := doc.Remove(a.vm.VGPUs[0].ID)
		require.NoError(t, err)
		a.virshDefine(without.String())
		_, err = a.m.Start(ctx, victim, vgpu.StartOptions{})
		require.ErrorIs(t, err, vgpu.ErrState)
		vm, err = a.m.Update(ctx, victim, vgpu.UpdateOptions{})
		require.NoError(t, err)
		require.Empty(t, vm.Drift)
		require.Equal(t, a.vm.VGPUs[0].Address, vm.VGPUs[0].Address)
		_, err = a.m.Start(ctx, victim, vgpu.StartOptions{})
		require.NoError(t, err)
		_, err = a.m.Stop(ctx, victim, powerOff)
		require.NoError(t, err)

		command(t, "virsh", "undefine", victim)
		report, err := a.m.Reconcile(ctx, vgpu.ReconcileOptions{})
		require.NoError(t, err)
		require.True(t, told(report, vgpu.ReportGone, victim), "%+v", report.Actions)
		_, err = a.host.Find(ctx, a.vm.VGPUs[0].ID)
		require.NoError(t, err, "a first look is none")
		_, err = a.m.Reconcile(ctx, vgpu.ReconcileOptions{Now: true})
		require.NoError(t, err)
		_, err = a.host.Find(ctx, a.vm.VGPUs[0].ID)
		require.Error(t, err)
	})
}

// TestStateLost: with the state directory lost nothing is touched, running or not, and adopting
// what the documents say brings all of it back.
func TestStateLost(t *testing.T) {
	onEachBoard(t, "", func(t *testing.T, b board) {
		a := newAttacked(t, b)
		ctx := within(t, 3*time.Minute)
		_, err := a.m.Start(ctx, victim, vgpu.StartOptions{})
		require.NoError(t, err)
		before := a.state(t)
		a.dir = t.TempDir()
		a.m = a.manager(t, a.host, a.conn)
		a.inVain(victim)
		adoptions, err := a.m.AdoptAll(ctx, vgpu.AdoptOptions{DryRun: true})
		require.NoError(t, err)
		require.Len(t, adoptions, 1)
		require.False(t, adoptions[0].Done)
		adoptions, err = a.m.AdoptAll(ctx, vgpu.AdoptOptions{})
		require.NoError(t, err)
		require.True(t, adoptions[0].Done)
		require.Equal(t, before, a.state(t))
		vm, err := a.m.Stop(ctx, victim, powerOff)
		require.NoError(t, err)
		require.True(t, vm.VGPUs[0].Present)
		require.NoError(t, a.m.Teardown(ctx, victim, vgpu.TeardownOptions{}))
	})
}
