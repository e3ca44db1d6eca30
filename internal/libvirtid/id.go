package libvirtid

import (
	"net/url"
	"strings"
)

// ID is one libvirt, as far as a URI tells. It is comparable; two that are equal are one.
type ID struct {
	Driver string // "qemu"
	Path   string // "system", "session"; what a driver of another kind calls it
	User   string // whose session it is; empty for other paths, and if the URI does not say
	Host   string // empty for this machine; with a port that is not its transport's own
	Socket string // its socket, unless that is the one which libvirt has by itself
}

// Local tells whether it is on this machine.
func (id ID) Local() bool { return id.Host == "" }

// Equal tells whether two are one.
func (id ID) Equal(as ID) bool { return id == as }

// As says who asks: a session on this machine of nobody in particular is his.
func (id ID) As(user string) ID {
	if id.Local() && id.Path == session && id.User == "" {
		id.User = user
	}
	return id
}

// On says what this machine is called: a libvirt on a host of that name is on this one.
func (id ID) On(hostname string) ID {
	if name, err := hostOf(hostname); err == nil && id.Host == name {
		id.Host = ""
	}
	return id
}

// String is the URI that stands for all which lead to this libvirt. Parse reads it; it is
// none to connect to, since it does not say how.
func (id ID) String() string {
	u := url.URL{Scheme: id.Driver, Host: id.Host, Path: "/" + id.Path}
	if strings.HasSuffix(id.Host, ":"+ports["tls"]) {
		u.Scheme += "+ssh" // whose own port it is not
	}
	if id.User != "" {
		u.User = url.User(id.User)
	}
	if id.Socket != "" {
		u.RawQuery = "socket=" + strings.ReplaceAll(url.QueryEscape(id.Socket), "+", "%20")
	}
	return u.String()
}
