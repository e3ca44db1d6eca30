package simfs

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// attribute is an open attribute. As in sysfs, its content is made at the
// first read and again when the reader starts over, and each write is one
// call of the driver, at whatever offset.
type attribute struct {
	*tree
	path string

	mu      sync.Mutex
	content []byte
}

var (
	_ fs.FileReader = (*attribute)(nil)
	_ fs.FileWriter = (*attribute)(nil)
)

func (a *attribute) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if off == 0 {
		content, err := a.host.ReadFile(a.path)
		if err != nil {
			return nil, a.errno(err)
		}
		a.content = content
	}
	return read(a.content, dest, off), 0
}

func read(content, dest []byte, off int64) fuse.ReadResult {
	if off > int64(len(content)) {
		return fuse.ReadResultData(nil)
	}
	content = content[off:]
	return fuse.ReadResultData(content[:min(len(content), len(dest))])
}

func (a *attribute) Write(_ context.Context, data []byte, _ int64) (uint32, syscall.Errno) {
	err := a.host.WriteAttr(a.path, data)
	if errors.Is(err, io.ErrShortWrite) {
		return 4096, 0
	}
	if err != nil {
		return 0, a.errno(err)
	}
	return uint32(len(data)), 0
}

// errno is what the host said, or ENODEV when the attribute went away while it
// was open.
func (a *attribute) errno(err error) syscall.Errno {
	e := errno(err)
	if e == syscall.ENOENT {
		if _, _, gone := a.lstat(a.path); gone != 0 {
			return syscall.ENODEV
		}
	}
	return e
}

// deviceNode is an open VFIO group.
type deviceNode struct{ io.Closer }

var _ fs.FileReleaser = (*deviceNode)(nil)

func (d *deviceNode) Release(context.Context) syscall.Errno {
	_ = d.Close()
	return 0
}
