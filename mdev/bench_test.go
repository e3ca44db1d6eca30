package mdev

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The large host: 8 GPUs, 32 virtual functions each, 40 types each.
const (
	benchGPUs  = 8
	benchVFs   = 32
	benchTypes = 40
)

var benchTree = sync.OnceValues(func() (string, error) {
	root, err := os.MkdirTemp("", "mdev-bench")
	if err != nil {
		return "", err
	}
	return root, plantHost(root, benchGPUs, benchVFs, benchTypes)
})

// TestMain removes the tree of the benchmarks.
func TestMain(m *testing.M) {
	code := m.Run()
	if matches, err := filepath.Glob(filepath.Join(os.TempDir(), "mdev-bench*")); err == nil && benchPlanted {
		for _, root := range matches {
			_ = os.RemoveAll(root)
		}
	}
	os.Exit(code)
}

var benchPlanted bool

func largeHost(b *testing.B) string {
	b.Helper()
	benchPlanted = true
	root, err := benchTree()
	require.NoError(b, err)
	return root
}

// plantHost writes a plain directory tree as sysfs would show it.
func plantHost(root string, gpus, vfs, types int) error {
	var failed error
	check := func(err error) {
		if failed == nil {
			failed = err
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
	dir(mdevClassDir)
	dir(mdevDevicesDir)
	dir("sys/bus/pci/drivers/nvidia")
	for gpu := range gpus {
		bus := fmt.Sprintf("sys/devices/pci0000:00/0000:%02x:00.0/", gpu)
		function := func(number int) string {
			return fmt.Sprintf("0000:%02x:%02x.%x", gpu+0x40, number/8, number%8)
		}
		pf := bus + function(0)
		for number := range vfs + 1 {
			where := bus + function(number)
			dir(where)
			file(where+"/vendor", "0x10de\n")
			file(where+"/device", "0x2235\n")
			file(where+"/class", "0x030200\n")
			file(where+"/numa_node", fmt.Sprintln(gpu%2))
			link(where+"/driver", "sys/bus/pci/drivers/nvidia")
			link(pciDevicesDir+"/"+function(number), where)
			if number == 0 {
				file(where+"/sriov_totalvfs", fmt.Sprintln(vfs))
				continue
			}
			link(where+"/physfn", pf)
			link(pf+fmt.Sprintf("/virtfn%d", number-1), where)
			link(mdevClassDir+"/"+function(number), where)
			for t := range types {
				typeDir := fmt.Sprintf("%s/mdev_supported_types/nvidia-%d", where, 555+t)
				dir(typeDir + "/devices")
				file(typeDir+"/name", fmt.Sprintf("NVIDIA A40-%dQ\n", t+1))
				file(typeDir+"/device_api", "vfio-pci\n")
				file(typeDir+"/available_instances", "1\n")
				file(typeDir+"/description", fmt.Sprintf("num_heads=4, frl_config=60, framebuffer=%dM, max_resolution=7680x4320, max_instance=%d\n", 1024*(t+1), 48/(t+1)))
			}
		}
	}
	return failed
}

// BenchmarkInventory reads 10,240 types on 256 virtual functions.
func BenchmarkInventory(b *testing.B) {
	host, err := Open(Config{Root: largeHost(b)})
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		inv, err := host.Inventory(b.Context())
		if err != nil || len(inv.GPUs) != benchGPUs || len(inv.GPUs[0].Parents) != benchVFs || len(inv.GPUs[7].Parents[31].Types) != benchTypes {
			b.Fatalf("%d GPUs, %v", len(inv.GPUs), err)
		}
	}
}

// BenchmarkBareSyscalls lists the same directories and reads every attribute of
// every parent and type, by the system calls alone: it makes nothing of them.
func BenchmarkBareSyscalls(b *testing.B) { benchmarkSyscalls(b, false) }

// BenchmarkBareSyscallsOnce is the same without reading again, on each virtual
// function, what its siblings have: the reads that Inventory makes.
func BenchmarkBareSyscallsOnce(b *testing.B) { benchmarkSyscalls(b, true) }

func benchmarkSyscalls(b *testing.B, once bool) {
	root := largeHost(b)
	buf := make([]byte, 32<<10)
	b.ReportAllocs()
	for b.Loop() {
		files := 0
		for _, parent := range bareList(b, root+"/"+mdevClassDir, buf) {
			where := root + "/" + mdevClassDir + "/" + parent
			files += bareRead(b, where, buf, "vendor", "device", "class", "numa_node")
			bareLink(b, where+"/driver", buf)
			bareLink(b, where+"/physfn", buf)
			bareList(b, where, buf)
			first := parent[len(parent)-4:] == "00.1"
			for _, t := range bareList(b, where+"/mdev_supported_types", buf) {
				typeDir := where + "/mdev_supported_types/" + t
				files += bareRead(b, typeDir, buf, "available_instances")
				if first || !once {
					files += bareRead(b, typeDir, buf, "name", "device_api", "description")
				}
			}
		}
		if want := benchGPUs * benchVFs * benchTypes; files < want {
			b.Fatalf("%d files, want at least %d", files, want)
		}
	}
}

func bareList(b *testing.B, name string, buf []byte) []string {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		b.Fatal(name, err)
	}
	var names []string
	for {
		n, err := unix.Getdents(fd, buf)
		if err != nil {
			b.Fatal(name, err)
		}
		if n == 0 {
			break
		}
		names = appendDirents(names, buf[:n])
	}
	_ = unix.Close(fd)
	return names
}

func bareRead(b *testing.B, dir string, buf []byte, names ...string) int {
	for _, name := range names {
		fd, err := unix.Open(dir+"/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			b.Fatal(dir, name, err)
		}
		if _, err := unix.Read(fd, buf); err != nil {
			b.Fatal(dir, name, err)
		}
		_ = unix.Close(fd)
	}
	return len(names)
}

func bareLink(b *testing.B, name string, buf []byte) {
	if _, err := unix.Readlink(name, buf); err != nil {
		b.Fatal(name, err)
	}
}
