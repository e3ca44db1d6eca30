package libvirtid

import (
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/vgpukit/vgpukit/internal/fault"
)

const session = "session"

// ports are those that the transports have by themselves; "" is tls, to a host.
var ports = map[string]string{
	"": "16514", "tls": "16514", "tcp": "16509", "ssh": "22", "libssh": "22", "libssh2": "22", "unix": "",
}

// Parse reads a URI such as "qemu:///system" or "qemu+ssh://root@host/system?keyfile=/k".
// Of its parameters only socket= and name= say which libvirt it is. A name of this machine
// is only believed with the transport's own port: behind another may be anything that was
// forwarded. An error is of the kind [fault.Invalid], or [fault.Unsupported] where a URI
// does not tell: it runs a program (+ext), or leads on from the host it leads to.
func Parse(uri string) (ID, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return ID{}, invalid(uri, "it is no URI", err)
	}
	driver, transport, _ := strings.Cut(u.Scheme, "+")
	port, known := ports[transport]
	switch {
	case transport == "ext":
		return ID{}, untold(uri, "its connection is made by a program")
	case driver == "" || u.Opaque != "" || !strings.HasPrefix(uri[len(u.Scheme):], "://"):
		return ID{}, invalid(uri, "it does not begin like \"qemu:///\"", nil)
	case !known:
		return ID{}, invalid(uri, "libvirt has no transport "+transport, nil)
	case transport == "unix" && u.Host != "":
		return ID{}, invalid(uri, "a local socket has no host", nil)
	}
	id := ID{Driver: driver, Path: strings.TrimPrefix(u.Path, "/")}
	if id.Host, err = hostAt(u, port); err != nil {
		return ID{}, invalid(uri, err.Error(), nil)
	}
	params, err := parametersOf(u.RawQuery)
	if err != nil {
		return ID{}, invalid(uri, "its parameters cannot be read", err)
	}
	if name := params["name"]; name != "" {
		if id, err = id.named(name); err != nil {
			return ID{}, err
		}
	}
	if err := id.check(uri); err != nil {
		return ID{}, err
	}
	if id.Path == session {
		id.User = u.User.Username()
	}
	if id.Socket, err = id.socket(params["socket"]); err != nil {
		return ID{}, invalid(uri, err.Error(), nil)
	}
	return id, nil
}

// named is what the host at the other end is asked for, if the URI has one of its own
// for that.
func (id ID) named(name string) (ID, error) {
	there, err := Parse(name)
	if err != nil {
		return ID{}, err
	}
	if !there.Local() || there.Socket != "" {
		return ID{}, untold(name, "it leads on from the host that was connected to")
	}
	id.Driver, id.Path = there.Driver, there.Path
	return id, nil
}

// check refuses paths that QEMU's driver does not have.
func (id ID) check(uri string) error {
	if id.Driver != "qemu" || id.Path == "system" || id.Path == session {
		return nil
	}
	if id.Path == "embed" {
		return untold(uri, "the program is its own libvirt")
	}
	return invalid(uri, "QEMU's libvirt is at /system or /session, not at /"+id.Path, nil)
}

// socket is the socket as it is part of the identity. The system's has these names by
// itself, be it one daemon's for all drivers or the driver's own.
func (id ID) socket(at string) (string, error) {
	if at == "" {
		return "", nil
	}
	if !path.IsAbs(at) {
		return "", errText("the path of its socket is not absolute")
	}
	at = path.Clean(at)
	if rest, ok := strings.CutPrefix(at, "/var/run/"); ok {
		at = "/run/" + rest
	}
	own, ok := strings.CutPrefix(strings.TrimSuffix(at, "-ro"), "/run/libvirt/")
	if ok && id.Path != session && slices.Contains([]string{"libvirt-sock", "virt" + id.Driver + "d-sock"}, own) {
		return "", nil
	}
	return at, nil
}

// hostAt is the host of a URI as it is part of the identity.
func hostAt(u *url.URL, own string) (string, error) {
	host, err := hostOf(u.Hostname())
	if err != nil {
		return "", err
	}
	port := u.Port()
	if trimmed := strings.TrimLeft(port, "0"); trimmed != "" {
		port = trimmed
	}
	if port == "" || port == "0" || port == own {
		return host, nil
	}
	if host == "" {
		host = "localhost"
	}
	return host + ":" + port, nil
}

// hostOf gives a host's name its one spelling, and this machine's none.
func hostOf(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if addr, err := netip.ParseAddr(name); err == nil {
		if addr = addr.Unmap(); addr.IsLoopback() {
			return "", nil
		}
		switch {
		case addr.Zone() != "":
			return "", errText("its host is an address that means another host on each interface")
		case addr.Is6():
			return "[" + addr.String() + "]", nil
		}
		return addr.String(), nil
	}
	if strings.Contains("."+name+".", "..") || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		return "", errText("its host's name is none")
	}
	if name == "localhost" || name == "localhost.localdomain" {
		return "", nil
	}
	return name, nil
}

// parametersOf reads a query as libvirt does: parted by & or ;, names in any case, of
// several the last, and a plus is a plus.
func parametersOf(query string) (map[string]string, error) {
	params := map[string]string{}
	for _, param := range strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == ';' }) {
		name, value, _ := strings.Cut(param, "=")
		name, err := url.PathUnescape(name)
		if err != nil {
			return nil, err
		}
		if params[strings.ToLower(name)], err = url.PathUnescape(value); err != nil {
			return nil, err
		}
	}
	return params, nil
}

// errText is why a part of a URI is refused.
type errText string

func (e errText) Error() string { return string(e) }

func invalid(uri, meaning string, err error) error {
	return &fault.Error{
		Op: "read", Object: "libvirt URI " + uri, Kind: fault.Invalid, Meaning: meaning, Err: err,
		Next: `use a URI such as "qemu:///system" or "qemu+ssh://host/system"`,
	}
}

func untold(uri, meaning string) error {
	return &fault.Error{
		Op: "read", Object: "libvirt URI " + uri, Kind: fault.Unsupported, Meaning: "which libvirt it leads to is not known: " + meaning,
		Next: `use a URI such as "qemu:///system" or "qemu+ssh://host/system"`,
	}
}
