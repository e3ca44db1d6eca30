package mdev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// tree is a sysfs of plain files, for what package mdevtest's boards do not
// do: wrong content, and faults at one place. Its create and remove files do
// what the mdev core does and no more.
type tree struct {
	*osFS
	t    testing.TB
	root string

	mu       sync.Mutex
	writes   []string
	fail     map[string][]error // by name of the file: the next results of a write
	busy     map[string]bool    // device nodes that are held
	halfMade bool
}

// contextSoon ends soon.
func contextSoon(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), 50*time.Millisecond)
}

func newTree(t testing.TB) *tree {
	root := t.TempDir()
	return &tree{osFS: newOSFS(root), t: t, root: root, fail: map[string][]error{}, busy: map[string]bool{}}
}

func (f *tree) host() *Host {
	h, err := Open(Config{FS: f})
	require.NoError(f.t, err)
	return h
}

func (f *tree) file(name, content string) {
	full := filepath.Join(f.root, name)
	require.NoError(f.t, os.MkdirAll(filepath.Dir(full), 0o755))
	require.NoError(f.t, os.WriteFile(full, []byte(content), 0o644))
}

func (f *tree) link(name, target string) {
	full := filepath.Join(f.root, name)
	require.NoError(f.t, os.MkdirAll(filepath.Dir(full), 0o755))
	rel, err := filepath.Rel(filepath.Dir(name), target)
	require.NoError(f.t, err)
	require.NoError(f.t, os.Symlink(rel, full))
}

// parent makes a parent of the mdev framework with types "id name" that have
// n instances each, and returns its path.
func (f *tree) parent(where string, n int, types ...string) string {
	name := filepath.Base(where)
	f.link("sys/class/mdev_bus/"+name, where)
	require.NoError(f.t, os.MkdirAll(filepath.Join(f.root, mdevDevicesDir), 0o755))
	for _, t := range types {
		id, label, _ := strings.Cut(t, " ")
		dir := where + "/mdev_supported_types/" + id
		f.file(dir+"/name", label+"\n")
		f.file(dir+"/device_api", "vfio-pci\n")
		f.file(dir+"/available_instances", fmt.Sprintln(n))
		f.file(dir+"/create", "")
		require.NoError(f.t, os.MkdirAll(filepath.Join(f.root, dir, "devices"), 0o755))
	}
	return where
}

func (f *tree) WriteAttr(name string, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	value := strings.TrimSuffix(string(data), "\n")
	f.writes = append(f.writes, filepath.Base(name)+"="+value)
	if faults := f.fail[filepath.Base(name)]; len(faults) > 0 {
		f.fail[filepath.Base(name)] = faults[1:]
		if faults[0] != nil {
			return &fs.PathError{Op: "write", Path: name, Err: faults[0]}
		}
	}
	switch filepath.Base(name) {
	case "create":
		return f.make(filepath.Dir(name), value)
	case "remove":
		return f.unmake(filepath.Dir(name))
	}
	return f.osFS.WriteAttr(name, data)
}

func (f *tree) make(typeDir, id string) error {
	parent := filepath.Dir(filepath.Dir(typeDir))
	dev := parent + "/" + id
	if _, err := uuid.Parse(id); err != nil {
		return syscall.EINVAL
	}
	if _, err := f.Stat(dev); err == nil {
		return syscall.EEXIST
	}
	if f.add(typeDir, -1) != nil {
		return syscall.ENOSPC
	}
	f.file(dev+"/remove", "")
	f.link(mdevDevicesDir+"/"+id, dev)
	if f.halfMade {
		return nil
	}
	f.link(dev+"/mdev_type", typeDir)
	f.link(dev+"/iommu_group", "sys/kernel/iommu_groups/7")
	f.link(typeDir+"/devices/"+id, dev)
	f.file("dev/vfio/7", "")
	return nil
}

func (f *tree) unmake(dev string) error {
	if target, err := f.Readlink(dev + "/mdev_type"); err == nil {
		typeDir := filepath.Join(dev, target)
		require.NoError(f.t, os.Remove(filepath.Join(f.root, typeDir, "devices", filepath.Base(dev))))
		if err := f.add(typeDir, 1); err != nil {
			return err
		}
	}
	require.NoError(f.t, os.Remove(filepath.Join(f.root, mdevDevicesDir, filepath.Base(dev))))
	return os.RemoveAll(filepath.Join(f.root, dev))
}

func (f *tree) add(typeDir string, n int) error {
	data, err := f.ReadFile(typeDir + "/available_instances")
	require.NoError(f.t, err)
	free, _ := parseCount(strings.TrimSpace(string(data)))
	if free+n < 0 {
		return errors.New("none left")
	}
	f.file(typeDir+"/available_instances", fmt.Sprintln(free+n))
	return nil
}

func (f *tree) OpenNode(name string) (io.Closer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy[name] {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EBUSY}
	}
	return f.osFS.OpenNode(name)
}

// relink points a link at a target as it is written, such as an absolute one.
func relink(f *tree, name, target string) {
	full := filepath.Join(f.root, name)
	require.NoError(f.t, os.Remove(full))
	require.NoError(f.t, os.Symlink(target, full))
}
