package vgpu

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/statedir"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// TestUpgradeWithoutLibvirt: while libvirt is away nothing is carried over and nothing lost;
// what is asked about a VM fails with libvirt's error.
func TestUpgradeWithoutLibvirt(t *testing.T) {
	w := whole(t, "l40s", Reserved, true)
	r := w.rig(t)
	before := len(r.formerFiles())
	r.hyper.SetDown(true)
	for _, vm := range []string{"one", w.second(t), documentUUID("one").String()} {
		_, err := r.m.Status(t.Context(), vm)
		require.ErrorIs(t, err, ErrUnavailable)
		_, err = r.m.Stop(t.Context(), vm, quickStop)
		require.ErrorIs(t, err, ErrUnavailable)
	}
	_, err := r.m.Reconcile(t.Context(), ReconcileOptions{Now: true})
	require.ErrorIs(t, err, ErrUnavailable)
	assert.Len(t, r.formerFiles(), before)
	r.hyper.SetDown(false)
	assert.Empty(t, r.settled().Actions)
	r.carriedOver()
	r.nothingLeaked()
	r.worksOn()
}

// TestHeldBackVM: a VM that cannot be carried over keeps no other back; nothing is done
// with it or what it has, and everybody is told why.
func TestHeldBackVM(t *testing.T) {
	w := whole(t, "mtty", Reserved, false)
	r := w.rig(t)
	broken := errors.New("broken")
	mend := r.hyper.Fail(vgputest.Fault{Method: "Definition", VM: "one", Err: broken})
	m := r.m
	_, err := m.Status(t.Context(), "one")
	require.ErrorIs(t, err, broken)
	_, err = m.Start(t.Context(), "one", StartOptions{})
	require.ErrorIs(t, err, broken)
	_, err = m.Provision(t.Context(), request("one", "mtty-1", 1))
	require.ErrorIs(t, err, broken)
	vms, err := m.List(t.Context())
	require.ErrorIs(t, err, broken)
	require.Len(t, vms, 1)
	_, err = m.Start(t.Context(), w.second(t), StartOptions{})
	require.NoError(t, err)
	report, err := m.Reconcile(t.Context(), ReconcileOptions{Now: true})
	require.NoError(t, err)
	require.Len(t, report.Actions, 1)
	assert.Equal(t, ReportUnread, report.Actions[0].Kind)
	assert.Equal(t, "one", report.Actions[0].VM)
	assert.False(t, report.Actions[0].Done)
	mend()
	assert.Empty(t, r.settled().Actions)
	r.carriedOver()
	r.nothingLeaked()
	r.worksOn()
}

// TestUpgradeOfGoneVMs: VMs that were undefined under an earlier version are waited for like
// others, then what they had is collected.
func TestUpgradeOfGoneVMs(t *testing.T) {
	for _, board := range []string{"mtty", "l40s"} {
		w := whole(t, board, Reserved, false)
		r := w.rig(t)
		for vm := range w.copies(t) {
			require.NoError(t, r.hyper.Undefine(t.Context(), vm, domain.UndefineOptions{}))
		}
		for range 2 {
			report, err := r.m.Reconcile(t.Context(), ReconcileOptions{})
			require.NoError(t, err)
			require.Len(t, report.Actions, 2)
			for _, a := range report.Actions {
				assert.Equal(t, ReportGone, a.Kind)
			}
			assert.Len(t, report.Strangers, 1)
		}
		r.carriedOver()
		r.settled()
		r.nothingLeaked()
		devices := 0
		for _, p := range must(r.host.Inventory(t.Context())).GPUs[0].Parents {
			devices += len(p.Devices)
		}
		assert.Equal(t, 1, devices)
	}
}

// TestUpgradeOfRenamedVM: a VM whose UUID an earlier version did not note is found when it has
// another name by now.
func TestUpgradeOfRenamedVM(t *testing.T) {
	for _, board := range []string{"mtty", "l40s"} {
		w := whole(t, board, Reserved, false)
		r := w.rig(t)
		require.NoError(t, r.hyper.Rename(t.Context(), w.second(t), "renamed"))
		require.NoError(t, r.hyper.Rename(t.Context(), "one", "other"))
		for _, vm := range []string{"renamed", "other"} {
			status, err := r.m.Status(t.Context(), vm)
			require.NoError(t, err)
			assert.Empty(t, status.Drift)
			assert.True(t, status.VGPUs[0].Present)
		}
		r.carriedOver()
		assert.Empty(t, r.settled().Actions)
		r.nothingLeaked()
		r.worksOn()
	}
}

