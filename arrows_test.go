package vgpukit

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/vgpukit/vgpukit/"

// TestArrows keeps the house's promise: arrows point down only, and nothing but
// domain/virt needs cgo.
func TestArrows(t *testing.T) {
	for pkg, allowed := range map[string][]string{
		"mdev":           {"internal/atomicfile", "internal/fault", "internal/closest", "internal/nvidia"},
		"mdev/mdevtest":  {"mdev", "internal/atomicfile", "internal/fault", "internal/closest", "internal/nvidia"},
		"domain":         {"internal/fault"},
		"domain/virt":    {"domain", "internal/fault"},
		"vgpu/placement": {"mdev", "internal/atomicfile", "internal/fault", "internal/closest", "internal/nvidia"},
		"vgpu":           {"mdev", "domain", "vgpu/placement", "internal/atomicfile", "internal/fault", "internal/closest", "internal/nvidia"},
	} {
		t.Run(pkg, func(t *testing.T) {
			out, err := exec.Command("go", "list", "-tags", "libvirt_dlopen", "-deps", "./"+pkg).CombinedOutput()
			require.NoError(t, err, string(out))
			for _, dep := range strings.Fields(string(out)) {
				if own, ok := strings.CutPrefix(dep, module); ok && own != pkg {
					require.Contains(t, allowed, own, "%s must not import %s", pkg, own)
				}
			}
			binding := slices.Contains(strings.Fields(string(out)), "libvirt.org/go/libvirt")
			require.Equal(t, pkg == "domain/virt", binding, "only domain/virt may need the libvirt binding")
		})
	}
}
