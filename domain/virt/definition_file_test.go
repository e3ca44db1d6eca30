//go:build cgo

package virt

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A definition that libvirt could not load is found by its UUID, and no other file is taken for
// it.
func TestDefinitionFile(t *testing.T) {
	dir, vm := t.TempDir(), uuid.NewSHA1(uuid.NameSpaceDNS, []byte("vm"))
	has := func(in string) bool {
		t.Helper()
		kept, err := definitionIn(t.Context(), in, vm)
		require.NoError(t, err)
		return kept
	}
	assert.False(t, has(dir))
	assert.False(t, has(filepath.Join(dir, "none")))
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("clone.xml", "<domain><uuid>"+uuid.NewString()+"</uuid><metadata vm='"+vm.String()+"'/></domain>")
	write("vm.xml.old", "<domain><uuid>"+vm.String()+"</uuid>")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "dir.xml"), 0o700))
	assert.False(t, has(dir))
	write("vm.xml", "<domain><uuid>"+vm.String()+"</uuid> and no end")
	assert.True(t, has(dir))

	for uri, want := range map[string]string{
		"qemu:///system": "/etc/libvirt/qemu", "qemu+unix:///system?socket=/tmp/other": "", "qemu+ssh://far/system": "", "test:///default": "", "nonsense": "",
	} {
		assert.Equal(t, want, definitionDir(uri), uri)
	}
	session, err := os.UserConfigDir()
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(session, "libvirt/qemu"), definitionDir("qemu:///session"))
}