// TestUpgradeElsewhere: what an earlier version did through another libvirt is left to that.
func TestUpgradeElsewhere(t *testing.T) {
	w := whole(t, "l40s", Reserved, false)
	r := w.rig(t)
	other := newRig(t, "mtty").hyper
	other.SetURI("qemu:///session")
	m := r.through(other)
	report, err := m.Reconcile(t.Context(), ReconcileOptions{Now: true})
	require.NoError(t, err)
	kinds := map[string]ActionKind{}
	for _, a := range report.Actions {
		kinds[a.VM] = a.Kind
		assert.False(t, a.Done)
	}
	assert.Equal(t, map[string]ActionKind{"one": ReportElsewhere, w.second(t): ReportUnread}, kinds)
	_, err = m.Status(t.Context(), w.second(t))
	require.ErrorIs(t, err, ErrExists)
	_, err = m.Start(t.Context(), "one", StartOptions{})
	require.ErrorIs(t, err, ErrExists)

	assert.Empty(t, r.settled().Actions)
	r.carriedOver()
	r.nothingLeaked()
	r.worksOn()
}

// TestUpgradeOnAnotherMachine: in the state directory of another machine nothing is moved,
// and operations say why, until it is taken over.
func TestUpgradeOnAnotherMachine(t *testing.T) {
	r := whole(t, "mtty", Reserved, false).rig(t)
	before := r.formerFiles()
	r.sim.SetMachine(mdev.Machine{ID: "0123456789abcdef0123456789abcdef", DMI: uuid.NewString()})
	r.m = r.manager(Observer{})
	for _, do := range []func() error{
		func() error { _, err := r.m.Status(t.Context(), "one"); return err },
		func() error { _, err := r.m.List(t.Context()); return err },
		func() error { _, err := r.m.Plan(t.Context(), request("new", "mtty-1", 1)); return err },
		func() error { _, err := r.m.Start(t.Context(), "one", StartOptions{}); return err },
	} {
		err := do()
		require.ErrorIs(t, err, ErrState)
		assert.ErrorContains(t, err, "another machine")
	}
	assert.Equal(t, before, r.formerFiles())
	require.NoError(t, r.m.TakeOver(t.Context()))
	assert.Empty(t, r.settled().Actions)
	r.carriedOver()
	r.nothingLeaked()
}

