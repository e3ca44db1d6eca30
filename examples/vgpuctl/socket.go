package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is a Unix socket that is listened on; its file goes when it is closed.
type socket struct {
	*net.UnixListener
	path string
}

// maxSocketPath is what fits into an address, sockaddr_un, beside its closing zero.
const maxSocketPath = 107

// listen makes a socket that only its owner may use. One that a process left behind
// which was killed is replaced; one that somebody listens on is not.
func listen(path string) (*socket, error) {
	if len(path) > maxSocketPath {
		return nil, usageError(fmt.Sprintf("the socket's path has %d bytes, and %d is the most: %s", len(path), maxSocketPath, path), "name a shorter one with --socket")
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var refused error
		err := raw.Control(func(fd uintptr) { refused = unix.Fchmod(int(fd), 0o600) }) // before there is a file
		return errors.Join(err, refused)
	}}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, &ownError{err.Error(), "name a socket that can be made with --socket", err}
	}
	return &socket{l.(*net.UnixListener), path}, nil
}

// removeStale removes a socket that nobody listens on.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return &ownError{err.Error(), "name another socket with --socket", err}
	case info.Mode()&fs.ModeSocket == 0:
		return usageError(path+" is there, and is no socket", "name another one with --socket")
	}
	conn, err := net.Dial("unix", path)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return os.Remove(path)
	}
	if err == nil {
		err = conn.Close()
	}
	return errors.Join(usageError("somebody listens on "+path, "end it, or name another socket with --socket"), err)
}

// Close ends the listening; there may be none.
func (s *socket) Close() error {
	if s == nil {
		return nil
	}
	return s.UnixListener.Close()
}

// uri leads libvirt's clients to the socket.
func (s *socket) uri() string { return "qemu+unix:///system?socket=" + escaped(s.path) }

// escaped is a value of a URI's query as libvirt reads it: a plus is a plus.
func escaped(value string) string {
	var b strings.Builder
	for _, c := range []byte(value) {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("/-._~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
