package vgpu

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRestoredGrantIsLeftAlone: Reconcile too does nothing for a grant that a backup brought
// back, tells it with the way out, and goes on when that was taken.
func TestRestoredGrantIsLeftAlone(t *testing.T) {
	m, s := small(t, "l40s,vfs=2")
	m.try(s, provisionVerb(document("v"), "NVIDIA L40S-24Q", 2, Reserved), nil)
	path := s.m.store.grants.Path(documentUUID("v").String())
	old, err := os.ReadFile(path)
	require.NoError(t, err)
	m.dropHostdev(s, "v")
	m.try(s, updateVerb("v", UpdateOptions{GiveUp: true}), nil)
	m.tamper(s, "put the old grant back", func(string) error { return os.WriteFile(path, old, 0o600) })
	m.undefine(s, "v")
	report, err := m.reconcile(s, ReconcileOptions{Now: true}, nil)
	require.NoError(t, err)
	require.Len(t, report.Actions, 1)
	require.Equal(t, ReportOutdated, report.Actions[0].Kind)
	require.Contains(t, report.Actions[0].Next, "take the state directory over")
	m.takeOver(s, nil)
	_, err = m.reconcile(s, ReconcileOptions{Now: true}, nil)
	require.NoError(t, err)
	require.Empty(t, s.shelf.held)
}

// TestEndedGrantIsNotBroughtBack: a backup from before a VM's teardown gives it nothing that
// another VM has by now.
func TestEndedGrantIsNotBroughtBack(t *testing.T) {
	m, s := small(t, "l40s,vfs=2")
	m.try(s, provisionVerb(document("v"), "NVIDIA L40S-24Q", 1, Reserved), nil)
	old := stateDir(t)
	require.NoError(t, copyState(s.dir, old))
	m.try(s, teardownVerb("v", quickStop), nil)
	m.try(s, provisionVerb(document("w"), "NVIDIA L40S-24Q", 1, Reserved), nil)
	m.tamper(s, "put the old state directory back", func(dir string) error { return copyState(old, dir) })
	_, _, err := m.call(s, teardownVerb("v", quickStop), nil)
	require.ErrorIs(t, err, ErrState)
	_, err = m.reconcile(s, ReconcileOptions{Now: true}, nil)
	require.NoError(t, err)
	m.takeOver(s, nil)
	m.try(s, adoptVerb("w", AdoptOptions{}), nil)
	m.settle()
}

// TestUndoneProvisionIsNotBroughtBack: a backup from the middle of a provision that was undone
// since does not make Reconcile remove what another VM has by now; nor does it after the state
// directory was taken over in between.
func TestUndoneProvisionIsNotBroughtBack(t *testing.T) {
	for _, granted := range []bool{false, true} {
		m, s := small(t, "l40s,vfs=1")
		old := stateDir(t)
		m.try(s, provisionVerb(document("v"), "NVIDIA L40S-24Q", 1, Reserved), func(a access) fate {
			if a.what == "define" || !granted && a.change > 0 && strings.HasSuffix(a.what, ".json") && strings.Contains(a.what, vmsDir) {
				require.NoError(t, copyState(s.dir, old))
				return dieBefore
			}
			return live
		})
		_, err := m.reconcile(s, ReconcileOptions{}, nil)
		require.NoError(t, err)
		m.takeOver(s, nil)
		m.try(s, provisionVerb(document("w"), "NVIDIA L40S-24Q", 1, Reserved), nil)
		m.tamper(s, "put the old state directory back", func(dir string) error { return copyState(old, dir) })
		_, err = m.reconcile(s, ReconcileOptions{Now: true}, nil)
		require.NoError(t, err)
		m.takeOver(s, nil)
		_, err = m.reconcile(s, ReconcileOptions{Now: true}, nil)
		require.NoError(t, err)
		m.try(s, adoptVerb("w", AdoptOptions{}), nil)
		m.settle()
	}
}
