package simfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// Server is a mounted host. Any number of programs may use the mount at a
// time.
//
// Writing a line to sim/control acts on the host:
//
//	use ID VM PID            a VM opens a device
//	release ID               and closes it
//	sriov-manage -e|-d WHICH NVIDIA's program
//	reboot
//
// Reading it returns what the last line printed. ID is a UUID, or the address
// of a VF; an errno comes back from the write itself.
type Server struct {
	fuse *fuse.Server
	dir  string
	etc  string
	host *mdevtest.Host

	close  sync.Once
	closed error
}

// Mount mounts a host on a directory. It needs root, or fusermount3. All files but
// those in etc/ belong to whoever mounts it; what their modes do not permit to
// others is refused to them with EACCES.
func Mount(dir string, host *mdevtest.Host) (*Server, error) {
	etc, err := os.MkdirTemp("", "simfs-etc-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, etc: etc, host: host}
	err = os.Chmod(etc, 0o755)
	for _, kind := range mdevctlScripts {
		err = errors.Join(err, os.MkdirAll(filepath.Join(etc, "mdevctl.d/scripts.d", kind), 0o755))
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(etc))
	}
	etcRoot, err := fs.NewLoopbackRoot(etc)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(etc))
	}
	root := &rootNode{etc: etcRoot, control: &control{host: host, releases: make(map[string]func())}}
	root.tree = &tree{host: host}
	options := &fs.Options{RootStableAttr: &fs.StableAttr{Ino: inode("")}}
	options.DirectMount = true
	options.FsName, options.Name = "vgpukit", "simulated"
	options.DisableXAttrs = true
	options.AllowOther = os.Geteuid() == 0
	// The kernel keeps to modes and owners, as in sysfs. Whoever mounts it is its root.
	options.Options = []string{"default_permissions"}
	options.UID, options.GID = uint32(os.Geteuid()), uint32(os.Getegid())
	// But for a few directories nothing is cached: a look is a look at the host.
	if s.fuse, err = fs.Mount(dir, root, options); err != nil {
		return nil, errors.Join(fmt.Errorf("mount %s: %w", dir, err), os.RemoveAll(etc))
	}
	return s, nil
}

// Wait returns when the mount is gone, by Close or by umount.
func (s *Server) Wait() { s.fuse.Wait() }

// Close unmounts. Writes that block, such as the removal of a device in use,
// fail with EIO; whoever still has a file or directory of the mount open keeps
// only that. Close may be called more than once.
func (s *Server) Close() error {
	s.close.Do(func() {
		s.host.Fail(mdevtest.Fault{Crash: true, Err: syscall.EIO})
		_, _ = s.host.Stat("") // the access at which it crashes
		err := s.fuse.Unmount()
		if err != nil {
			if err = syscall.Unmount(s.dir, syscall.MNT_DETACH); errors.Is(err, syscall.EINVAL) {
				err = nil // someone was faster
			}
		} else {
			s.fuse.Wait()
		}
		s.closed = errors.Join(err, os.RemoveAll(s.etc))
	})
	return s.closed
}
