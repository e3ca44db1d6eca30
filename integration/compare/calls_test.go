package compare

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// bareCalls opens, reads and closes each file of every type and parent, and lists
// the directories: the least that a reader of all of them has to do. With once, it
// does not read again, on each virtual function, what its siblings have: the reads
// that the library makes.
func bareCalls(b *testing.B, once bool) {
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
		parents := list("/sys/class/mdev_bus")
		slices.Sort(parents)
		first := parents[0][len("0000:41:"):] // of each GPU
		for _, parent := range parents {
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
				names := []string{"available_instances", "name", "device_api", "description"}
				if once && !strings.HasSuffix(parent, first) {
					names = names[:1]
				}
				for _, name := range names {
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
