//go:build cgo

package virt

import (
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/domain"
)

// defaultURI is where vGPU hosts keep their VMs.
const defaultURI = "qemu:///system"

// transports are libvirt's, without "" for a local socket. See
// https://libvirt.org/uri.html#transport-configuration
var transports = []string{"unix", "ssh", "libssh", "libssh2", "tls", "tcp", "ext"}

// CheckURI refuses a URI that cannot lead to a host of vGPU VMs, before
// anything is contacted. Accepted are
//
//	qemu:///system   qemu:///session   qemu:///embed?root=/dir
//	qemu+unix:///system?socket=/path
//	qemu+ssh://[user@]host[:port]/system    (also +libssh, +libssh2)
//	qemu+tls://host[:port]/system           (also qemu://host/system, +tcp, +ext)
//	test:///default  test:///path/to/state.xml   and test with a transport
//
// See https://libvirt.org/uri.html
func CheckURI(uri string) error {
	const op = "connect to"
	bad := func(meaning, next string) error { return invalid(op, quote(uri), meaning, next) }
	const likeThis = `use a URI such as "qemu:///system" or "qemu+ssh://host/system"`
	if strings.ContainsAny(uri, "\x00\n\r\t ") {
		return bad("the URI holds white space or a control character", likeThis)
	}
	u, err := url.Parse(uri)
	if err != nil {
		return bad("not a URI: "+err.Error(), likeThis)
	}
	driver, transport, hasTransport := strings.Cut(u.Scheme, "+")
	if driver != "qemu" && driver != "test" {
		return bad("the hypervisor driver "+quote(driver)+" is not known here", likeThis)
	}
	if hasTransport && !slices.Contains(transports, transport) {
		return bad("the transport "+quote(transport)+" is not one of libvirt's",
			"use one of "+strings.Join(transports, ", "))
	}
	if !strings.HasPrefix(uri, u.Scheme) {
		return bad("the scheme has capital letters", likeThis)
	}
	if u.Opaque != "" {
		return bad("the URI lacks its slashes", likeThis)
	}
	if u.Fragment != "" {
		return bad("the URI has a fragment", "remove what follows the #")
	}
	if _, has := u.User.Password(); has {
		return bad("libvirt takes no password from a URI", "use keys, certificates or libvirt's auth.conf")
	}
	switch transport {
	case "ssh", "libssh", "libssh2", "tls", "tcp":
		if u.Hostname() == "" {
			return bad("the transport "+transport+" needs a host", "write "+driver+"+"+transport+"://host/system")
		}
	case "unix":
		if u.Host != "" {
			return bad("a local socket has no host", "write "+driver+"+unix:///system?socket=/path")
		}
	}
	if driver == "qemu" {
		switch u.Path {
		case "/system", "/session":
		case "/embed":
			if u.Query().Get("root") == "" {
				return bad("an embedded driver needs its directory", "add ?root=/dir")
			}
		default:
			return bad("the path "+quote(u.Path)+" is neither /system nor /session", likeThis)
		}
	} else if len(u.Path) < 2 {
		return bad("the test driver needs a path", `use "test:///default"`)
	}
	return nil
}

// resolveURI applies the defaults, checks, and forbids ssh to ask for anything.
func resolveURI(uri string) (string, error) {
	if uri == "" {
		uri = os.Getenv("LIBVIRT_DEFAULT_URI")
	}
	if uri == "" {
		uri = defaultURI
	}
	if err := CheckURI(uri); err != nil {
		return "", err
	}
	u, err := url.Parse(uri)
	if err != nil {
		return "", err
	}
	if u.Scheme == "test" && u.Host == "" && u.Path != "/default" {
		// libvirt's parser would complain on stderr.
		if _, err := os.Stat(u.Path); err != nil {
			return "", &Error{
				Op: "connect to", Object: quote(uri), Err: err, Kind: domain.ErrNotFound,
				Meaning: "the test driver's state file cannot be read", Next: `use "test:///default"`,
			}
		}
	}
	if strings.HasSuffix(u.Scheme, "+ssh") && !u.Query().Has("no_tty") {
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += "no_tty=1"
		return u.String(), nil
	}
	return uri, nil
}
