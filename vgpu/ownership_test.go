package vgpu

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
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// someBoards are a board of each framework and generation, with a type of which it takes several.
var someBoards = []struct{ board, typ string }{
	{"mtty", "mtty-1"},
	{"tesla-m60", "GRID M60-2Q"},
	{"a40,vfs=6", "NVIDIA A40-4Q"},
	{"l40s,vfs=6", "NVIDIA L40S-4Q"},
}

// onEachBoard runs a test on a host with the VM "vm" on it, and one of a stranger's.
func onEachBoard(t *testing.T, life Lifetime, test func(t *testing.T, r *rig, typ string, vm VM)) {
	for _, b := range someBoards {
		t.Run(b.board, func(t *testing.T) {
			r := newRig(t, b.board)
			stranger(r, b.typ)
			test(t, r, b.typ, r.provisionVM(b.typ, life))
		})
	}
}

// everyTry does whatever may be tried with a VM that is not ours, and returns what each said.
func (r *rig) everyTry(vm string) map[string]error {
	ctx := context.Background()
	_, start := r.m.Start(ctx, vm, StartOptions{})
	_, stop := r.m.Stop(ctx, vm, quickStop)
	_, update := r.m.Update(ctx, vm, UpdateOptions{GiveUp: true})
	tries := map[string]error{
		"start": start, "stop": stop, "update": update,
		"teardown": r.m.Teardown(ctx, vm, TeardownOptions{Stop: quickStop}),
		"forget":   r.m.Forget(ctx, vm),
	}
	for name, opts := range map[string]ReconcileOptions{"reconcile": {}, "restore": {Restore: true}, "all": {Restore: true, Repair: true, Now: true}} {
		_, tries[name] = r.m.Reconcile(ctx, opts)
	}
	return tries
}

// reported is what Reconcile tells of a kind.
func (r *rig) reported(kind ActionKind) (told []Action) {
	r.t.Helper()
	report, err := r.m.Reconcile(context.Background(), ReconcileOptions{})
	require.NoError(r.t, err)
	for _, a := range report.Actions {
		if a.Kind == kind {
			require.NotEmpty(r.t, a.Next, "the way out")
			require.False(r.t, a.Done)
			told = append(told, a)
		}
	}
	return told
}

// TestCloneIsAStranger: a clone takes nothing of the original, whatever is asked for it, is
// told with whose copy it carries, and gets vGPUs of its own if that is asked.
func TestCloneIsAStranger(t *testing.T) {
	for _, life := range []Lifetime{Reserved, WhileRunning} {
		onEachBoard(t, life, func(t *testing.T, r *rig, typ string, vm VM) {
			before := r.picture()
			r.clone("vm", "clone")
			cloned := r.picture()
			for try, err := range r.everyTry("clone") {
				if strings.HasPrefix(try, "re") || try == "all" {
					require.NoError(t, err, try)
				} else {
					require.ErrorIs(t, err, ErrInvalid, try)
					require.ErrorContains(t, err, vm.UUID.String(), try)
					require.Contains(t, Hint(err), "adopt", try)
				}
				require.Equal(t, cloned, r.picture(), try)
			}
			told := r.reported(ReportCopy)
			require.Len(t, told, 1)
			assert.Equal(t, "clone", told[0].VM)
			assert.Contains(t, told[0].Reason, vm.UUID.String())
			status, err := r.m.Status(t.Context(), "clone")
			require.NoError(t, err)
			require.Len(t, status.Drift, 1)

			_, err = r.m.Adopt(t.Context(), "clone", AdoptOptions{})
			require.ErrorIs(t, err, ErrExists)
			require.ErrorContains(t, err, "vm")
			require.Equal(t, cloned, r.picture())
			_, err = r.m.Adopt(t.Context(), "clone", AdoptOptions{Fresh: true, DryRun: true})
			require.NoError(t, err)
			require.Equal(t, cloned, r.picture())
			own, err := r.m.Adopt(t.Context(), "clone", AdoptOptions{Fresh: true})
			require.NoError(t, err)
			assert.Empty(t, own.Drift)
			assert.Equal(t, vm.VGPUs[0].Address, own.VGPUs[0].Address)
			for _, name := range []string{"vm", "clone"} {
				started, err := r.m.Start(t.Context(), name, StartOptions{})
				require.NoError(t, err)
				assert.True(t, started.VGPUs[0].Present)
			}
			assert.Empty(t, r.settled().Actions)
			require.NoError(t, r.m.Teardown(t.Context(), "clone", TeardownOptions{Stop: quickStop}))
			_, err = r.m.Stop(t.Context(), "vm", quickStop)
			require.NoError(t, err)
			require.Equal(t, before, r.picture())
		})
	}
}

