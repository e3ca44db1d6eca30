package vgpukit

import (
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// places finds the errors in what go build says.
var places = regexp.MustCompile(`(?m)^(?:vet: )?\S+\.go:\d+:\d+: .*$`)

// build runs go with these variables on top of the environment, and returns what it says.
func build(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestWithoutCgo: without cgo all that needs none can be built, and each package that
// needs it says so once, with what to do about it.
func TestWithoutCgo(t *testing.T) {
	env := []string{"CGO_ENABLED=0"}
	out, err := build(t, env, "build", ".", "./mdev/...", "./domain", "./vgpu/...")
	require.NoError(t, err, out)
	for _, c := range [][]string{
		{"build", "./domain/virt"},
		{"vet", "./domain/virt"},
		{"build", "./examples/provision"},
		{"vet", "./..."},
	} {
		out, err := build(t, env, c...)
		require.Error(t, err)
		said := map[string]string{} // by package
		for _, line := range places.FindAllString(out, -1) {
			file, _, _ := strings.Cut(strings.TrimPrefix(line, "vet: "), ":")
			assert.NotContains(t, said, path.Dir(file), line)
			said[path.Dir(file)] = line
			assert.Regexp(t, "needs.cgo.*CGO_ENABLED.1.and.install.a.C.compiler", line)
		}
		if c[1] == "./..." {
			assert.Contains(t, said, "domain/virt", out)
		} else {
			assert.Len(t, said, 1, "%v: %s", c, out)
		}
	}
}

// TestWithoutHeaders: where pkg-config does not find libvirt's headers, what go
// says names the package that has them, and the tag that makes do without.
func TestWithoutHeaders(t *testing.T) {
	out, err := build(t, []string{"GOFLAGS=", "CGO_ENABLED=1", "PKG_CONFIG_PATH=", "PKG_CONFIG_LIBDIR=" + t.TempDir()},
		// Headers are here perhaps: -D changes nothing, but what was built with them.
		"build", "-gcflags="+module+"internal/libvirtheaders=-D=none", "./domain/virt")
	require.Error(t, err)
	assert.Contains(t, out, "install_libvirt-dev__or_build_with_-tags_libvirt_dlopen")
	out, err = build(t, nil, "list", "-tags", "libvirt_dlopen", "-deps", "./domain/virt")
	require.NoError(t, err, out)
	assert.NotContains(t, out, "libvirtheaders", "the tag is what makes do without headers")
}
