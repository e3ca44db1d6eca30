package lab

import (
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const runDirPrefix = "vgpukit-lab-"

// runDir makes a directory for one machine's files in tmp, and locks it for as long as the
// machine lives. It takes the occasion to remove the directories of labs that were killed.
func runDir(tmp string) (string, *os.File, error) {
	removeRunDirs(tmp, time.Now().Add(-time.Minute))
	dir, err := os.MkdirTemp(tmp, runDirPrefix)
	if err != nil {
		return "", nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		os.Remove(dir)
		return "", nil, err
	}
	return dir, lock, nil
}

// removeRunDirs removes what killed labs left. A directory made after the given time may
// belong to a lab that has yet to lock it.
func removeRunDirs(tmp string, madeBefore time.Time) {
	found, err := filepath.Glob(filepath.Join(tmp, runDirPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range found {
		info, err := os.Stat(dir)
		if err != nil || info.ModTime().After(madeBefore) {
			continue
		}
		if lock, err := lockDir(dir); err == nil {
			os.RemoveAll(dir) // what resists is somebody else's
			lock.Close()
		}
	}
}

func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