// TestMetadataGrantsNothing: whatever a domain's metadata names, in whichever spelling and with
// whichever life time, live or saved, a stranger's vGPU, another VM's or nothing: nothing is made,
// taken or removed for it.
func TestMetadataGrantsNothing(t *testing.T) {
	onEachBoard(t, Reserved, func(t *testing.T, r *rig, typ string, vm VM) {
		inv, err := r.host.Inventory(t.Context())
		require.NoError(t, err)
		var theirs string
		for _, p := range inv.GPUs[0].Parents {
			for _, d := range p.Devices {
				if d.ID != vm.VGPUs[0].ID {
					theirs = d.ID
				}
			}
		}
		require.NotEmpty(t, theirs)
		_, err = r.m.Provision(t.Context(), request("other", typ, 1))
		require.NoError(t, err)
		for name, id := range map[string]string{
			"a stranger's": theirs, "another VM's": vm.VGPUs[0].ID, "nothing": uuid.NewString(),
			"in capitals": strings.ToUpper(theirs), "with blanks": " " + theirs + " ", "short": strings.TrimPrefix(theirs, "0000:"),
			"no id": "x", "without dashes": strings.ReplaceAll(theirs, "-", ""),
		} {
			for _, life := range []Lifetime{Reserved, WhileRunning, "for ever", ""} {
				element := fmt.Sprintf("<v:vgpus xmlns:v='%s' vm='%s'><v:vgpu id='%s' type='%s' parent='%s' lifetime='%s'><v:param name='../remove' value='1'/></v:vgpu></v:vgpus>",
					domain.MetadataURI, documentUUID("theirs"), id, vm.VGPUs[0].Type, vm.VGPUs[0].Parent, life)
				what := fmt.Sprint(name, " ", life)
				require.NoError(t, r.hyper.SetMetadata(t.Context(), "theirs", element, domain.ScopeSaved))
				require.NoError(t, r.hyper.SetMetadata(t.Context(), "other", strings.Replace(element, documentUUID("theirs").String(), documentUUID("other").String(), 1), domain.ScopeSaved))
				forged := r.picture()
				for try, err := range r.everyTry("theirs") {
					if strings.HasPrefix(try, "re") || try == "all" {
						require.NoError(t, err, "%s: %s", what, try)
					} else {
						require.ErrorIs(t, err, ErrInvalid, "%s: %s", what, try)
					}
				}
				require.NotEqual(t, forged, r.picture(), "Repair has written the copy of the one that was granted its vGPU")
				_, err := r.m.Start(t.Context(), "other", StartOptions{})
				require.NoError(t, err, what)
				require.NoError(t, r.hyper.SetMetadata(t.Context(), "other", element, domain.ScopeLive|domain.ScopeSaved))
				_, err = r.m.Reconcile(t.Context(), ReconcileOptions{Restore: true, Now: true})
				require.NoError(t, err, what)
				other, err := r.m.Stop(t.Context(), "other", quickStop)
				require.NoError(t, err, what)
				require.True(t, other.VGPUs[0].Present, what)
				require.NotEmpty(t, other.Drift, what)
				_, err = r.host.Find(t.Context(), theirs)
				require.NoError(t, err, what)
				now, err := r.m.Status(t.Context(), "vm")
				require.NoError(t, err)
				require.Equal(t, vm.VGPUs, now.VGPUs, what)
			}
		}
		require.NoError(t, r.m.Teardown(t.Context(), "other", TeardownOptions{}))
		_, err = r.host.Find(t.Context(), theirs)
		require.NoError(t, err)
	})
}

