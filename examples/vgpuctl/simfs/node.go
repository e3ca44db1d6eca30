package simfs

import (
	"context"
	"errors"
	"hash/fnv"
	"io"
	iofs "io/fs"
	"path"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// tree is what all nodes share.
type tree struct{ host *mdevtest.Host }

// node is one name of the host's tree; what is behind the name, the host is
// asked each time.
type node struct {
	fs.Inode
	*tree
	path string
}

var (
	_ fs.NodeLookuper   = (*node)(nil)
	_ fs.NodeGetattrer  = (*node)(nil)
	_ fs.NodeSetattrer  = (*node)(nil)
	_ fs.NodeReaddirer  = (*node)(nil)
	_ fs.NodeReadlinker = (*node)(nil)
	_ fs.NodeOpener     = (*node)(nil)
	_ fs.NodeCreater    = (*node)(nil)
)

// openFlags: no page cache, and nobody to tell of a close.
const openFlags = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH

// inode makes a number of a name, so that the kernel knows it again.
func inode(path string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, path)
	return h.Sum64()
}

// errno returns what the host said, for the kernel.
func errno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	e := syscall.EIO // of a program that failed
	errors.As(err, &e)
	return e
}

// lstat returns what is at a name, links not followed.
func (t *tree) lstat(name string) (iofs.FileMode, int, syscall.Errno) {
	target, err := t.host.Readlink(name)
	if err == nil {
		return iofs.ModeSymlink | 0o777, len(target), 0
	}
	if e := errno(err); e != syscall.EINVAL {
		return 0, 0, e
	}
	info, err := t.host.Stat(name)
	if err != nil {
		return 0, 0, errno(err)
	}
	return info.Mode(), int(info.Size()), 0
}

// permanent are directories that are there as long as the mount is: these
// names alone the kernel may remember.
var permanent = map[string]bool{
	"dev": true, "dev/vfio": true, "proc": true, "sys": true, "sys/bus": true, "sys/bus/pci": true, "sys/bus/pci/devices": true,
	"sys/class": true, "sys/devices": true, "sys/kernel": true, "sys/kernel/iommu_groups": true,
}

// lasting is how long the kernel may remember what never changes.
const lasting = 24 * time.Hour

// kind is the type of a file as the kernel is told: device nodes are files.
func kind(mode iofs.FileMode) uint32 {
	switch {
	case mode.IsDir():
		return syscall.S_IFDIR
	case mode&iofs.ModeSymlink != 0:
		return syscall.S_IFLNK
	}
	return syscall.S_IFREG
}

func attributes(mode iofs.FileMode, size int, out *fuse.Attr) {
	out.Mode = kind(mode) | uint32(mode.Perm())
	out.Nlink = 1
	if mode.IsDir() {
		out.Nlink = 2
	}
	out.Size = uint64(size)
	out.Blksize = 4096
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	below := path.Join(n.path, name)
	mode, size, e := n.lstat(below)
	if e != 0 {
		return nil, e
	}
	attributes(mode, size, &out.Attr)
	out.SetAttrTimeout(lasting) // a name's mode and owner; whether it is there is asked each time
	if permanent[below] {
		out.SetEntryTimeout(lasting)
	}
	return n.NewInode(ctx, &node{tree: n.tree, path: below}, fs.StableAttr{Mode: kind(mode), Ino: inode(below)}), 0
}

func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	mode, size, e := n.lstat(n.path)
	if e == 0 {
		attributes(mode, size, &out.Attr)
		out.SetTimeout(lasting)
	}
	return e
}

// Setattr accepts what a shell's ">" does, a truncation, and nothing else.
func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	const allowed = fuse.FATTR_SIZE | fuse.FATTR_FH | fuse.FATTR_LOCKOWNER | fuse.FATTR_KILL_SUIDGID
	if in.Valid&^allowed != 0 {
		return syscall.EPERM
	}
	return n.Getattr(ctx, f, out)
}

func (n *node) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	entries, err := n.host.ReadDir(n.path)
	if err != nil {
		return nil, errno(err)
	}
	list := make([]fuse.DirEntry, len(entries))
	for i, entry := range entries {
		list[i] = fuse.DirEntry{Name: entry.Name(), Mode: kind(entry.Type()), Ino: inode(path.Join(n.path, entry.Name()))}
	}
	return fs.NewListDirStream(list), 0
}

func (n *node) Readlink(context.Context) ([]byte, syscall.Errno) {
	target, err := n.host.Readlink(n.path)
	return []byte(target), errno(err)
}

// Create is asked for names that do not exist: sysfs has no new files.
func (n *node) Create(context.Context, string, uint32, uint32, *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, syscall.EACCES
}

func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	mode, _, e := n.lstat(n.path)
	if e != 0 {
		return nil, 0, e
	}
	if mode&iofs.ModeDevice != 0 {
		closer, err := n.host.OpenNode(n.path)
		if err != nil {
			return nil, 0, errno(err)
		}
		return &deviceNode{closer}, openFlags, 0
	}
	access := flags & syscall.O_ACCMODE
	reads, writes := access != syscall.O_WRONLY, access != syscall.O_RDONLY
	if reads && mode&0o444 == 0 || writes && mode&0o222 == 0 {
		return nil, 0, syscall.EACCES // for root too, as sysfs does
	}
	return &attribute{tree: n.tree, path: n.path}, openFlags, 0
}
