package vgpukit

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/vgpukit/vgpukit/"

// TestArrows keeps the house's promise: arrows point down only, internal packages are
// leaves that any may use, and nothing but domain/virt and the front door needs cgo.
func TestArrows(t *testing.T) {
	for pkg, allowed := range map[string][]string{
		".":                   {"mdev", "domain", "domain/virt", "vgpu", "vgpu/placement"},
		"mdev":                {},
		"mdev/mdevtest":       {"mdev"},
		"domain":              {},
		"domain/virt":         {"domain"},
		"vgpu/placement":      {"mdev"},
		"vgpu":                {"mdev", "domain", "vgpu/placement"},
		"vgpu/vgputest":       {"mdev", "mdev/mdevtest", "domain"},
		"internal/atomicfile": {},
		"internal/closest":    {},
		"internal/devicexml":  {},
		"internal/fanout":     {},
		"internal/fault":      {},
		"internal/libvirtid":  {},
		"internal/libvirtrpc": {},
		"internal/nvidia":     {},
		"internal/patience":   {},
		"internal/pci":        {},
		"internal/statedir":   {},
		"internal/xmldoc":     {},
	} {
		t.Run(pkg, func(t *testing.T) {
			out, err := exec.Command("go", "list", "-tags", "libvirt_dlopen", "-deps", "./"+pkg).CombinedOutput()
			require.NoError(t, err, string(out))
			deps := strings.Fields(string(out))
			for _, dep := range deps {
				own, ok := strings.CutPrefix(dep, module)
				if leaf := strings.HasPrefix(own, "internal/"); ok && own != pkg && !leaf {
					require.Contains(t, allowed, own, "%s must not import %s", pkg, own)
				}
			}
			door := pkg == "."
			require.Equal(t, door, slices.Contains(deps, strings.TrimSuffix(module, "/")), "the front door is above all others")
			require.Equal(t, door || pkg == "domain/virt", slices.Contains(deps, "libvirt.org/go/libvirt"),
				"only domain/virt and the front door may need the libvirt binding")
		})
	}
}