// TestForgedCopyStartsNothing: a VM whose document names another VM's vGPU, beside its own, is not
// started, whatever its metadata says.
func TestForgedCopyStartsNothing(t *testing.T) {
	onEachBoard(t, Reserved, func(t *testing.T, r *rig, typ string, vm VM) {
		_, err := r.m.Provision(t.Context(), request("other", typ, 1))
		require.NoError(t, err)
		text, err := r.hyper.XML(t.Context(), "vm")
		require.NoError(t, err)
		theirs := hostdevsIn(text)[0]
		theirs.Address = nil
		text, err = r.hyper.XML(t.Context(), "other")
		require.NoError(t, err)
		doc, err := domain.Parse([]byte(text))
		require.NoError(t, err)
		doc, err = doc.Add(theirs)
		require.NoError(t, err)
		_, err = r.hyper.Define(t.Context(), doc.String())
		require.NoError(t, err)
		for _, of := range []string{"", " vm='" + documentUUID("other").String() + "'", " vm='" + documentUUID("vm").String() + "'"} {
			forged := fmt.Sprintf("<v:vgpus xmlns:v='%s'%s><v:vgpu id='%s' type='%s'/></v:vgpus>", domain.MetadataURI, of, vm.VGPUs[0].ID, vm.VGPUs[0].Type)
			require.NoError(t, r.hyper.SetMetadata(t.Context(), "other", forged, domain.ScopeSaved))
			before := r.picture()
			_, err = r.m.Start(t.Context(), "other", StartOptions{})
			require.ErrorIs(t, err, ErrExists, of)
			require.Equal(t, before, r.picture())
		}
	})
}

// TestRedefinedWithoutMetadata: everything works from the grant, and Repair writes the copy
// again.
func TestRedefinedWithoutMetadata(t *testing.T) {
	for _, life := range []Lifetime{Reserved, WhileRunning} {
		onEachBoard(t, life, func(t *testing.T, r *rig, typ string, vm VM) {
			require.NoError(t, r.hyper.SetMetadata(t.Context(), "vm", "", domain.ScopeSaved))
			drift := r.reported(ReportDrift)
			require.Len(t, drift, 1)
			_, err := r.m.Start(t.Context(), "vm", StartOptions{})
			require.NoError(t, err)
			_, err = r.m.Stop(t.Context(), "vm", quickStop)
			require.NoError(t, err)
			report, err := r.m.Reconcile(t.Context(), ReconcileOptions{Repair: true})
			require.NoError(t, err)
			require.Len(t, report.Actions, 1)
			assert.Equal(t, ActionRepair, report.Actions[0].Kind)
			assert.True(t, report.Actions[0].Done)
			mended, err := r.m.Status(t.Context(), "vm")
			require.NoError(t, err)
			assert.Empty(t, mended.Drift)
			require.NoError(t, r.hyper.SetMetadata(t.Context(), "vm", "", domain.ScopeSaved))
			require.NoError(t, r.m.Teardown(t.Context(), "vm", TeardownOptions{}))
			assert.Empty(t, r.settled().Actions)
		})
	}
}

// TestHostdevRemovedByHand: a VM that would start without its vGPU is not started; Update puts
// the hostdev back where it was, or ends the grant of that vGPU.
func TestHostdevRemovedByHand(t *testing.T) {
	for _, b := range someBoards {
		t.Run(b.board, func(t *testing.T) {
			r := newRig(t, b.board)
			typ := b.typ
			if typ == "GRID M60-2Q" {
				typ = "GRID M60-8Q" // before Ampere several must be whole GPUs
			}
			req := request("vm", typ, 2)
			req.VGPUs[1].Address = "0000:00:0a.0"
			_, err := r.m.Provision(t.Context(), req)
			require.NoError(t, err)
			before := r.picture()
			r.removeHostdev("vm", 1)
			require.Len(t, r.reported(ReportDrift), 1)
			_, err = r.m.Start(t.Context(), "vm", StartOptions{})
			require.ErrorIs(t, err, ErrState)
			require.Contains(t, Hint(err), "give-up")
			vm, err := r.m.Update(t.Context(), "vm", UpdateOptions{})
			require.NoError(t, err)
			require.Equal(t, "0000:00:0a.0", vm.VGPUs[1].Address)
			require.Empty(t, vm.Drift)
			require.Equal(t, before, r.picture())

			r.removeHostdev("vm", 0)
			vm, err = r.m.Update(t.Context(), "vm", UpdateOptions{GiveUp: true})
			require.NoError(t, err)
			require.Len(t, vm.VGPUs, 1)
			require.Empty(t, vm.Drift)
			_, err = r.m.Start(t.Context(), "vm", StartOptions{})
			require.NoError(t, err)
			_, err = r.m.Update(t.Context(), "vm", UpdateOptions{})
			require.ErrorIs(t, err, ErrState, "while it runs")
			require.NoError(t, r.m.Teardown(t.Context(), "vm", TeardownOptions{Stop: quickStop}))
			assert.Empty(t, r.settled().Actions)
		})
	}
}

