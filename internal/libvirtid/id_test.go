package libvirtid

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/internal/fault"
)

// TestOneLibvirt: URIs of one libvirt have one identity, and those of another another,
// whatever they are spelled like.
func TestOneLibvirt(t *testing.T) {
	seen := map[ID]string{}
	for want, uris := range map[string][]string{
		"qemu:///system": {
			"qemu:///system", "qemu+unix:///system", "qemu:///system?socket=/run/libvirt/libvirt-sock", "qemu+unix:///system?socket=/var/run/libvirt/virtqemud-sock",
			"qemu:///system?socket=/run/../run//libvirt/./virtqemud-sock", "qemu:///system?socket=/run/libvirt/libvirt-sock-ro", "qemu+unix:///system?mode=direct&socket=",
			"qemu:///system?mode=legacy;keepalive_interval=5", "qemu://localhost/system", "qemu+ssh://root@localhost/system?no_verify=1&keyfile=/k", "qemu+ssh://bob@127.0.0.1:22/system", "qemu+ssh://127.0.0.1./system",
			"qemu+tcp://[::1]/system", "qemu+tls://127.8.9.10:16514/system", "qemu+libssh2://LOCALHOST./system", "qemu+ssh://localhost.localdomain/system", "qemu+tcp:///system",
			"QEMU:///system", "qemu+unix:///session?name=qemu:///system", "qemu+ssh://[::ffff:127.0.0.1]/system", "qemu://root@/system",
		},
		"qemu:///system?socket=%2Fx": {
			"qemu:///system?socket=/x", "qemu+unix:///system?SOCKET=/y/../x", "qemu+unix:///system?socket=/a&socket=%2Fx", "qemu+ssh://localhost/system?socket=//x/",
		},
		"qemu:///system?socket=%2Frun%2Flibvirt%2Fvirtlxcd-sock": {"qemu:///system?socket=/var/run/libvirt/virtlxcd-sock"},
		"qemu:///system?socket=%2Fa%2Bb":                         {"qemu:///system?socket=/a+b"},
		"lxc:///system":                                          {"lxc:///system?socket=/run/libvirt/virtlxcd-sock"},
		"qemu:///session":                                        {"qemu:///session", "qemu+unix:///session", "qemu+unix:///session?mode=auto", "qemu:///system?name=qemu%3A///session"},
		"qemu://bob@/session":                                    {"qemu://bob@/session", "qemu+ssh://bob@localhost/session"},
		"qemu://eve@/session":                                    {"qemu+ssh://eve@[::1]/session"},
		"qemu:///session?socket=%2Frun%2Fuser%2F7%2Flibvirt%2Flibvirt-sock": {"qemu:///session?socket=/run/user/7/libvirt/libvirt-sock"},
		"qemu://host/system": {
			"qemu://host/system", "qemu+ssh://root@host/system", "qemu+ssh://bob@HOST:22/system", "qemu+tcp://host:16509/system", "qemu+tls://host.:016514/system",
			"qemu+ssh://host/system?socket=/run/libvirt/virtqemud-sock&netcat=nc&proxy=native", "qemu+ssh://host:0/system", "qemu+ssh://host/?name=qemu:///system",
		},
		"qemu://host.example.org/system":    {"qemu+ssh://host.example.org/system"},
		"qemu://host:2222/system":           {"qemu+ssh://host:2222/system", "qemu+tls://host:2222/system"},
		"qemu+ssh://host:16514/system":      {"qemu+ssh://host:16514/system", "qemu+tcp://host:16514/system"},
		"qemu://localhost:2222/system":      {"qemu+ssh://127.0.0.1:2222/system", "qemu+ssh://[::1]:2222/system", "qemu+ssh://localhost:2222/system"},
		"qemu://host/system?socket=%2Fx":    {"qemu+ssh://host/system?socket=/x"},
		"qemu://bob@host/session":           {"qemu+ssh://bob@host/session", "qemu+ssh://bob@host/system?name=qemu:///session"},
		"qemu://10.0.0.1/system":            {"qemu+ssh://10.0.0.1/system", "qemu://[::ffff:10.0.0.1]/system"},
		"qemu://[2001:db8::1]/system":       {"qemu+ssh://[2001:DB8:0::1]/system"},
		"qemu://[2001:db8::1]:2222/system":  {"qemu+ssh://[2001:db8::1]:2222/system"},
		"test:///default":                   {"test:///default", "test+unix:///default"},
		"test:////etc/libvirt/machines.xml": {"test:////etc/libvirt/machines.xml"},
		"xen:///":                           {"xen:///", "xen://"},
	} {
		for _, uri := range uris {
			id, err := Parse(uri)
			require.NoError(t, err, uri)
			assert.Equal(t, want, id.String(), uri)
			again, err := Parse(id.String())
			require.NoError(t, err, uri)
			assert.True(t, id.Equal(again), uri)
			local := strings.Contains(want, ":///") || strings.Contains(want, "@/") || want == "test:////etc/libvirt/machines.xml"
			assert.Equal(t, local, id.Local(), uri)
			if other, ok := seen[id]; ok {
				assert.Equal(t, other, want, uri)
			}
			seen[id] = want
		}
	}
}

