package mdevtest

import (
	"context"
	"io"
	"io/fs"
	"strings"
	"sync"
	"syscall"

	"github.com/vgpukit/vgpukit/mdev"
)

// pageSize is the most that one write to an attribute takes.
const pageSize = 4096

var (
	_ mdev.FS      = (*Host)(nil)
	_ mdev.StoreFS = (*Host)(nil)
	_ mdev.RunFS   = (*Host)(nil)
	_ mdev.WatchFS = (*Host)(nil)
	_ mdev.ProbeFS = (*Host)(nil)
	_ mdev.BindFS  = (*Host)(nil)
)

// ReadFile implements [mdev.FS].
func (h *Host) ReadFile(name string) ([]byte, error) {
	var content string
	err := h.access(OpRead, name, "", func() effect {
		n, err := h.walk(name, true)
		switch {
		case err != nil:
		case n.isDir():
			err = syscall.EISDIR
		case !n.mode.IsRegular():
			err = syscall.EINVAL // a VFIO group has no read
		case n.read == nil:
			err = syscall.EACCES // sysfs refuses root too
		default:
			content, err = n.read()
		}
		return failed(err)
	})
	if err != nil {
		return nil, err
	}
	return []byte(content), nil
}

// ReadDir implements [mdev.FS].
func (h *Host) ReadDir(name string) ([]fs.DirEntry, error) {
	var entries []fs.DirEntry
	err := h.access(OpReadDir, name, "", func() effect {
		n, err := h.walk(name, true)
		if err == nil && !n.isDir() {
			err = syscall.ENOTDIR
		}
		if err == nil {
			entries = n.list()
		}
		return failed(err)
	})
	return entries, err
}

// Readlink implements [mdev.FS].
func (h *Host) Readlink(name string) (string, error) {
	var target string
	err := h.access(OpReadlink, name, "", func() effect {
		n, err := h.walk(name, false)
		if err == nil && n.mode&fs.ModeSymlink == 0 {
			err = syscall.EINVAL
		}
		if err == nil {
			target = n.target
		}
		return failed(err)
	})
	return target, err
}

// Stat implements [mdev.FS].
func (h *Host) Stat(name string) (fs.FileInfo, error) {
	var info fs.FileInfo
	err := h.access(OpStat, name, "", func() effect {
		n, err := h.walk(name, true)
		if err == nil {
			info = n.info()
		}
		return failed(err)
	})
	return info, err
}

// WriteAttr implements [mdev.FS].
func (h *Host) WriteAttr(name string, data []byte) error {
	return h.access(OpWrite, name, string(data), func() effect {
		n, err := h.walk(name, true)
		switch {
		case err != nil:
			return failed(err)
		case n.isDir():
			return failed(syscall.EISDIR)
		case !n.mode.IsRegular():
			return failed(syscall.EINVAL)
		case h.readOnly && strings.HasPrefix(n.path(), "sys/"):
			return failed(syscall.EROFS)
		case n.write == nil:
			return failed(syscall.EACCES)
		case len(data) == 0:
			return effect{} // the driver is not asked
		case len(data) > pageSize:
			done := n.write(string(data[:pageSize]))
			if done.err == nil {
				done.err = io.ErrShortWrite
			}
			return done
		}
		return n.write(string(data))
	})
}

// OpenNode implements [mdev.FS].
func (h *Host) OpenNode(name string) (io.Closer, error) {
	var handle *openNode
	err := h.access(OpOpen, name, "", func() effect {
		n, err := h.walk(name, true)
		switch {
		case err != nil:
		case n.isDir():
			err = syscall.EISDIR
		case n.open == nil:
			err = syscall.EACCES
		default:
			var release func()
			if release, err = n.open(); err == nil {
				handle = &openNode{host: h}
				h.open[handle] = release
			}
		}
		return failed(err)
	})
	if err != nil {
		return nil, err
	}
	return handle, nil
}

type openNode struct {
	host *Host
	once sync.Once
}

func (o *openNode) Close() error {
	err := fs.ErrClosed
	o.once.Do(func() {
		err = nil
		o.host.mu.Lock()
		defer o.host.mu.Unlock()
		if release, ok := o.host.open[o]; ok {
			delete(o.host.open, o)
			release()
		}
	})
	return err
}

// WriteFile implements [mdev.StoreFS]: plain files, everywhere but in sys/,
// dev/ and proc/.
func (h *Host) WriteFile(name string, data []byte, perm fs.FileMode) error {
	return h.access(OpStore, name, string(data), func() effect {
		dir, base, err := h.storeDir(name, true)
		if err != nil {
			return failed(err)
		}
		if old := dir.entries()[base]; old != nil && old.isDir() {
			return failed(syscall.EISDIR)
		}
		h.disk(dir, base, string(data), perm.Perm())
		return effect{}
	})
}

// disk adds a file of a disk, which takes what is written to it.
func (h *Host) disk(dir *node, name, content string, perm fs.FileMode) {
	f := h.text(dir, name, content)
	f.mode = perm
	f.write = func(data string) effect {
		f.read = func() (string, error) { return data, nil }
		return effect{}
	}
}

// RemoveFile implements [mdev.StoreFS].
func (h *Host) RemoveFile(name string) error {
	return h.access(OpStore, name, "", func() effect {
		dir, base, err := h.storeDir(name, false)
		if err != nil {
			return failed(err)
		}
		switch n := dir.entries()[base]; {
		case n == nil:
			return failed(syscall.ENOENT)
		case n.isDir():
			return failed(syscall.EISDIR)
		}
		dir.drop(base)
		return effect{}
	})
}

func (h *Host) storeDir(name string, create bool) (dir *node, base string, err error) {
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
	if len(parts) == 0 {
		return nil, "", syscall.EISDIR
	}
	switch parts[0] {
	case "sys", "dev", "proc":
		return nil, "", syscall.EACCES
	}
	dir = h.root
	for _, part := range parts[:len(parts)-1] {
		kid := dir.entries()[part]
		switch {
		case kid == nil && !create:
			return nil, "", syscall.ENOENT
		case kid == nil:
			kid = h.newNode(dir, part, fs.ModeDir|0o755)
		case !kid.isDir():
			return nil, "", syscall.ENOTDIR
		}
		dir = kid
	}
	return dir, parts[len(parts)-1], nil
}

// Run implements [mdev.RunFS] for two programs of NVIDIA's.
//
// usr/lib/nvidia/sriov-manage is there when a board has virtual functions: -e or -d, and
// a PCI address or ALL. As the real one does, it exits with success although VFs could not
// be enabled when something still uses the GPU, and says so only in its output.
//
// usr/bin/nvidia-smi is there with a board of NVIDIA's, and does what an operator does to
// MIG: -i GPU -mig 0|1, and mig -i GPU with -lgip, -lgi, -cgi PROFILE or -dgi -gi ID.
func (h *Host) Run(ctx context.Context, name string, args ...string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var out string
	err := h.access(OpRun, name, strings.Join(args, " "), func() effect {
		if _, err := h.walk(name, true); err != nil {
			return failed(err)
		}
		switch strings.Trim(name, "/") {
		case nvidiaSMI:
			var err error
			out, err = h.runNVIDIASMI(args)
			return failed(err)
		case sriovManage:
		default:
			return failed(syscall.EACCES)
		}
		if len(args) != 2 || args[0] != "-e" && args[0] != "-d" {
			out = "usage: sriov-manage <-e|-d> <BDF|ALL>\n"
			return failed(errExit)
		}
		out = h.runSRIOVManage(args[0] == "-e", args[1])
		return effect{}
	})
	return []byte(out), err
}