// TestGoneForGood: what was granted to a VM that somebody undefined is collected when a second
// look after the grace finds the same; a VM that is defined again before that goes on.
func TestGoneForGood(t *testing.T) {
	onEachBoard(t, Reserved, func(t *testing.T, r *rig, typ string, vm VM) {
		before := r.picture()
		text, err := r.xml("vm")
		require.NoError(t, err)
		undefine := func() {
			require.NoError(t, r.hyper.Undefine(t.Context(), "vm", domain.UndefineOptions{}))
		}
		undefine()
		require.Len(t, r.reported(ReportGone), 1)
		require.Len(t, r.reported(ReportGone), 1, "a second look at once is none")
		_, err = r.hyper.Define(t.Context(), text)
		require.NoError(t, err)
		assert.Empty(t, r.settled().Actions)
		require.Equal(t, before, r.picture())

		undefine()
		require.Len(t, r.reported(ReportGone), 1)
		require.NoError(t, r.m.store.looks.Replace(look{VM: vm.UUID, Since: time.Now().Add(-Grace)}))
		report, err := r.m.Reconcile(t.Context(), ReconcileOptions{})
		require.NoError(t, err)
		require.Len(t, report.Actions, 2)
		assert.Equal(t, []ActionKind{ActionOrphan, ActionForget}, []ActionKind{report.Actions[0].Kind, report.Actions[1].Kind})
		assert.True(t, report.Actions[0].Done && report.Actions[1].Done)
		_, err = r.host.Find(t.Context(), vm.VGPUs[0].ID)
		require.ErrorIs(t, err, mdev.ErrNotFound)
		log, err := os.ReadFile(r.dir + "/record.log")
		require.NoError(t, err)
		assert.Contains(t, string(log), `"what":"collected"`)
		assert.Contains(t, string(log), vm.UUID.String())
	})
}

// TestNamedElsewhereIsKept: what another domain's document names, or may name since it cannot be
// read, is not collected; what that cannot name is.
func TestNamedElsewhereIsKept(t *testing.T) {
	onEachBoard(t, Reserved, func(t *testing.T, r *rig, typ string, vm VM) {
		r.clone("vm", "clone")
		require.NoError(t, r.hyper.Undefine(t.Context(), "vm", domain.UndefineOptions{}))
		report, err := r.m.Reconcile(t.Context(), ReconcileOptions{Now: true})
		require.NoError(t, err)
		require.Len(t, report.Actions, 2, "the copy, and what is gone: %+v", report.Actions)
		_, err = r.host.Find(t.Context(), vm.VGPUs[0].ID)
		require.NoError(t, err)
		adopted, err := r.m.Status(t.Context(), "clone")
		require.NoError(t, err)
		assert.NotEmpty(t, adopted.Drift)
		require.NoError(t, r.hyper.Undefine(t.Context(), "clone", domain.UndefineOptions{}))

		r.hyper.Fail(vgputest.Fault{Method: "Definition", VM: documentUUID("theirs").String(), Err: errFault})
		report, err = r.m.Reconcile(t.Context(), ReconcileOptions{Now: true})
		require.Error(t, err)
		_, err = r.host.Find(t.Context(), vm.VGPUs[0].ID)
		require.NoError(t, err, "%+v", report.Actions)
	})
}