// TestNoIdentity: what leads to no libvirt, or to one that the URI does not tell, is an error
// that names the URI and says what to use.
func TestNoIdentity(t *testing.T) {
	for kind, uris := range map[*fault.Kind][]string{
		fault.Invalid: {
			"", "qemu", "/system", "qemu:/system", "qemu:system", "://", "qemu:///", "qemu:///sys", "qemu:///system/", "qemu:////system", "qemu+x:///system", "qemu+unix://host/system",
			"qemu:///system?socket=x", "qemu:///system?socket=%zz", "qemu:///system?%zz", "qemu://ho st/system", "qemu://h%00/system", "qemu://host:x/system", "qemu://[::1/system",
			"qemu+ssh://[fe80::1%25eth0]/system", "qemu:///system?name=x", "qemu+:x", "+unix:///system", "qemu://ä/system", "qemu://./system", "qemu://a..b/system", "qemu://.a/system", "qemu://a../system", "qemu\n:///system",
		},
		fault.Unsupported: {"qemu+ext:///system?command=x", "qemu:///embed?root=/x", "qemu+ssh://a/system?name=qemu%2Bssh://b/system", "qemu:///system?name=qemu:///system%3Fsocket=/x"},
	} {
		for _, uri := range uris {
			_, err := Parse(uri)
			require.ErrorIs(t, err, kind, "%q", uri)
			assert.NotEmpty(t, fault.Hint("", err), "%q", uri)
		}
	}
}

// TestWhoAsks: a session of nobody in particular on this machine is the asker's; others stay
// whose they are.
func TestWhoAsks(t *testing.T) {
	for uri, want := range map[string]string{
		"qemu:///session":              "qemu://bob@/session",
		"qemu://eve@/session":          "qemu://eve@/session",
		"qemu:///system":               "qemu:///system",
		"qemu+ssh://host/session":      "qemu://host/session",
		"qemu+ssh://Here.Lan/system":   "qemu:///system",
		"qemu+ssh://here.lan:2/system": "qemu://here.lan:2/system",
		"qemu+ssh://here.lan/session":  "qemu://bob@/session",
	} {
		id, err := Parse(uri)
		require.NoError(t, err)
		assert.Equal(t, want, id.On("here.lan").As("bob").String(), uri)
		assert.Equal(t, id, id.On("").On("ho st"), uri)
	}
}

// FuzzParse: no text panics; what is read is read again from its own string, and that string
// is the one for all.
func FuzzParse(f *testing.F) {
	for _, uri := range []string{
		"qemu:///system", "qemu+ssh://bob@host:2222/session?socket=/x&name=qemu:///system", "test:////a/b.xml", "qemu+tls://[2001:db8::1]:16509/system?a=b;c", "x://%41@:0/%2f",
		"qemu+tcp://h:16514/system", "qemu:///system?socket=/a b+c%2Bd&x", "A://..",
	} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		id, err := Parse(uri)
		if err != nil {
			return
		}
		for range 2 {
			again, err := Parse(id.String())
			require.NoError(t, err, "%q: %q", uri, id.String())
			require.Equal(t, id, again, "%q: %q", uri, id.String())
			id = id.On("host").As("bob")
		}
	})
}
