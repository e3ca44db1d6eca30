//go:build integration

package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// parityVM is the name of the VM that uses devices.
const parityVM = "parity"

// paritySide is a host: the simulated or the real one. Names are as in mdev.FS.
type paritySide interface {
	ReadFile(name string) ([]byte, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	Readlink(name string) (string, error)
	Stat(name string) (fs.FileInfo, error)
	WriteAttr(name string, data []byte) error
	OpenNode(name string) (io.Closer, error)
	use(device, group string) (release func() error, err error)
	start(name, data string) (pending, error) // a write in another process
	run(program string, args ...string) error
}

// pending is a write that may block.
type pending interface {
	done() bool
	wait() error // bounded
}

// parityRun is one case on one side.
type parityRun struct {
	side     paritySide
	board    parityBoard
	opened   map[string]io.Closer
	released map[string]func() error
	pending  map[string]pending
}

func (r *parityRun) do(s parityStep) string {
	if r.opened == nil {
		r.opened, r.released, r.pending = map[string]io.Closer{}, map[string]func() error{}, map[string]pending{}
	}
	arg := func(i int) string { return s.args[i] }
	types := "sys/class/mdev_bus/" + r.board.parent + "/mdev_supported_types/"
	switch s.op {
	case "create":
		return errnoName(r.side.WriteAttr(types+arg(0)+"/create", []byte(arg(1))))
	case "fill":
		for _, id := range s.args[1:] {
			if got := r.do(parityStep{"create", []string{arg(0), id}, "ok"}); got != "ok" {
				return got + " at " + id
			}
		}
		return "ok"
	case "remove":
		return errnoName(r.side.WriteAttr("sys/bus/mdev/devices/"+arg(0)+"/remove", []byte(arg(1))))
	case "available":
		text, err := r.side.ReadFile(types + arg(0) + "/available_instances")
		if err != nil {
			return errnoName(err)
		}
		return strings.TrimSuffix(string(text), "\n")
	case "read":
		text, err := r.side.ReadFile(arg(0))
		if err != nil {
			return errnoName(err)
		}
		return string(text)
	case "write":
		return errnoName(r.side.WriteAttr(arg(0), []byte(arg(1))))
	case "open":
		node, err := r.side.OpenNode("dev/vfio/" + r.group(arg(0)))
		if err == nil {
			r.opened[arg(0)] = node
		}
		return errnoName(err)
	case "close":
		node := r.opened[arg(0)]
		delete(r.opened, arg(0))
		return errnoName(node.Close())
	case "use":
		release, err := r.side.use(path.Base(arg(0)), r.group(arg(0)))
		if err == nil {
			r.released[arg(0)] = release
		}
		return errnoName(err)
	case "release":
		release := r.released[arg(0)]
		delete(r.released, arg(0))
		return errnoName(release())
	case "remove-blocks":
		return r.removeBlocks(arg(0))
	case "remove-ends":
		p := r.pending[arg(0)]
		delete(r.pending, arg(0))
		return errnoName(p.wait())
	case "instances":
		return r.gpuInstances(arg(0))
	case "run":
		return errnoName(r.side.run(arg(0), s.args[1:]...))
	}
	panic(s.op)
}

// removeBlocks starts a removal and waits until all is gone that goes while it
// blocks.
func (r *parityRun) removeBlocks(id string) string {
	p, err := r.side.start("sys/bus/mdev/devices/"+id+"/remove", "1")
	if err != nil {
		return errnoName(err)
	}
	r.pending[id] = p
	ghost := "sys/class/mdev_bus/" + r.board.parent + "/" + id
	for range 500 {
		entries, err := r.side.ReadDir(ghost)
		if p.done() || err != nil {
			return "ended"
		}
		if len(entries) == 1 && entries[0].Name() == "iommu_group" {
			time.Sleep(20 * time.Millisecond) // it could still end
			if p.done() {
				return "ended"
			}
			return "blocked"
		}
		time.Sleep(10 * time.Millisecond)
	}
	return "neither blocked nor ended"
}

func (r *parityRun) group(device string) string {
	target, err := r.side.Readlink(device + "iommu_group")
	if err != nil {
		return "none"
	}
	return path.Base(target)
}

// cleanUp leaves the real host without devices.
func (r *parityRun) cleanUp(t *testing.T) {
	for _, node := range r.opened {
		node.Close()
	}
	for _, release := range r.released {
		release()
	}
	for _, p := range r.pending {
		p.wait()
	}
	devices, err := r.side.ReadDir("sys/bus/mdev/devices")
	if err != nil && !errors.Is(err, syscall.ENOENT) {
		t.Error(err)
	}
	for _, d := range devices {
		if err := r.side.WriteAttr("sys/bus/mdev/devices/"+d.Name()+"/remove", []byte("1")); err != nil {
			t.Error(err)
		}
	}
	if strings.Contains(r.board.sim, "vfs=") {
		if err := r.side.run("usr/lib/nvidia/sriov-manage", "-d", "ALL"); err != nil {
			t.Error(err)
		}
	}
	for _, gpu := range []string{gpuA100, gpuPro} { // which a case may have taken out of MIG mode
		if strings.Contains(r.board.sim, gpu) {
			if err := r.side.run("usr/bin/nvidia-smi", "-i", gpu, "-mig", "1"); err != nil {
				t.Error(err)
			}
		}
	}
}

var (
	uuidPattern  = regexp.MustCompile(`^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$`)
	groupPattern = regexp.MustCompile(`(iommu_groups/|vfio/)(\d+)`)
	vfioPattern  = regexp.MustCompile(`^vfio\d+$`)
)

// ignored are entries that a kernel has or has not by its configuration.
var ignored = []string{"waiting_for_supplier", "consumers", "suppliers"}

// digest is what must be the same on both sides: the parent's types and
// devices, the mdev bus, and VFIO's groups, whose numbers are made equal.
func (r *parityRun) digest() string {
	var b bytes.Buffer
	for _, vf := range r.board.vfs {
		dir := "sys/bus/pci/devices/" + vf
		for _, below := range []string{"/nvidia", "/vfio-dev"} {
			r.tree(&b, dir+below)
		}
		r.groupOf(&b, dir)
	}
	parent := "sys/class/mdev_bus/" + r.board.parent
	if _, err := r.side.Stat(parent); err != nil || r.board.parent == "" {
		return b.String()
	}
	r.list(&b, "sys/bus/mdev")
	r.list(&b, "sys/bus/mdev/devices")
	r.list(&b, "sys/bus/mdev/drivers/"+r.board.driver)
	for _, e := range r.entries(parent + "/mdev_supported_types") {
		r.tree(&b, parent+"/mdev_supported_types/"+e.Name())
	}
	for _, e := range r.entries(parent) {
		if uuidPattern.MatchString(e.Name()) {
			r.tree(&b, parent+"/"+e.Name())
			r.groupOf(&b, parent+"/"+e.Name())
		}
	}
	return b.String()
}

// groupOf writes what VFIO made of a device.
func (r *parityRun) groupOf(b *bytes.Buffer, device string) {
	n := r.group(device + "/")
	r.tree(b, "sys/kernel/iommu_groups/"+n)
	_, classErr := r.side.Stat("sys/class/vfio/" + n)
	info, nodeErr := r.side.Stat("dev/vfio/" + n)
	fmt.Fprintf(b, "group of %s: class %s, node %s", path.Base(device), errnoName(classErr), errnoName(nodeErr))
	if nodeErr == nil {
		fmt.Fprintf(b, " %v", info.Mode())
	}
	b.WriteByte('\n')
}

func (r *parityRun) entries(dir string) []fs.DirEntry {
	entries, err := r.side.ReadDir(dir)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return slices.Contains(ignored, e.Name()) })
}