// TestRestartedSince: an interrupted Stop or Teardown is not finished on a VM that somebody
// started since.
func TestRestartedSince(t *testing.T) {
	for name, do := range map[string]func(context.Context, *Manager, string) error{"stop": stop, "teardown": teardown} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "mtty")
			started(1, Reserved)(r, "mtty-1")
			p := r.launch(func(a access) fate { return when(strings.HasPrefix(a.what, "shutdown "), dieBefore) })
			_, died := p.run(func(ctx context.Context, m *Manager) error { return do(ctx, m, "") })
			require.True(t, died)
			require.NoError(t, r.hyper.Destroy(t.Context(), "vm"))
			require.NoError(t, r.hyper.Start(t.Context(), "vm"))
			r.settled()
			vm, err := r.m.Status(t.Context(), "vm")
			require.NoError(t, err)
			assert.Equal(t, StateRunning, vm.State)
			assert.Empty(t, vm.Unfinished)
		})
	}
}

// TestRevertedSnapshot: a document that a snapshot brought back is written again as it was
// granted when the VM starts.
func TestRevertedSnapshot(t *testing.T) {
	r := newRig(t, "l40s,vfs=3")
	vm := r.provisionVM("NVIDIA L40S-4Q", WhileRunning)
	old, err := r.xml("vm")
	require.NoError(t, err)
	theirs, err := r.host.Create(t.Context(), mdev.CreateRequest{Type: "NVIDIA L40S-4Q", Parent: vm.VGPUs[0].ID})
	require.NoError(t, err)
	moved, err := r.m.Start(t.Context(), "vm", StartOptions{})
	require.NoError(t, err)
	require.NotEqual(t, vm.VGPUs[0].ID, moved.VGPUs[0].ID)
	_, err = r.m.Stop(t.Context(), "vm", quickStop)
	require.NoError(t, err)
	_, err = r.hyper.Define(t.Context(), old)
	require.NoError(t, err)
	again, err := r.m.Start(t.Context(), "vm", StartOptions{})
	require.NoError(t, err)
	assert.NotEqual(t, theirs.ID, again.VGPUs[0].ID)
	assert.Equal(t, vm.VGPUs[0].Address, again.VGPUs[0].Address)
	assert.Empty(t, again.Drift)
}

// TestTwoLibvirts: VMs of one name at two libvirts of a host have nothing to do with each other;
// one UUID is one VM, which is the first one's.
func TestTwoLibvirts(t *testing.T) {
	r := newRig(t, "mtty")
	r.provisionVM("mtty-1", Reserved)
	second := vgputest.New(r.sim)
	second.SetURI("qemu:///session")
	m := r.through(second)
	req := request("vm", "mtty-1", 1)
	_, err := m.Provision(t.Context(), req)
	require.ErrorIs(t, err, ErrExists, "the UUID is the first one's")
	req.Domain = withoutUUID(req.Domain)
	other, err := m.Provision(t.Context(), req)
	require.NoError(t, err)
	for _, from := range []*Manager{r.m, m} {
		_, err := from.Start(t.Context(), "vm", StartOptions{})
		require.NoError(t, err)
		report, err := from.Reconcile(t.Context(), ReconcileOptions{Restore: true, Repair: true, Now: true})
		require.NoError(t, err)
		require.Len(t, report.Actions, 1)
		assert.Equal(t, ReportElsewhere, report.Actions[0].Kind)
		assert.Empty(t, report.Strangers)
	}
	require.NoError(t, m.Teardown(t.Context(), "vm", TeardownOptions{Stop: quickStop}))
	vm, err := r.m.Status(t.Context(), "vm")
	require.NoError(t, err)
	assert.NotEqual(t, other.UUID, vm.UUID)
	assert.Equal(t, StateRunning, vm.State)
}

