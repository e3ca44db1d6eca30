//go:build cgo

package virt

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
)

func TestCheckURI(t *testing.T) {
	for _, uri := range []string{
		"qemu:///system", "qemu:///session", "qemu:///embed?root=/tmp/x", "qemu://host/system",
		"qemu+ssh://host/system", "qemu+ssh://root@host:2222/system?keyfile=/k&no_verify=1", "qemu+ssh://[::1]/system",
		"qemu+tls://host.example/system", "qemu+tcp://host/system", "qemu+libssh2://u@host/system", "qemu+libssh://host/session",
		"qemu+unix:///system?socket=/run/x", "qemu+ext:///system?command=/bin/x", "test:///default", "test:///tmp/x.xml", "test+tcp://host/default",
	} {
		assert.NoError(t, CheckURI(uri), uri)
	}
	for _, uri := range []string{
		"", "qemu", "qemu:", "qemu:system", "qemu:/system?\x00", "qemu:///", "qemu:///sytem", "qemu:///system/", "qemu:///embed",
		"xen:///system", "kvm:///system", "/var/run/libvirt/libvirt-sock", "http://host/system", "qemu+foo://host/system",
		"qemu+://host/system", "qemu+ssh:///system", "qemu+tls:///system", "qemu+ssh://user:secret@host/system",
		"qemu+unix://host/system", "qemu:///system#x", "qemu:///system ", " qemu:///system", "qemu:///sys\ntem", "test:///", "test://", "QEMU:///system", "qemu+ssh://host:x/system",
	} {
		err := CheckURI(uri)
		require.ErrorIs(t, err, domain.ErrInvalid, uri)
		assert.NotEmpty(t, err.(*Error).Hint(), uri)
		assert.NotContains(t, err.Error(), "\n")
	}
}

// The URI comes from the configuration, the environment, or is the system's;
// ssh must never ask.
func TestResolveURI(t *testing.T) {
	for _, tt := range []struct{ config, env, want string }{
		{"", "", "qemu:///system"},
		{"", "qemu:///session", "qemu:///session"},
		{"test:///default", "qemu:///session", "test:///default"},
		{"qemu+ssh://h/system", "", "qemu+ssh://h/system?no_tty=1"},
		{"qemu+ssh://h/system?keyfile=/k", "", "qemu+ssh://h/system?keyfile=/k&no_tty=1"},
		{"qemu+ssh://h/system?no_tty=0", "", "qemu+ssh://h/system?no_tty=0"},
	} {
		t.Setenv("LIBVIRT_DEFAULT_URI", tt.env)
		got, err := resolveURI(tt.config)
		require.NoError(t, err)
		assert.Equal(t, tt.want, got)
	}
	t.Setenv("LIBVIRT_DEFAULT_URI", "bogus")
	_, err := resolveURI("")
	require.ErrorIs(t, err, domain.ErrInvalid)
	_, err = resolveURI("test:///no/such/file.xml")
	require.ErrorIs(t, err, domain.ErrNotFound)
}

// No input makes the check panic, and what it accepts has a known driver and no
// character that C or a log line would trip over.
func FuzzCheckURI(f *testing.F) {
	for _, s := range []string{"qemu:///system", "qemu+ssh://u@h:22/system?x=y", "test:///default", "qemu+unix:///system?socket=/x", "://", "%", "qemu:///embed?root=%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckURI(s) != nil {
			return
		}
		if strings.ContainsAny(s, "\x00\r\n\t ") || !strings.HasPrefix(s, "qemu") && !strings.HasPrefix(s, "test") {
			t.Errorf("accepted %q", s)
		}
	})
}
