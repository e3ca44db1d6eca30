package statedir

import (
	"errors"

	"golang.org/x/sys/unix"
)

// networkFileSystems are those that several machines may have mounted at once, by their
// type. FUSE is not among them: most of its file systems are one machine's, and its type
// does not tell which are.
var networkFileSystems = map[uint32]string{
	0x00006969: "NFS",
	0x0000517B: "SMB",
	0xFF534D42: "CIFS",
	0xFE534D42: "SMB",
	0x01021997: "9P",
	0x00C36400: "Ceph",
	0x6B414653: "AFS",
	0x5346414F: "AFS",
	0x73757245: "Coda",
	0x7461636F: "OCFS2",
	0x01161970: "GFS2",
	0x0BD00BD3: "Lustre",
	0x19830326: "BeeGFS",
	0x47504653: "GPFS",
}

// network names the network file system that the directory is on; empty: it is on none.
func (d *Dir) network() (string, error) {
	kind, err := d.FileSystem(d.path)
	if errors.Is(err, unix.ENOENT) {
		return "", nil
	}
	return networkFileSystems[uint32(kind)], err
}

func fileSystem(path string) (int64, error) {
	for {
		var stat unix.Statfs_t
		err := unix.Statfs(path, &stat)
		if !errors.Is(err, unix.EINTR) {
			return int64(stat.Type), err
		}
	}
}
