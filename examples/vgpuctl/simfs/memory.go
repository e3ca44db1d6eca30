package simfs

import (
	"context"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// memNode is a file, a directory or a link of etc/, run/ or var/. All that is there is in
// memory, so that nothing of it outlives the process.
type memNode struct {
	fs.Inode // has a directory's entries

	mu   sync.Mutex
	attr fuse.Attr // its size is that of data
	data []byte    // of a file, or where a link leads
}

var (
	_ fs.NodeGetattrer  = (*memNode)(nil)
	_ fs.NodeSetattrer  = (*memNode)(nil)
	_ fs.NodeMkdirer    = (*memNode)(nil)
	_ fs.NodeCreater    = (*memNode)(nil)
	_ fs.NodeSymlinker  = (*memNode)(nil)
	_ fs.NodeReadlinker = (*memNode)(nil)
	_ fs.NodeRenamer    = (*memNode)(nil)
	_ fs.NodeUnlinker   = (*memNode)(nil)
	_ fs.NodeRmdirer    = (*memNode)(nil)
	_ fs.NodeOpener     = (*memNode)(nil)
	_ fs.NodeReader     = (*memNode)(nil)
	_ fs.NodeWriter     = (*memNode)(nil)
	_ fs.NodeFsyncer    = (*memNode)(nil)
)

// maxFile is more than any file there needs.
const maxFile = 16 << 20

// newMemNode returns a node with a type and permissions, which belongs to the caller.
func newMemNode(ctx context.Context, mode uint32, data []byte) *memNode {
	n := &memNode{data: data}
	n.attr.Mode, n.attr.Nlink = mode, 1
	if caller, ok := fuse.FromContext(ctx); ok {
		n.attr.Owner = caller.Owner
	}
	now := time.Now()
	n.attr.SetTimes(&now, &now, &now)
	return n
}

// add makes an inode of a node; whoever asked for it puts it into this directory.
func (n *memNode) add(ctx context.Context, kid *memNode, out *fuse.EntryOut) *fs.Inode {
	n.changed()
	kid.describe(&out.Attr)
	return n.NewPersistentInode(ctx, kid, fs.StableAttr{Mode: kid.attr.Mode & syscall.S_IFMT})
}

func (n *memNode) describe(out *fuse.Attr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	*out = n.attr
	out.Size = uint64(len(n.data))
	out.Blocks = (out.Size + 511) / 512
	out.Blksize = 4096
}

// changed notes that a file's content or a directory's entries are others now.
func (n *memNode) changed() {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	n.attr.SetTimes(nil, &now, &now)
}

// Getattr implements [fs.NodeGetattrer].
func (n *memNode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.describe(&out.Attr)
	return 0
}

// Setattr implements [fs.NodeSetattrer]: chmod, chown, truncate, touch. The kernel has
// checked who may.
func (n *memNode) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	e := n.set(in)
	n.describe(&out.Attr)
	return e
}

func (n *memNode) set(in *fuse.SetAttrIn) syscall.Errno {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if size, ok := in.GetSize(); ok {
		if size > maxFile {
			return syscall.EFBIG
		}
		n.resize(int(size))
		n.attr.SetTimes(nil, &now, nil)
	}
	if mode, ok := in.GetMode(); ok {
		n.attr.Mode = n.attr.Mode&syscall.S_IFMT | mode&0o7777
	}
	if uid, ok := in.GetUID(); ok {
		n.attr.Uid = uid
	}
	if gid, ok := in.GetGID(); ok {
		n.attr.Gid = gid
	}
	if atime, ok := in.GetATime(); ok {
		n.attr.SetTimes(&atime, nil, nil)
	}
	if mtime, ok := in.GetMTime(); ok {
		n.attr.SetTimes(nil, &mtime, nil)
	}
	n.attr.SetTimes(nil, nil, &now)
	return 0
}

// resize cuts the data off or fills it up with zeros.
func (n *memNode) resize(size int) {
	data := make([]byte, size)
	copy(data, n.data)
	n.data = data
}

// Mkdir implements [fs.NodeMkdirer].
func (n *memNode) Mkdir(ctx context.Context, _ string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.add(ctx, newMemNode(ctx, syscall.S_IFDIR|mode&0o7777, nil), out), 0
}

// Create implements [fs.NodeCreater].
func (n *memNode) Create(ctx context.Context, _ string, _, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	return n.add(ctx, newMemNode(ctx, syscall.S_IFREG|mode&0o7777, nil), out), nil, 0, 0
}

// Symlink implements [fs.NodeSymlinker].
func (n *memNode) Symlink(ctx context.Context, target, _ string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.add(ctx, newMemNode(ctx, syscall.S_IFLNK|0o777, []byte(target)), out), 0
}

// Readlink implements [fs.NodeReadlinker].
func (n *memNode) Readlink(context.Context) ([]byte, syscall.Errno) { return n.data, 0 }

// Rename implements [fs.NodeRenamer].
func (n *memNode) Rename(_ context.Context, _ string, to fs.InodeEmbedder, name string, flags uint32) syscall.Errno {
	dir, ok := to.(*memNode)
	if !ok {
		return syscall.EXDEV
	}
	if kid := dir.GetChild(name); kid != nil && flags&fs.RENAME_EXCHANGE == 0 && len(kid.Children()) > 0 {
		return syscall.ENOTEMPTY
	}
	n.changed()
	dir.changed()
	return 0
}

// Unlink implements [fs.NodeUnlinker].
func (n *memNode) Unlink(context.Context, string) syscall.Errno {
	n.changed()
	return 0
}

// Rmdir implements [fs.NodeRmdirer].
func (n *memNode) Rmdir(_ context.Context, name string) syscall.Errno {
	if kid := n.GetChild(name); kid != nil && len(kid.Children()) > 0 {
		return syscall.ENOTEMPTY
	}
	n.changed()
	return 0
}

// Open implements [fs.NodeOpener].
func (n *memNode) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, 0, 0
}

// Read implements [fs.NodeReader].
func (n *memNode) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if off > int64(len(n.data)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, n.data[off:])]), 0
}

// Write implements [fs.NodeWriter].
func (n *memNode) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	end := off + int64(len(data))
	if end > maxFile {
		return 0, syscall.EFBIG
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if end > int64(len(n.data)) {
		n.resize(int(end))
	}
	copy(n.data[off:], data)
	now := time.Now()
	n.attr.SetTimes(nil, &now, &now)
	return uint32(len(data)), 0
}

// Fsync implements [fs.NodeFsyncer]: there is no disk.
func (n *memNode) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno { return 0 }
