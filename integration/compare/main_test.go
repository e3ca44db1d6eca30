// Package compare times the library against its peers, in one run: on a plain
// directory tree of 10,240 types, and on a simulated host that is mounted. Its
// benchmarks need root, since the peers know no place but /sys: each tree is bound
// over it in a mount namespace of its own.
package compare

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/vgpukit/vgpukit/examples/vgpuctl/simfs"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

// The host: 8 GPUs with 32 virtual functions each; the planted ones have 40 types.
const gpus, vfs, types = 8, 32, 40

// The environment of a program that runs on a tree.
const (
	treeAt   = "VGPUKIT_COMPARE_TREE" // what is bound over /sys
	treeKind = "VGPUKIT_COMPARE_KIND" // "plain" or "mounted"
)

// TestMain makes each tree and runs the program again where it is /sys.
func TestMain(m *testing.M) {
	if tree := os.Getenv(treeAt); tree != "" {
		if err := bindOverSys(tree + "/sys"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	made, err := makeDirs(mdevctlDirs)
	err = errors.Join(err, onPlain(), onMounted(), removeDirs(made))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// bindOverSys puts a tree in the place of /sys for this mount namespace only.
func bindOverSys(tree string) error {
	if err := unix.Mount(tree, "/sys", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s over /sys, which needs root: %w", tree, err)
	}
	return nil
}

// mdevctlDirs are the directories that mdevctl does not start without, and that its package
// brings; here it is only unpacked.
var mdevctlDirs = []string{
	"/etc/mdevctl.d/scripts.d/callouts", "/etc/mdevctl.d/scripts.d/notifiers",
	"/usr/lib/mdevctl/scripts.d/callouts", "/usr/lib/mdevctl/scripts.d/notifiers",
}

// makeDirs makes the directories that are missing, and returns those, parents first.
func makeDirs(dirs []string) (made []string, err error) {
	for _, dir := range dirs {
		var missing []string
		for at := dir; ; at = filepath.Dir(at) {
			if _, err := os.Stat(at); err == nil {
				break
			}
			missing = append(missing, at)
		}
		for _, dir := range slices.Backward(missing) {
			if err := os.Mkdir(dir, 0o755); err != nil {
				return made, fmt.Errorf("make what mdevctl needs: %w", err)
			}
			made = append(made, dir)
		}
	}
	return made, nil
}

// removeDirs removes them again, unless somebody has put something there.
func removeDirs(made []string) error {
	for _, dir := range slices.Backward(made) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
	}
	return nil
}

func onPlain() error {
	tree, err := os.MkdirTemp("", "vgpukit-compare")
	if err != nil {
		return err
	}
	return errors.Join(plant(tree), again(tree, "plain"), os.RemoveAll(tree))
}

func onMounted() error {
	host := mdevtest.New()
	for range gpus {
		board, err := mdevtest.NewBoard(fmt.Sprintf("a40,vfs=%d", vfs))
		if err == nil {
			err = host.Plug(board)
		}
		if err != nil {
			return err
		}
	}
	tree, err := os.MkdirTemp("", "vgpukit-compare")
	if err != nil {
		return err
	}
	defer os.Remove(tree)
	server, err := simfs.Mount(tree, host, nil)
	if err != nil {
		return err
	}
	return errors.Join(again(tree, "mounted"), server.Close())
}

// again runs this program in a mount namespace of its own.
func again(tree, kind string) error {
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), treeAt+"="+tree, treeKind+"="+kind)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	switch err := cmd.Run(); {
	case errors.Is(err, unix.EINVAL): // to keep its mounts to itself, / has to be one
		return fmt.Errorf("on the %s tree: the root directory is no mount point, as in a plain chroot: mount it on itself (mount --bind DIR DIR) before chroot: %w", kind, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("on the %s tree: a mount namespace of its own needs root: %w", kind, err)
	case err != nil:
		return fmt.Errorf("on the %s tree, of which the lines above say what failed: %w", kind, err)
	}
	return nil
}

// plant writes a plain tree with all that any of the contestants reads.
func plant(root string) (err error) {
	check := func(e error) {
		if err == nil {
			err = e
		}
	}
	dir := func(name string) { check(os.MkdirAll(filepath.Join(root, name), 0o755)) }
	file := func(name, content string) { check(os.WriteFile(filepath.Join(root, name), []byte(content), 0o644)) }
	link := func(name, target string) {
		dir(filepath.Dir(name))
		rel, err := filepath.Rel(filepath.Dir(name), target)
		check(err)
		check(os.Symlink(rel, filepath.Join(root, name)))
	}
	dir("sys/class/mdev_bus")
	dir("sys/bus/mdev/devices")
	dir("sys/bus/pci/drivers/nvidia")
	resource := strings.Repeat("0x0000000000000000 0x0000000000000000 0x0000000000000000\n", 13)
	config := "\xde\x10\x35\x22\x06\x04\x10\x00\xa1\x00\x02\x03" + strings.Repeat("\x00", 244)
	for gpu := range gpus {
		function := func(n int) string { return fmt.Sprintf("0000:%02x:%02x.%x", 0x40+gpu, n/8, n%8) }
		where := func(n int) string { return fmt.Sprintf("sys/devices/pci0000:%02x/%s", 0x40+gpu, function(n)) }
		for n := range vfs + 1 {
			at := where(n)
			dir(at)
			for name, content := range map[string]string{
				"vendor": "0x10de\n", "device": "0x2235\n", "class": "0x030200\n", "numa_node": fmt.Sprintln(gpu % 2),
				"config": config, "resource": resource, "subsystem_vendor": "0x10de\n", "subsystem_device": "0x145a\n",
			} {
				file(at+"/"+name, content)
			}
			link(at+"/driver", "sys/bus/pci/drivers/nvidia")
			dir(fmt.Sprintf("%s/vfio-dev/vfio%d", at, gpu*64+n))
			dir(fmt.Sprintf("sys/kernel/iommu_groups/%d", gpu*64+n))
			link(at+"/iommu_group", fmt.Sprintf("sys/kernel/iommu_groups/%d", gpu*64+n))
			link("sys/bus/pci/devices/"+function(n), at)
			if n == 0 {
				file(at+"/sriov_totalvfs", fmt.Sprintln(vfs))
				file(at+"/sriov_numvfs", fmt.Sprintln(vfs))
				continue
			}
			link(at+"/physfn", where(0))
			link(fmt.Sprintf("%s/virtfn%d", where(0), n-1), at)
			link("sys/class/mdev_bus/"+function(n), at)
			for t := range types {
				typ := fmt.Sprintf("%s/mdev_supported_types/nvidia-%d", at, 555+t)
				dir(typ + "/devices")
				file(typ+"/name", fmt.Sprintf("NVIDIA A40-%dQ\n", t+1))
				file(typ+"/device_api", "vfio-pci\n")
				file(typ+"/available_instances", "1\n")
				file(typ+"/description", fmt.Sprintf("num_heads=4, frl_config=60, framebuffer=%dM, max_resolution=7680x4320, max_instance=%d\n", 1024*(t+1), 48/(t+1)))
				file(typ+"/create", "")
			}
		}
	}
	return err
}
