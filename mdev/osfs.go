package mdev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vgpukit/vgpukit/internal/atomicfile"
)

// osFS is the operating system's files below a root directory. It calls the
// kernel directly: package os would register each attribute with its poller
// and ask for its size.
type osFS struct {
	prefix string // the root, ending in one slash
	sysfs  bool   // its sys/ is the kernel's, where all files are regular ones
}

func newOSFS(root string) *osFS {
	f := &osFS{prefix: strings.TrimSuffix(root, "/") + "/"}
	var stat unix.Statfs_t
	f.sysfs = unix.Statfs(f.prefix+"sys", &stat) == nil && stat.Type == unix.SYSFS_MAGIC
	return f
}

// readBufferSize holds any sysfs attribute, which is a page at most, in one
// read.
const readBufferSize = 8192

var readBuffers = sync.Pool{New: func() any { return new([readBufferSize]byte) }}

func (f *osFS) ReadFile(name string) ([]byte, error) {
	buf := readBuffers.Get().(*[readBufferSize]byte)
	defer readBuffers.Put(buf)
	fd, err := f.openRegular(unix.AT_FDCWD, "", name, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	var data []byte
	for {
		n, err := readFD(fd, buf[:])
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: name, Err: err}
		}
		data = append(data, buf[:n]...)
		// sysfs gives an attribute as a whole; others end with an empty read.
		if n == 0 || (n < len(buf) && strings.HasPrefix(name, "sys/")) {
			return data, nil
		}
	}
}

func (f *osFS) ReadDir(name string) ([]fs.DirEntry, error) {
	full, err := f.full("open", name)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(full)
	return entries, relative(err, name)
}

func (f *osFS) Readlink(name string) (string, error) {
	full, err := f.full("readlink", name)
	if err != nil {
		return "", err
	}
	target, err := os.Readlink(full)
	return target, relative(err, name)
}

func (f *osFS) Stat(name string) (fs.FileInfo, error) {
	full, err := f.full("stat", name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(full)
	return info, relative(err, name)
}

func (f *osFS) WriteAttr(name string, data []byte) error {
	fd, err := f.openRegular(unix.AT_FDCWD, "", name, unix.O_WRONLY|unix.O_NOFOLLOW) // an attribute is no link
	if err != nil {
		return err
	}
	n, err := unix.Write(fd, data)
	for errors.Is(err, unix.EINTR) { // nothing was written
		n, err = unix.Write(fd, data)
	}
	closeErr := unix.Close(fd)
	switch {
	case err != nil:
		return &fs.PathError{Op: "write", Path: name, Err: err}
	case n != len(data):
		return &fs.PathError{Op: "write", Path: name, Err: io.ErrShortWrite}
	case closeErr != nil:
		return &fs.PathError{Op: "close", Path: name, Err: closeErr}
	}
	return nil
}

func (f *osFS) OpenNode(name string) (io.Closer, error) {
	fd, err := f.open(name, unix.O_RDWR)
	if err != nil {
		return nil, err
	}
	return &node{fd: fd}, nil
}

// WriteFile makes osFS a [StoreFS].
func (f *osFS) WriteFile(name string, data []byte, perm fs.FileMode) error {
	full, err := f.full("open", name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(full, data, perm)
}

// RemoveFile makes osFS a [StoreFS].
func (f *osFS) RemoveFile(name string) error {
	full, err := f.full("remove", name)
	if err != nil {
		return err
	}
	return relative(os.Remove(full), name)
}

// Run makes osFS a [RunFS]. A program of another root is run in that root, with
// its files and its /sys: outside, it would change the machine that we run on.
func (f *osFS) Run(ctx context.Context, name string, args ...string) ([]byte, error) {
	full, err := f.full("exec", name)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, full, args...)
	if f.prefix != "/" {
		cmd = exec.CommandContext(ctx, "/"+name, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: f.prefix}
		cmd.Dir = "/"
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd.CombinedOutput()
}

// full refuses names that could leave the root.
func (f *osFS) full(op, name string) (string, error) {
	if !validPath(name) {
		return "", &fs.PathError{Op: op, Path: name, Err: syscall.EINVAL}
	}
	return f.prefix + name, nil
}

func validPath(name string) bool { return fs.ValidPath(name) && strings.IndexByte(name, 0) < 0 }

func (f *osFS) open(name string, flags int) (int, error) {
	full, err := f.full("open", name)
	if err != nil {
		return -1, err
	}
	for {
		fd, err := unix.Open(full, flags|unix.O_CLOEXEC, 0)
		if err == nil {
			return fd, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return -1, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

// errNotRegular: a FIFO or a device could wait for ever, and opening one may do something.
var errNotRegular = fmt.Errorf("not a regular file: %w", syscall.EINVAL)

// openRegular opens a file, without waiting for whoever is at its other end, and refuses
// all but regular ones. The name is below the root or, with a descriptor, below dir.
func (f *osFS) openRegular(at int, dir, name string, flags int) (int, error) {
	failed := func(err error) (int, error) {
		return -1, &fs.PathError{Op: "open", Path: path.Join(dir, name), Err: err}
	}
	full := name
	if at == unix.AT_FDCWD {
		full = f.prefix + name
	}
	if !validPath(name) {
		return failed(syscall.EINVAL)
	}
	flags |= unix.O_NONBLOCK | unix.O_CLOEXEC | unix.O_NOCTTY
	fd, err := unix.Openat(at, full, flags, 0)
	for errors.Is(err, unix.EINTR) {
		fd, err = unix.Openat(at, full, flags, 0)
	}
	if err != nil {
		return failed(err)
	}
	if dir != "" && f.sysfs && strings.HasPrefix(dir, "sys/") {
		return fd, nil
	}
	var stat unix.Stat_t
	err = unix.Fstat(fd, &stat)
	switch kind := stat.Mode & unix.S_IFMT; {
	case err != nil:
	case kind == unix.S_IFREG:
		return fd, nil
	case kind == unix.S_IFDIR:
		err = syscall.EISDIR
	default:
		err = errNotRegular
	}
	_ = unix.Close(fd)
	return failed(err)
}

func readFD(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Read(fd, buf)
		if !errors.Is(err, unix.EINTR) {
			return max(n, 0), err
		}
	}
}

// relative names the file in an error of package os as our callers do.
func relative(err error, name string) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return &fs.PathError{Op: pathErr.Op, Path: name, Err: pathErr.Err}
	}
	return err
}

// node is a device node that is held open.
type node struct {
	once sync.Once
	fd   int
	err  error
}

func (n *node) Close() error {
	n.once.Do(func() { n.err = unix.Close(n.fd) })
	return n.err
}