// TestDeviceOfAnother: a UUID that was granted to another VM, that exists, or that a document
// names, is refused to a new one, while its VM is off too.
func TestDeviceOfAnother(t *testing.T) {
	for _, life := range []Lifetime{Reserved, WhileRunning} {
		r := newRig(t, "mtty")
		vm := r.provisionVM("mtty-1", life)
		before := r.picture()
		req := request("new", "mtty-1", 1)
		req.VGPUs[0].UUID = uuid.MustParse(vm.VGPUs[0].ID)
		for _, asked := range []Lifetime{Reserved, WhileRunning} {
			req.Lifetime = asked
			_, err := r.m.Provision(t.Context(), req)
			require.ErrorIs(t, err, ErrExists)
			_, err = r.m.Plan(t.Context(), req)
			require.ErrorIs(t, err, ErrExists)
		}
		require.Equal(t, before, r.picture())
		named := uuid.New()
		text := strings.Replace(document("theirs"), "</devices>", "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='"+strings.ToUpper(named.String())+"'/></source></hostdev></devices>", 1)
		_, err := r.hyper.Define(t.Context(), text)
		require.NoError(t, err)
		req.VGPUs[0].UUID = named
		_, err = r.m.Provision(t.Context(), req)
		require.ErrorIs(t, err, ErrExists)
		require.ErrorContains(t, err, "theirs")
	}
}

// TestDocumentOfAnother: a document is refused that itself names another VM's vGPU, or the whole
// GPU that vGPUs are on.
func TestDocumentOfAnother(t *testing.T) {
	onEachBoard(t, Reserved, func(t *testing.T, r *rig, typ string, vm VM) {
		g := vm.VGPUs[0]
		device := "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='" + g.ID + "'/></source></hostdev>"
		pci := func(address string) string {
			a, err := domain.ParseAddress(address)
			require.NoError(t, err)
			return fmt.Sprintf("<hostdev mode='subsystem' type='pci' managed='no'><source><address domain='%d' bus='%d' slot='%d' function='%d'/></source></hostdev>", a.Domain, a.Bus, a.Slot, a.Function)
		}
		if strings.Contains(g.ID, ":") {
			device = pci(g.ID)
		}
		devices := []string{device}
		if strings.Contains(g.GPU, ":") {
			devices = append(devices, pci(g.GPU))
		}
		before := r.picture()
		for _, device := range devices {
			req := request("new", typ, 1)
			req.Domain = strings.Replace(req.Domain, "</devices>", device+"</devices>", 1)
			_, err := r.m.Provision(t.Context(), req)
			require.Error(t, err, device)
			require.Contains(t, []error{ErrExists, ErrInUse}, KindOf(err))
			require.Equal(t, before, r.picture())
		}
		_, err := r.m.Provision(t.Context(), request("new", typ, 1))
		require.NoError(t, err)
		text, err := r.xml("new")
		require.NoError(t, err)
		_, err = r.hyper.Define(t.Context(), strings.Replace(text, "</devices>", device+"</devices>", 1))
		require.NoError(t, err)
		_, err = r.m.Start(t.Context(), "new", StartOptions{})
		require.ErrorIs(t, err, ErrExists, "added by hand")
	})
}

// TestAnotherMachinesState: a state directory that was copied from another machine is for reading
// only until it is taken over, and nothing in it is lost.
func TestAnotherMachinesState(t *testing.T) {
	r := newRig(t, "mtty")
	r.provisionVM("mtty-1", Reserved)
	before := r.world()
	there := newRig(t, "mtty")
	there.dir = r.dir
	there.m = there.manager(Observer{})
	_, err := there.m.Provision(t.Context(), request("new", "mtty-1", 1))
	require.ErrorIs(t, err, ErrState)
	require.Contains(t, Hint(err), "take the state directory over")
	report, err := there.m.Reconcile(t.Context(), ReconcileOptions{Now: true})
	require.Error(t, err, "%+v", report)
	require.Equal(t, before, r.world())
	_, err = r.m.Start(t.Context(), "vm", StartOptions{})
	require.NoError(t, err, "where it is from all goes on")

	require.NoError(t, there.m.TakeOver(t.Context()))
	_, err = there.m.Provision(t.Context(), request("new", "mtty-1", 1))
	require.NoError(t, err)
	_, err = r.m.Stop(t.Context(), "vm", quickStop)
	require.ErrorIs(t, err, ErrState, "now it is the other's")
}

