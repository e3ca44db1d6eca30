package vgpu

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// replacement is one expression of the Manager's, and what a fault has in its place.
type replacement struct{ file, was, is string }

// planted are faults against which the grant protects, each as somebody might make it.
var planted = []struct {
	name     string
	board    string // on which it is looked for
	replaced []replacement
	found    []string // what the search says of it, one of them
}{
	{
		"metadata is believed", "tesla-m60",
		[]replacement{{
			"view.go", "	if g != nil {\n		v.devices, v.life",
			"	if g == nil && v.carries {\n		var believed grant\n		believed.VM, believed.Name, believed.Libvirt = v.id, v.name, m.libvirt\n" +
				"		believed.VGPUs, believed.Lifetime = fromCopy(v.copy)\n		g, v.grant = &believed, &believed\n	}\n	if g != nil {\n		v.devices, v.life",
		}},
		[]string{"succeeds on a VM that was granted nothing", "which was granted nothing", "grants {"},
	},
	{
		"the owner file is not checked before a removal", "l40s",
		[]replacement{
			{"view.go", "case owned && w.VM != v.id:", "case false:"},
			{"owner.go", "err != nil || !owned || w.VM != v.id || !v.grants(id)", "err != nil || !owned || !v.grants(id)"},
		},
		[]string{"removes the device"},
	},
	{
		"the UUID of a VM is not compared", "tesla-m60",
		[]replacement{{
			"identity.go", "	id, err := m.hyper.Lookup(ctx, vm)\n	if err == nil || !errors.Is(err, domain.ErrNotFound) {\n		return id, err\n	}\n	id, err = m.granted(vm, true)",
			"	id, err := m.granted(vm, true)\n	if err == nil && id == uuid.Nil {\n		id, err = m.hyper.Lookup(ctx, vm)\n		if err == nil || !errors.Is(err, domain.ErrNotFound) {\n			return id, err\n		}\n		err = nil\n	}",
		}},
		[]string{"removes the device", "changes the grant", "starts", "touched the VM", "ends the grant"},
	},
}

// TestPlantedFaults: the search over all states finds each of these faults, so that it would
// find others of their kind.
func TestPlantedFaults(t *testing.T) {
	for _, fault := range planted {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			out := withFault(t, fault.board, fault.replaced)
			said := false
			for _, words := range fault.found {
				said = said || strings.Contains(out, "violated: ") && strings.Contains(out, words)
			}
			assert.True(t, said, "it is not found, or otherwise: %s", out)
			for _, line := range strings.Split(out, "\n") {
				if strings.Contains(line, "violated: ") {
					t.Logf("%.300s", strings.TrimSpace(line))
					break
				}
			}
		})
	}
}

// withFault runs the search with another Manager, and returns what it says when it fails.
func withFault(t *testing.T, board string, replaced []replacement) string {
	dir, files := t.TempDir(), map[string]string{}
	for _, r := range replaced {
		path, err := filepath.Abs(r.file)
		require.NoError(t, err)
		source, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(source), r.was), "%s has changed: it has not once %q", r.file, r.was)
		other := filepath.Join(dir, r.file)
		require.NoError(t, os.WriteFile(other, []byte(strings.Replace(string(source), r.was, r.is, 1)), 0o600))
		files[path] = other
	}
	overlay, err := json.Marshal(map[string]any{"Replace": files})
	require.NoError(t, err)
	listed := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(listed, overlay, 0o600))
	test := exec.CommandContext(t.Context(), "go", "test", "-overlay", listed, "-vet=off", "-tags", "libvirt_dlopen", "-count=1", "-run", "^TestStates$/"+board, ".")
	test.Env = append(os.Environ(), "VGPUKIT_DEPTH=3")
	out, err := test.CombinedOutput()
	require.Error(t, err, "the fault is not found: %s", out)
	return string(out)
}
