package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// CacheEnv names the environment variable that moves the cache of images.
const CacheEnv = "VGPUKIT_LAB_CACHE"

// Options say which machine is wanted. The zero value is a good one.
type Options struct {
	// Cache is the directory of the images; empty means $VGPUKIT_LAB_CACHE, else
	// vgpukit/lab in the user's cache directory.
	Cache string
	// NVSim puts the kernel modules that simulate NVIDIA boards into the image.
	NVSim bool
	// Boards are the simulated boards to boot with, each as the module nvbus takes
	// it in its parameter gpu; they imply NVSim.
	Boards []string
	// MemoryMiB is the machine's memory; 0 means 6144, or less on a small host.
	MemoryMiB int
	// CPUs is the number of its processors; 0 means 2.
	CPUs int
	// Progress is told what goes on; nil means silence.
	Progress *Progress
}

var boardSpec = regexp.MustCompile(`^[A-Za-z0-9:._+=/@-]+(,[A-Za-z0-9:._+=/@-]+)*$`)

func (o Options) validate() error {
	for _, b := range o.Boards {
		if !boardSpec.MatchString(b) {
			return fmt.Errorf("board %q: only letters, digits and :._+=/@- can stand on a kernel's command line; separate boards by commas", b)
		}
	}
	if o.MemoryMiB < 0 || o.CPUs < 0 {
		return fmt.Errorf("memory %d MiB, %d processors: neither can be negative", o.MemoryMiB, o.CPUs)
	}
	return nil
}

func (o Options) nvsim() bool { return o.NVSim || len(o.Boards) > 0 }

func (o Options) cache() (string, error) {
	dir := o.Cache
	if dir == "" {
		dir = os.Getenv(CacheEnv)
	}
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no place for the lab's images: %w; set %s to a directory", err, CacheEnv)
		}
		dir = filepath.Join(user, "vgpukit", "lab")
	}
	return filepath.Abs(dir)
}

func (o Options) cpus() int {
	if o.CPUs > 0 {
		return o.CPUs
	}
	return 2
}

// memory leaves a third of what the host has available to the host.
func (o Options) memory() int {
	if o.MemoryMiB > 0 {
		return o.MemoryMiB
	}
	const wanted, least = 6144, 1536
	available, ok := availableMiB("/proc/meminfo")
	if !ok {
		return wanted
	}
	return max(least, min(wanted, available*2/3))
}

func availableMiB(meminfo string) (int, bool) {
	data, err := os.ReadFile(meminfo)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) >= 2 && f[0] == "MemAvailable:" {
			kib, err := strconv.Atoi(f[1])
			return kib / 1024, err == nil
		}
	}
	return 0, false
}