func (r *parityRun) list(b *bytes.Buffer, dir string) {
	for _, e := range r.entries(dir) {
		r.entry(b, dir, e, false)
	}
}

// tree writes a directory with what is in it; power/ is listed, not opened.
func (r *parityRun) tree(b *bytes.Buffer, dir string) {
	for _, e := range r.entries(dir) {
		r.entry(b, dir, e, true)
		if e.IsDir() && e.Name() != "power" {
			r.tree(b, dir+"/"+e.Name())
		}
	}
}

func (r *parityRun) entry(b *bytes.Buffer, dir string, e fs.DirEntry, content bool) {
	name := dir + "/" + e.Name()
	shown := groupPattern.ReplaceAllString(name, "${1}N")
	if vfioPattern.MatchString(e.Name()) {
		shown = path.Dir(shown) + "/vfioN"
	}
	shown = regexp.MustCompile(`vfio-dev/vfio\d+`).ReplaceAllString(shown, "vfio-dev/vfioN")
	switch {
	case e.Type()&fs.ModeSymlink != 0:
		target, err := r.side.Readlink(name)
		target = groupPattern.ReplaceAllString(target, "${1}N")
		if e.Name() == "module" && r.board.driver == "nvidia-vgpu-vfio" {
			target = path.Dir(target) // NVIDIA's, or a stand-in's
		}
		fmt.Fprintf(b, "%s -> %s %s\n", shown, target, errnoName(err))
	case e.IsDir():
		fmt.Fprintf(b, "%s/\n", shown)
	default:
		info, err := r.side.Stat(name)
		if err != nil {
			fmt.Fprintf(b, "%s %s\n", shown, errnoName(err))
			return
		}
		fmt.Fprintf(b, "%s %v", shown, info.Mode())
		if content && info.Mode()&0o444 != 0 {
			text, err := r.side.ReadFile(name)
			fmt.Fprintf(b, " %q %s", text, errnoName(err))
		}
		b.WriteByte('\n')
	}
}

// simSide is the simulated host.
type simSide struct{ *mdevtest.Host }

func (s *simSide) use(device, _ string) (func() error, error) {
	release, err := s.Use(device, parityVM, 4242)
	return func() error { release(); return nil }, err
}

func (s *simSide) start(name, data string) (pending, error) {
	p := &simPending{result: make(chan error, 1)}
	go func() { p.result <- s.WriteAttr(name, []byte(data)) }()
	return p, nil
}

func (s *simSide) run(program string, args ...string) error {
	_, err := s.Run(testContext, program, args...)
	if path := new(fs.PathError); errors.As(err, &path) {
		return path.Err // as a real program's status is told, without its name
	}
	return err
}

type simPending struct{ result chan error }

func (p *simPending) done() bool { return len(p.result) > 0 }

func (p *simPending) wait() error {
	select {
	case err := <-p.result:
		return err
	case <-time.After(parityPatience):
		return errors.New("still blocked")
	}
}

// TestParityDigestSeesDifferences: what TestParity compares does change with
// each thing that a host can have more or less.
func TestParityDigestSeesDifferences(t *testing.T) {
	b, err := mdevtest.NewBoard("mtty")
	require.NoError(t, err)
	r := &parityRun{side: &simSide{mdevtest.New(b)}, board: parityBoards[0]}
	empty := r.digest()
	require.Equal(t, "ok", r.do(create("mtty-1", "1", "ok")))
	one := r.digest()
	require.NotEqual(t, empty, one)
	require.Equal(t, "ok", r.do(remove("1", "1", "ok")))
	require.Equal(t, empty, r.digest())
	require.Equal(t, "ok", r.do(create("mtty-2", "1", "ok")))
	require.NotEqual(t, one, r.digest())
}
