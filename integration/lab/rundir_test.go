package lab

import (
	"path/filepath"
	"testing"
	"time"
)

// A killed lab's directory is removed by a later one; a living lab's, and one that is just
// being made, are not.
func TestRunDirsOfKilledLabs(t *testing.T) {
	tmp := t.TempDir()
	living, lock, err := runDir(tmp)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	killed, lock, err := runDir(tmp)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	removeRunDirs(tmp, time.Now().Add(-time.Hour))
	if !exists(killed) {
		t.Error("a new directory was removed")
	}
	removeRunDirs(tmp, time.Now().Add(time.Hour))
	if exists(killed) || !exists(living) {
		left, _ := filepath.Glob(filepath.Join(tmp, "*"))
		t.Errorf("left: %v, living %s, killed %s", left, living, killed)
	}
}
