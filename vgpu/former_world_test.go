package vgpu

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/statedir"
	"github.com/vgpukit/vgpukit/mdev"
)

// formerWorld is what an earlier version left, see testdata/former.
type formerWorld struct {
	Name, Board, Type, Boot string
	Devices                 []struct{ ID, Type, Parent string }
	Domains                 []struct {
		Name    string
		UUID    uuid.UUID
		Running bool
		XML     string
	}
	State map[string]string
}

// formerWorlds reads those of the files that a pattern names.
func formerWorlds(t *testing.T, pattern string) (worlds []formerWorld) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", formerDir, pattern))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		var some []formerWorld
		require.NoError(t, json.Unmarshal(data, &some))
		worlds = append(worlds, some...)
	}
	return worlds
}

// rig is the world on a new host.
func (w formerWorld) rig(t *testing.T) *rig {
	t.Helper()
	ctx := context.Background()
	r := newRig(t, w.Board)
	for _, d := range w.Devices {
		id, _ := uuid.Parse(d.ID)
		_, err := r.host.Create(ctx, mdev.CreateRequest{Type: d.Type, Parent: d.Parent, UUID: id})
		require.NoError(t, err)
	}
	for _, d := range w.Domains {
		doc, err := domain.Parse([]byte(d.XML))
		require.NoError(t, err)
		doc, err = doc.WithUUID(d.UUID)
		require.NoError(t, err)
		_, err = r.hyper.Define(ctx, doc.String())
		require.NoError(t, err)
		if d.Running {
			require.NoError(t, r.hyper.Start(ctx, d.Name))
		}
	}
	for _, place := range []string{journalDir, leasesDir} {
		require.NoError(t, os.MkdirAll(filepath.Join(r.dir, place), 0o700))
	}
	for path, text := range w.State {
		require.NoError(t, os.WriteFile(filepath.Join(r.dir, path), []byte(text), 0o600))
	}
	entries := statedir.In(r.m.store.dir, leasesDir, lease.name)
	leases, unread, err := entries.All()
	require.NoError(t, err)
	require.Empty(t, unread)
	for _, l := range leases {
		if l.Boot == w.Boot {
			l.Boot = r.m.boot()
			require.NoError(t, entries.Write(l))
		}
	}
	r.m = r.manager(Observer{})
	return r
}

// copies are what the world's documents say of vGPUs, by VM.
func (w formerWorld) copies(t *testing.T) map[string]domain.Metadata {
	t.Helper()
	copies := map[string]domain.Metadata{}
	for _, d := range w.Domains {
		doc, err := domain.Parse([]byte(d.XML))
		require.NoError(t, err)
		if meta, ok, err := doc.Metadata(); ok {
			require.NoError(t, err)
			copies[d.Name] = meta
		}
	}
	return copies
}

func (w formerWorld) running(vm string) bool {
	for _, d := range w.Domains {
		if d.Name == vm {
			return d.Running
		}
	}
	return false
}

// carriedOver checks that nothing of an earlier version is left.
func (r *rig) carriedOver() {
	r.t.Helper()
	for _, place := range []string{journalDir, leasesDir, formerDir} {
		assert.NoDirExists(r.t, filepath.Join(r.dir, place))
	}
	files, err := os.ReadDir(filepath.Join(r.dir, "damaged"))
	require.NoError(r.t, err)
	assert.Empty(r.t, files)
}

// settledButRestore is settled, with vGPUs that are missing since the host was rebooted.
func (r *rig) settledButRestore() {
	r.t.Helper()
	for round := range 2 {
		report, err := r.m.Reconcile(context.Background(), ReconcileOptions{Now: true})
		require.NoError(r.t, err)
		for _, a := range report.Actions {
			require.True(r.t, round == 0 || a.Kind == ActionRestore, "%+v", a)
		}
	}
}

// nothingLeaked checks that each vGPU is the stranger's, who has one, or a VM's by grant and
// owner file, and that documents and grants agree.
func (r *rig) nothingLeaked() {
	r.t.Helper()
	s, err := r.m.survey(context.Background())
	require.NoError(r.t, err)
	assert.Len(r.t, s.strangers(r.m.boot()), 1)
	for _, v := range s.views {
		assert.NotNil(r.t, v.grant, v.name)
		assert.True(r.t, v.defined, v.name)
		assert.Nil(r.t, v.task, v.name)
		assert.Empty(r.t, v.drift(), v.name)
		assert.Empty(r.t, v.unowned, v.name)
		for id := range v.foreign {
			d, _ := v.device(id)
			assert.True(r.t, v.movesOn(d), "%s: %s", v.name, v.foreign[id])
		}
	}
	for _, w := range s.owners {
		assert.True(r.t, s.views[w.VM] != nil && s.views[w.VM].grants(w.Device), w)
	}
	theirs, err := r.xml("theirs")
	require.NoError(r.t, err)
	assert.NotContains(r.t, theirs, "hostdev")
}

// worksOn checks that the VMs can be started, stopped and torn down.
func (r *rig) worksOn() {
	r.t.Helper()
	ctx := context.Background()
	vms, err := r.m.List(ctx)
	require.NoError(r.t, err)
	for _, vm := range vms {
		up, err := r.m.Start(ctx, vm.Name, StartOptions{})
		if assert.NoError(r.t, err) {
			assert.Equal(r.t, StateRunning, up.State)
			assert.Empty(r.t, up.Drift)
			for _, g := range up.VGPUs {
				assert.True(r.t, g.Present)
			}
		}
		_, err = r.m.Stop(ctx, vm.Name, quickStop)
		assert.NoError(r.t, err)
	}
	for _, vm := range vms {
		assert.NoError(r.t, r.m.Teardown(ctx, vm.Name, TeardownOptions{Stop: quickStop}))
	}
	assert.Empty(r.t, r.settled().Actions)
	infos, err := r.hyper.Domains(ctx)
	require.NoError(r.t, err)
	assert.Len(r.t, infos, 1)
	r.nothingLeaked()
}

// formerFiles are the files of an earlier version, moved or not.
func (r *rig) formerFiles() (files []string) {
	r.t.Helper()
	for _, pattern := range []string{"*.json", formerDir + "/*/*.json", journalDir + "/*.json", leasesDir + "/*.json", vmsDir + "/*.json"} {
		found, err := filepath.Glob(filepath.Join(r.dir, pattern))
		require.NoError(r.t, err)
		files = append(files, found...)
	}
	return files
}

// whole is the world of a board whose VMs "one" and "two" are as said.
func whole(t *testing.T, board string, life Lifetime, running bool) formerWorld {
	t.Helper()
	for _, w := range formerWorlds(t, board+".json") {
		if w.running("one") == running && w.copies(t)["one"].VGPUs[0].Lifetime == string(life) {
			return w
		}
	}
	require.Fail(t, "no such world")
	return formerWorld{}
}

// second is the name of the world's VM whose document had no UUID.
func (w formerWorld) second(t *testing.T) string {
	t.Helper()
	for name := range w.copies(t) {
		if name != "one" {
			return name
		}
	}
	return ""
}
