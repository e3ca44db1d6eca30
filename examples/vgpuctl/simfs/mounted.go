package simfs

import (
	"errors"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	mountSource = "vgpukit"
	mountName   = "simulated"
)

// mounted is what is mounted on a directory.
type mounted struct {
	device string // "0:45", of one mount alone
	ours   bool   // a simulation, if not of this process
}

// mountedOn returns what is mounted on a directory, which may be dead; the last one is
// on top of the others.
func mountedOn(dir string) ([]mounted, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var all []mounted
	for line := range strings.Lines(string(table)) {
		mount, file, _ := strings.Cut(line, " - ")
		fields, kind := strings.Fields(mount), strings.Fields(file)
		if len(fields) > 4 && len(kind) > 1 && unescaped.Replace(fields[4]) == dir {
			all = append(all, mounted{fields[2], kind[0] == "fuse."+mountName && kind[1] == mountSource})
		}
	}
	return all, nil
}

// unescaped takes back what the table does to names.
var unescaped = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// end ends what a mount serves, in copies of it in other mount namespaces too, and
// frees the directory although somebody stands in it. It says whether the mount's
// server has nothing to do any more; if not, the end of its process ends it.
func (m mounted) end(dir string) (ended bool, err error) {
	_, connection, _ := strings.Cut(m.device, ":")
	ended = os.WriteFile(path.Join("/sys/fs/fuse/connections", connection, "abort"), []byte("1"), 0) == nil
	all, err := mountedOn(dir)
	switch at := slices.Index(all, m); {
	case err != nil || at < 0:
		return ended, err // someone was faster
	case at < len(all)-1:
		return ended, &os.PathError{Op: "unmount", Path: dir, Err: errors.New("something else is mounted on top")}
	}
	err = unix.Unmount(dir, unix.MNT_FORCE|unix.MNT_DETACH)
	switch {
	case errors.Is(err, syscall.EPERM): // whoever is not root has fusermount3
		return ended, exec.Command("fusermount3", "-u", "-z", dir).Run()
	case errors.Is(err, syscall.EINVAL):
		return ended, nil
	}
	return ended || err == nil, err
}

// clearDead takes a mount away whose server was killed, if it was a simulation.
func clearDead(dir string) error {
	// Unlike a directory's mode, this the kernel does not remember.
	if err := unix.Statfs(dir, new(unix.Statfs_t)); !errors.Is(err, syscall.ENOTCONN) {
		return nil
	}
	all, err := mountedOn(dir)
	if err != nil || len(all) == 0 || !all[len(all)-1].ours {
		return errors.Join(err, &os.PathError{Op: "statfs", Path: dir, Err: syscall.ENOTCONN})
	}
	_, err = all[len(all)-1].end(dir)
	return err
}
