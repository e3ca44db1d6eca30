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
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// Server is a mounted host. Any number of programs may use the mount at a
// time.
//
// Writing a line to sim/control acts on the host:
//
//	use ID VM PID            a VM opens a device
//	release ID               and closes it
//	sriov-manage -e|-d WHICH NVIDIA's program
//	nvidia-smi ...           NVIDIA's program, as far as MIG goes: see [mdevtest.Host.Run]
//	reboot
//
// and, where the host has a libvirt, on that and its VMs:
//
//	crash VM                 its QEMU dies
//	poweroff VM              its guest shuts down
//	guest VM [deaf] [ignores-sigterm] [ignores-sigkill]
//	                         how it behaves from now on; with no word: well
//	libvirtd stop|start|restart
//
// Reading it returns what the last line printed, or why it failed. ID is a UUID, or the
// address of a VF; an errno comes back from the write itself.
type Server struct {
	fuse *fuse.Server
	dir  string // absolute
	mnt  mounted
	host *mdevtest.Host

	close  sync.Once
	closed error
}

// Mount mounts a host on an empty directory; if it is not empty, Mount fails with
// ENOTEMPTY. What a simulation that was killed has left mounted there, it takes away
// first. The host's libvirt, for sim/control, may be nil.
//
// It needs root, or fusermount3. All files but those that others make in etc/, run/
// and var/ belong to whoever mounts it; what their modes do not permit to others is refused to
// them with EACCES.
func Mount(dir string, host *mdevtest.Host, libvirt *vgputest.Hypervisor) (*Server, error) {
	dir, err := vacant(dir)
	if err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	s := &Server{dir: dir, host: host}
	root := &rootNode{control: &control{host: host, libvirt: libvirt, releases: make(map[string]func())}}
	root.tree = &tree{host: host}
	options := &fs.Options{RootStableAttr: &fs.StableAttr{Ino: inode("")}}
	options.DirectMount = true
	options.FsName, options.Name = mountSource, mountName
	options.DisableXAttrs = true
	options.AllowOther = os.Geteuid() == 0
	// The kernel keeps to modes and owners, as in sysfs. Whoever mounts it is its root.
	options.Options = []string{"default_permissions"}
	options.UID, options.GID = uint32(os.Geteuid()), uint32(os.Getegid())
	// But for a few directories nothing is cached: a look is a look at the host.
	if s.fuse, err = fs.Mount(dir, root, options); err != nil {
		return nil, fmt.Errorf("mount %s: %w", dir, err)
	}
	all, err := mountedOn(dir)
	if err != nil || len(all) == 0 {
		return nil, errors.Join(fmt.Errorf("mount %s: it is not there", dir), err, s.fuse.Unmount())
	}
	s.mnt = all[len(all)-1]
	return s, nil
}

// vacant returns the directory by its one name, as the kernel tells it.
func vacant(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	above, err := filepath.EvalSymlinks(filepath.Dir(dir)) // which can be looked at whatever is mounted on dir
	if err != nil {
		return "", err
	}
	dir = filepath.Join(above, filepath.Base(dir))
	if err := clearDead(dir); err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 { // a host that is in use, or somebody's files
		err = &os.PathError{Op: "readdir", Path: dir, Err: syscall.ENOTEMPTY}
	}
	return dir, err
}

// Wait returns when the mount is gone, by Close or by umount.
func (s *Server) Wait() { s.fuse.Wait() }

// Close unmounts, whoever uses the mount. Writes that block, such as the removal of a
// device in use, fail with EIO. Whoever still has a file or directory of the mount open,
// or has a copy of the mount in another mount namespace, keeps only that: what it asks
// for fails with ENOTCONN. Close may be called more than once.
func (s *Server) Close() error {
	s.close.Do(func() {
		s.host.Fail(mdevtest.Fault{Crash: true, Err: syscall.EIO})
		_, _ = s.host.Stat("") // the access at which it crashes
		var ended bool
		if ended, s.closed = s.mnt.end(s.dir); ended {
			s.fuse.Wait()
		}
	})
	return s.closed
}