// TestRestoredFromABackup: a grant that is older than the last one of this boot is not acted
// upon until the directory is taken over.
func TestRestoredFromABackup(t *testing.T) {
	r := newRig(t, "mtty")
	_, err := r.m.Provision(t.Context(), request("vm", "mtty-1", 2))
	require.NoError(t, err)
	path := r.m.store.grants.Path(documentUUID("vm").String())
	backup, err := os.ReadFile(path)
	require.NoError(t, err)
	r.removeHostdev("vm", 1)
	_, err = r.m.Update(t.Context(), "vm", UpdateOptions{GiveUp: true})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, backup, 0o600))
	before := r.picture()
	for _, do := range []func() error{
		func() error { _, err := r.m.Start(t.Context(), "vm", StartOptions{}); return err },
		func() error { return r.m.Teardown(t.Context(), "vm", TeardownOptions{}) },
	} {
		err := do()
		require.ErrorIs(t, err, ErrState)
		require.Contains(t, Hint(err), "take the state directory over")
	}
	require.Equal(t, before, r.picture())
	require.NoError(t, r.m.TakeOver(t.Context()))
	require.NoError(t, r.m.Teardown(t.Context(), "vm", TeardownOptions{}))
}

// TestNameThatReadsAsAUUID: such a name is refused, since it would name another VM.
func TestNameThatReadsAsAUUID(t *testing.T) {
	r := newRig(t, "mtty")
	for _, name := range []string{uuid.NewString(), strings.ReplaceAll(uuid.NewString(), "-", ""), strings.ToUpper(uuid.NewString())} {
		_, err := r.m.Provision(t.Context(), request(name, "mtty-1", 1))
		require.ErrorIs(t, err, ErrInvalid)
	}
	r.provisionVM("mtty-1", Reserved)
	req := request("twin", "mtty-1", 1)
	req.Domain = strings.Replace(req.Domain, documentUUID("twin").String(), documentUUID("vm").String(), 1)
	_, err := r.m.Provision(t.Context(), req)
	require.ErrorIs(t, err, ErrExists)
	require.ErrorContains(t, err, "vm")
}

// TestRenamed: a VM is its UUID, under whichever name.
func TestRenamed(t *testing.T) {
	onEachBoard(t, Reserved, func(t *testing.T, r *rig, typ string, vm VM) {
		require.NoError(t, r.hyper.Rename(t.Context(), "vm", "renamed"))
		assert.Empty(t, r.settled().Actions)
		_, err := r.m.Start(t.Context(), "vm", StartOptions{})
		require.ErrorIs(t, err, ErrNotFound)
		require.ErrorContains(t, err, "renamed")
		for _, name := range []string{"renamed", vm.UUID.String()} {
			_, err = r.m.Start(t.Context(), name, StartOptions{})
			require.NoError(t, err)
		}
		require.NoError(t, r.m.Teardown(t.Context(), "renamed", TeardownOptions{Stop: quickStop}))
		_, err = r.host.Find(t.Context(), vm.VGPUs[0].ID)
		require.ErrorIs(t, err, mdev.ErrNotFound)
	})
}

// TestRenumberedBuses: a vGPU that is pinned to a GPU is not made on another board that has its
// address by now.
func TestRenumberedBuses(t *testing.T) {
	r := newRig(t, "tesla-m60@0000:05:00.0")
	req := request("vm", "GRID M60-2Q", 1)
	req.VGPUs[0].Parent = "0000:05:00.0"
	req.Lifetime = WhileRunning
	_, err := r.m.Provision(t.Context(), req)
	require.NoError(t, err)
	g, _, err := r.m.store.grants.Read(documentUUID("vm").String())
	require.NoError(t, err)
	require.Equal(t, "10de:13f2", g.VGPUs[0].PinPCI)
	g.VGPUs[0].PinPCI = "10de:1bb3"
	require.NoError(t, r.m.store.grants.Write(g))
	_, err = r.m.Start(t.Context(), "vm", StartOptions{})
	require.ErrorIs(t, err, ErrState)
	require.ErrorContains(t, err, "renumbered")
}
