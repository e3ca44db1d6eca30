package mdev

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ueventBuffer is what the kernel may queue for us before events are lost.
const ueventBuffer = 1 << 20

// initialUserNS is the inode of the kernel's first user namespace: Linux
// include/linux/proc_ns.h.
const initialUserNS = 0xEFFFFFFD

// Uevents makes osFS a [WatchFS]: the kernel's messages over netlink.
func (f *osFS) Uevents(ctx context.Context) (<-chan Uevent, error) {
	if f.prefix != "/" {
		return nil, &Error{Op: "watch", Object: strings.TrimSuffix(f.prefix, "/"), Meaning: "the kernel sends events about its own /sys only", Next: "watch the root, or read the inventory again from time to time", Kind: ErrUnsupported}
	}
	if foreignNetwork() {
		return nil, &Error{
			Op: "watch", Object: "netlink", Meaning: "the kernel sends no events to this network namespace", Cause: "it belongs to another user namespace, as in a rootless container",
			Next: "run in the host's network namespace (--network host), or read the inventory again from time to time", Kind: ErrUnsupported,
		}
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, explain("watch", "netlink", anyFile, err)
	}
	// Without the privilege to pass the system's limit, the limit it is.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, ueventBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, ueventBuffer)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		_ = unix.Close(fd)
		return nil, explain("watch", "netlink", anyFile, err)
	}
	file := os.NewFile(uintptr(fd), "netlink")
	conn, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, explain("watch", "netlink", anyFile, err)
	}
	events := make(chan Uevent)
	stop := context.AfterFunc(ctx, func() { _ = file.Close() })
	go func() {
		defer stop()
		defer func() { _ = file.Close() }()
		pump(ctx, conn.Read, events)
	}()
	return events, nil
}

// foreignNetwork tells whether this process's network namespace belongs to another
// user namespace than the first: to those only, Linux sends no events (from 4.18
// on). It is false where that cannot be known: the owner is out of our sight.
func foreignNetwork() bool {
	network, err := unix.Open("/proc/self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(network) }()
	owner, err := unix.IoctlRetInt(network, unix.NS_GET_USERNS)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(owner) }()
	var stat unix.Stat_t
	return unix.Fstat(owner, &stat) == nil && stat.Ino != initialUserNS
}

// pump passes messages on until ctx ends or the socket fails, which it tells.
func pump(ctx context.Context, read func(func(fd uintptr) bool) error, events chan<- Uevent) {
	defer close(events)
	buf := make([]byte, 64<<10)
	for {
		event, ok, err := receive(read, buf)
		if err != nil {
			event, ok = Uevent{Lost: true, Err: explain("watch", "netlink", anyFile, err)}, ctx.Err() == nil
		}
		if ok {
			select {
			case events <- event:
			case <-ctx.Done():
			}
		}
		if err != nil || ctx.Err() != nil {
			return
		}
	}
}

// receive takes one message; not ok when it is not the kernel's.
func receive(read func(func(fd uintptr) bool) error, buf []byte) (event Uevent, ok bool, err error) {
	var n int
	var from unix.Sockaddr
	var recvErr error
	err = read(func(fd uintptr) bool {
		n, from, recvErr = unix.Recvfrom(int(fd), buf, 0)
		return !errors.Is(recvErr, unix.EAGAIN) && !errors.Is(recvErr, unix.EINTR)
	})
	switch {
	case err != nil:
		return Uevent{}, false, err
	case errors.Is(recvErr, unix.ENOBUFS):
		return Uevent{Lost: true}, true, nil
	case recvErr != nil:
		return Uevent{}, false, recvErr
	}
	if sender, isNetlink := from.(*unix.SockaddrNetlink); !isNetlink || sender.Pid != 0 {
		return Uevent{}, false, nil // any process may send; the kernel is pid 0
	}
	event, ok = parseUevent(buf[:n])
	return event, ok, nil
}

// parseUevent reads "add@/devices/…", NUL, "ACTION=add", NUL, …
func parseUevent(message []byte) (Uevent, bool) {
	header, rest, _ := bytes.Cut(message, []byte{0})
	action, path, ok := strings.Cut(string(header), "@")
	if !ok || action == "" || !strings.HasPrefix(path, "/") {
		return Uevent{}, false
	}
	event := Uevent{Action: action, Path: path, Env: map[string]string{}}
	for part := range bytes.SplitSeq(rest, []byte{0}) {
		if key, value, ok := strings.Cut(string(part), "="); ok && key != "" {
			event.Env[key] = value
		}
	}
	return event, true
}