// TestUpgradeOfOddEntries: damaged entries of an earlier version are kept aside; one of an
// operation that nobody knows stays; names may read as UUIDs; entries of VMs that a grant says
// are carried over go.
func TestUpgradeOfOddEntries(t *testing.T) {
	w := whole(t, "mtty", Reserved, false)
	r := w.rig(t)
	claims := statedir.In(r.m.store.dir, vmsDir, record.name)
	intents := statedir.In(r.m.store.dir, journalDir, record.name)
	odd := record{VM: "odd", Operation: "migrate", Since: time.Now(), Hypervisor: "qemu:///system", Devices: []device{{ID: uuid.NewString(), Type: "mtty-1", Parent: "mtty"}}}
	require.NoError(t, intents.Write(odd))
	named := odd
	named.VM, named.Operation, named.Devices = uuid.NewString(), opProvision, []device{{ID: uuid.NewString(), Type: "mtty-1", Parent: "mtty"}}
	require.NoError(t, claims.Write(named))
	require.NoError(t, os.WriteFile(filepath.Join(r.dir, journalDir, "half.json"), []byte("{"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(r.dir, journalDir, ".half.json.tmp1"), []byte("{"), 0o600))
	_, err := r.m.Status(t.Context(), "odd")
	require.ErrorIs(t, err, ErrInvalid)
	vms, err := r.m.List(t.Context())
	require.ErrorIs(t, err, ErrInvalid)
	var names []string
	for _, vm := range vms {
		names = append(names, vm.Name)
	}
	assert.ElementsMatch(t, []string{"one", w.second(t), named.VM}, names)
	kept, err := os.ReadDir(filepath.Join(r.dir, "damaged"))
	require.NoError(t, err)
	assert.Len(t, kept, 1)
	assert.NoDirExists(t, filepath.Join(r.dir, journalDir))
	report, err := r.m.Reconcile(t.Context(), ReconcileOptions{Now: true})
	require.NoError(t, err)
	assert.True(t, slices.ContainsFunc(report.Actions, func(a Action) bool { return a.Kind == ReportUnread && a.VM == "odd" }))

	again := w.rig(t)
	again.settled()
	one := odd
	one.VM, one.Operation, one.UUID = "one", opProvision, documentUUID("one")
	require.NoError(t, statedir.In(again.m.store.dir, vmsDir, record.name).Write(one))
	again.m = again.manager(Observer{})
	assert.Empty(t, again.settled().Actions)
	again.carriedOver()
	again.nothingLeaked()
}

// TestDocumentOfEarlierVersion: a document that an earlier version wrote, and that comes back
// after the VM's vGPU went elsewhere, is written again when the VM starts.
func TestDocumentOfEarlierVersion(t *testing.T) {
	w := whole(t, "l40s", WhileRunning, false)
	r := w.rig(t)
	old, err := r.xml("one")
	require.NoError(t, err)
	before, err := r.m.Status(t.Context(), "one")
	require.NoError(t, err)
	other := request("other", w.Type, 1)
	other.VGPUs[0].Parent = before.VGPUs[0].Parent
	_, err = r.m.Provision(t.Context(), other)
	require.NoError(t, err)
	moved, err := r.m.Start(t.Context(), "one", StartOptions{})
	require.NoError(t, err)
	require.NotEqual(t, before.VGPUs[0].ID, moved.VGPUs[0].ID)
	_, err = r.m.Stop(t.Context(), "one", quickStop)
	require.NoError(t, err)
	_, err = r.hyper.Define(t.Context(), old)
	require.NoError(t, err)
	vm, err := r.m.Start(t.Context(), "one", StartOptions{})
	require.NoError(t, err)
	assert.Empty(t, vm.Drift)
	assert.Empty(t, r.settled().Actions)
}

// TestLateDefinition: what libvirt defines late for a provision that was interrupted under an
// earlier version is undone with the rest.
func TestLateDefinition(t *testing.T) {
	worlds := map[string]formerWorld{}
	for _, w := range formerWorlds(t, "l40s-interrupted.json") {
		worlds[w.Name] = w
	}
	late := worlds["provision with UUID, killed after 6: define"]
	for name, w := range worlds {
		if !strings.HasPrefix(name, "provision with UUID, killed after 5") {
			continue
		}
		r := w.rig(t)
		_, err := r.m.List(t.Context())
		require.NoError(t, err)
		for _, d := range late.Domains {
			if d.Name == "vm" {
				_, err := r.hyper.Define(t.Context(), d.XML)
				require.NoError(t, err)
			}
		}
		r.settled()
		_, err = r.hyper.Virsh().Info(t.Context(), "vm")
		require.ErrorIs(t, err, domain.ErrNotFound)
		r.nothingLeaked()
		return
	}
	require.Fail(t, "no such world")
}

// TestUpgradeAmongStrangers: what another program made where a VM of an earlier version would
// have its vGPU is not taken for the VM's.
func TestUpgradeAmongStrangers(t *testing.T) {
	for board, change := range map[string]func(*device){
		"l40s": func(*device) {},                      // a virtual function has no UUID that tells
		"mtty": func(d *device) { d.Type = "mtty-2" }, // a UUID with another type
	} {
		w := whole(t, board, WhileRunning, false)
		r := w.rig(t)
		g := w.copies(t)["one"].VGPUs[0]
		d := device{ID: g.ID, Type: g.Type, Parent: g.Parent}
		change(&d)
		id, _ := d.uuid()
		_, err := r.host.Create(t.Context(), mdev.CreateRequest{Type: d.Type, Parent: d.Parent, UUID: id})
		require.NoError(t, err)
		r.m = r.manager(Observer{})
		report, err := r.m.Reconcile(t.Context(), ReconcileOptions{Now: true})
		require.NoError(t, err)
		assert.Len(t, report.Strangers, 2)
		_, err = r.host.Find(t.Context(), d.ID)
		require.NoError(t, err)
		assert.False(t, r.m.store.owners.Has(d.ID))
		require.NoError(t, r.m.Teardown(t.Context(), "one", TeardownOptions{Stop: quickStop}))
		_, err = r.host.Find(t.Context(), d.ID)
		require.NoError(t, err)
	}
}

// must is for calls that cannot fail in a simulated world.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
