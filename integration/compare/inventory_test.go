// Package compare times the library against its peers, in one run on one tree.
// Its benchmarks need root: they mount a plain directory tree over /sys, in a
// mount namespace of their own, because the peers know no other place.
package compare

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/NVIDIA/go-nvlib/pkg/nvmdev"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/vgpukit/vgpukit/mdev"
)

// The host: 8 GPUs with 32 virtual functions each, of 40 types each.
const (
	gpus, vfs, types = 8, 32, 40
	inNamespace      = "VGPUKIT_COMPARE_TREE"
	// mounted names a directory where `vgpuctl simulate` has mounted a host with
	// VFs as parents, to be used instead of the planted tree.
	mounted = "VGPUKIT_COMPARE_MOUNT"
)

// TestMain plants the tree and runs the program again where it is /sys.
func TestMain(m *testing.M) {
	if err := prepare(m); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func prepare(m *testing.M) error {
	if tree := os.Getenv(inNamespace); tree != "" {
		if err := unix.Mount(tree+"/sys", "/sys", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mount the tree over /sys, which needs root: %w", err)
		}
		os.Exit(m.Run())
	}
	tree, err := os.Getenv(mounted), error(nil)
	if tree == "" {
		if tree, err = os.MkdirTemp("", "vgpukit-compare"); err == nil {
			err = plant(tree)
		}
		defer os.RemoveAll(tree)
	}
	if err == nil {
		again := exec.Command(os.Args[0], os.Args[1:]...)
		again.Env = append(os.Environ(), inNamespace+"="+tree)
		again.Stdout, again.Stderr = os.Stdout, os.Stderr
		again.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		err = again.Run()
	}
	return err
}

// plant writes the tree with all that any of the contestants reads.
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

// BenchmarkInventory reads parents, all types and devices.
func BenchmarkInventory(b *testing.B) {
	host, err := mdev.Open(mdev.Config{})
	require.NoError(b, err)
	inv, err := host.Inventory(b.Context())
	require.NoError(b, err)
	require.Len(b, inv.GPUs, gpus)
	require.Len(b, inv.GPUs[gpus-1].Parents, vfs)
	types := inv.GPUs[gpus-1].Parents[vfs-1].Types
	b.Logf("%d types", gpus*vfs*len(types))
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			again, err := host.Inventory(b.Context())
			require.NoError(b, err)
			require.Len(b, again.GPUs[gpus-1].Parents[vfs-1].Types, len(types))
		}
	})
	b.Run("go-nvlib", func(b *testing.B) {
		peer := nvmdev.New()
		b.ReportAllocs()
		for b.Loop() {
			parents, err := peer.GetAllParentDevices()
			require.NoError(b, err)
			require.Len(b, parents, gpus*vfs)
			for _, p := range parents {
				for _, t := range types { // it knows the last word of a type's name
					n, err := p.GetAvailableMDEVInstances(t.Name[strings.LastIndexByte(t.Name, ' ')+1:])
					require.NoError(b, err)
					require.Equal(b, 1, n)
				}
			}
			_, err = peer.GetAllDevices()
			require.NoError(b, err)
		}
	})
	b.Run("mdevctl", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			out, err := exec.Command("mdevctl", "types", "--dumpjson").Output()
			require.NoError(b, err)
			require.Equal(b, gpus*vfs*len(types), strings.Count(string(out), `"nvidia-`))
		}
	})
	b.Run("system calls", bareCalls)
}

// bareCalls opens, reads and closes each file of every type and parent, and lists
// the directories: the least that a reader of all of them has to do.
func bareCalls(b *testing.B) {
	buf := make([]byte, 4096)
	read := func(path string) {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			b.Fatal(path, err)
		}
		if _, err := unix.Read(fd, buf); err != nil {
			b.Fatal(path, err)
		}
		unix.Close(fd)
	}
	list := func(path string) []string {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			b.Fatal(path, err)
		}
		defer unix.Close(fd)
		var names []string
		for {
			n, err := unix.Getdents(fd, buf)
			if err != nil {
				b.Fatal(path, err)
			}
			if n == 0 {
				return names
			}
			_, _, names = unix.ParseDirent(buf[:n], -1, names)
		}
	}
	link := make([]byte, 256)
	b.ReportAllocs()
	for b.Loop() {
		for _, parent := range list("/sys/class/mdev_bus") {
			at := "/sys/class/mdev_bus/" + parent
			for _, name := range []string{"vendor", "device", "class", "numa_node"} {
				read(at + "/" + name)
			}
			for _, name := range []string{"driver", "physfn"} {
				if _, err := unix.Readlink(at+"/"+name, link); err != nil {
					b.Fatal(at, name, err)
				}
			}
			list(at)
			for _, typ := range list(at + "/mdev_supported_types") {
				for _, name := range []string{"name", "device_api", "available_instances", "description"} {
					read(at + "/mdev_supported_types/" + typ + "/" + name)
				}
			}
		}
		list("/sys/bus/mdev/devices")
		for _, device := range list("/sys/bus/pci/devices") {
			if _, err := unix.Readlink("/sys/bus/pci/devices/"+device, link); err != nil {
				b.Fatal(device, err)
			}
		}
	}
}
