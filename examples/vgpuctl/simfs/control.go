package simfs

import (
	"context"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/vgpukit/vgpukit/mdev/mdevtest"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// programs are stand-ins for NVIDIA's, which find the control file from their own places.
var programs = map[string]string{
	"usr/lib/nvidia/sriov-manage": program("sriov-manage", "../../.."),
	"usr/bin/nvidia-smi":          program("nvidia-smi", "../.."),
}

func program(name, top string) string {
	return `#!/bin/sh
control=${0%/*}/` + top + `/sim/control
echo "` + name + ` $*" 2>/dev/null >"$control"; status=$?; cat "$control"; exit $status
`
}

// rootNode is the top of the mount: the host's tree, and what is the mount's
// own.
type rootNode struct {
	node
	control *control
}

var _ gofs.NodeOnAdder = (*rootNode)(nil)

// OnAdd implements [gofs.NodeOnAdder].
func (r *rootNode) OnAdd(ctx context.Context) {
	own := func() gofs.InodeEmbedder { return &gofs.Inode{} }
	memory := func() gofs.InodeEmbedder { return newMemNode(ctx, syscall.S_IFDIR|0o755, nil) }
	sim := r.dir(ctx, "sim", own)
	sim.AddChild("control", r.NewPersistentInode(ctx, r.control, gofs.StableAttr{Mode: syscall.S_IFREG, Ino: inode("sim/control")}), true)
	for name, text := range programs {
		file := &gofs.MemRegularFile{Data: []byte(text), Attr: fuse.Attr{Mode: 0o555}}
		r.dir(ctx, path.Dir(name), own).AddChild(path.Base(name), r.NewPersistentInode(ctx, file, gofs.StableAttr{Mode: syscall.S_IFREG}), true)
	}
	for _, kind := range []string{"callouts", "notifiers"} { // without which mdevctl refuses to run
		r.dir(ctx, "usr/lib/mdevctl/scripts.d/"+kind, own)
		r.dir(ctx, "etc/mdevctl.d/scripts.d/"+kind, memory)
	}
	if id, err := r.host.ReadFile("etc/machine-id"); err == nil {
		file := r.NewPersistentInode(ctx, newMemNode(ctx, syscall.S_IFREG|0o444, id), gofs.StableAttr{Mode: syscall.S_IFREG})
		r.dir(ctx, "etc", memory).AddChild("machine-id", file, true)
	}
	r.dir(ctx, "run", memory)
	r.dir(ctx, "var/lib", memory)
}

// dir returns a directory of the mount's own, made when it is not there.
func (r *rootNode) dir(ctx context.Context, path string, made func() gofs.InodeEmbedder) *gofs.Inode {
	n := r.EmbeddedInode()
	done := ""
	for name := range strings.SplitSeq(path, "/") {
		done += "/" + name
		kid := n.GetChild(name)
		if kid == nil {
			kid = r.NewPersistentInode(ctx, made(), gofs.StableAttr{Mode: syscall.S_IFDIR, Ino: inode(done)})
			n.AddChild(name, kid, true)
		}
		n = kid
	}
	return n
}

// Lookup implements [gofs.NodeLookuper].
func (r *rootNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if own := r.own(name); own != nil {
		out.Mode = syscall.S_IFDIR | 0o755
		return own, 0
	}
	return r.node.Lookup(ctx, name, out)
}

func (r *rootNode) own(name string) *gofs.Inode {
	switch name {
	case "etc", "run", "sim", "usr", "var":
		return r.GetChild(name)
	}
	return nil
}

// Readdir implements [gofs.NodeReaddirer].
func (r *rootNode) Readdir(context.Context) (gofs.DirStream, syscall.Errno) {
	var list []fuse.DirEntry
	for _, name := range []string{"dev", "etc", "proc", "run", "sim", "sys", "usr", "var"} {
		list = append(list, fuse.DirEntry{Name: name, Mode: syscall.S_IFDIR, Ino: inode(name)})
	}
	return gofs.NewListDirStream(list), 0
}

// control is the file sim/control.
type control struct {
	gofs.Inode
	host    *mdevtest.Host
	libvirt *vgputest.Hypervisor // nil: none

	mu       sync.Mutex
	releases map[string]func()
	output   []byte
}

var (
	_ gofs.NodeGetattrer = (*control)(nil)
	_ gofs.NodeSetattrer = (*control)(nil)
	_ gofs.NodeOpener    = (*control)(nil)
	_ gofs.NodeReader    = (*control)(nil)
	_ gofs.NodeWriter    = (*control)(nil)
)

// Getattr implements [gofs.NodeGetattrer].
func (c *control) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	attributes(fs.FileMode(0o600), 4096, &out.Attr)
	return 0
}

// Setattr implements [gofs.NodeSetattrer].
func (c *control) Setattr(ctx context.Context, f gofs.FileHandle, _ *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return c.Getattr(ctx, f, out)
}

// Open implements [gofs.NodeOpener].
func (c *control) Open(context.Context, uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

// Read implements [gofs.NodeReader].
func (c *control) Read(_ context.Context, _ gofs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return read(c.output, dest, off), 0
}

// Write implements [gofs.NodeWriter].
func (c *control) Write(ctx context.Context, _ gofs.FileHandle, data []byte, _ int64) (uint32, syscall.Errno) {
	output, err := c.run(ctx, strings.Fields(string(data)))
	if err != nil && len(output) == 0 {
		output = []byte(err.Error() + "\n")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.output = output
	return uint32(len(data)), errno(libvirtErrno(err))
}

func (c *control) run(ctx context.Context, words []string) ([]byte, error) {
	switch {
	case len(words) == 4 && words[0] == "use":
		pid, err := strconv.Atoi(words[3])
		if err != nil || pid < 1 {
			return nil, syscall.EINVAL
		}
		release, err := c.host.Use(words[1], words[2], pid)
		if err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.releases[strings.ToLower(words[1])] = release
		}
		return nil, err
	case len(words) == 2 && words[0] == "release":
		c.mu.Lock()
		defer c.mu.Unlock()
		release := c.releases[strings.ToLower(words[1])]
		if release == nil {
			return nil, syscall.ENOENT
		}
		delete(c.releases, strings.ToLower(words[1]))
		release()
		return nil, nil
	case len(words) == 3 && words[0] == "sriov-manage":
		return c.host.Run(ctx, "usr/lib/nvidia/sriov-manage", words[1:]...)
	case len(words) > 1 && words[0] == "nvidia-smi":
		return c.host.Run(ctx, "usr/bin/nvidia-smi", words[1:]...)
	case len(words) == 1 && words[0] == "reboot":
		c.host.Reboot()
		return nil, nil
	}
	return nil, c.befall(ctx, words)
}
