package simfs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMdevctl runs mdevctl against a mounted M60: it lists the types, starts a
// device, is refused what the GPU has no room for, writes and obeys a
// definition, and stops the device.
//
// VGPUKIT_MDEVCTL names the program; `make unit` fetches one and installs nothing.
// Any version will do. From 1.3 on, mdevctl takes MDEVCTL_ENV_ROOT=<mount>. An
// older one runs in a mount namespace of its own, made by unshare of util-linux,
// in which the simulated sys/ and etc/ are mounted over the machine's.
func TestMdevctl(t *testing.T) {
	program := os.Getenv("VGPUKIT_MDEVCTL")
	if program == "" {
		t.Skip("VGPUKIT_MDEVCTL does not name an mdevctl")
	}
	for _, need := range []string{program, "unshare", "mount"} {
		if _, err := exec.LookPath(need); err != nil {
			t.Fatalf("VGPUKIT_MDEVCTL asks for this test, which needs %s: %v", need, err)
		}
	}
	dir, host, _ := mount(t, "tesla-m60", "mtty")
	inRoot := "MDEVCTL_ENV_ROOT=. " + program + " "
	inNamespace := `unshare --mount sh -c 'mount --bind sys /sys && mount --bind etc /etc && exec "$@"' sh ` + program + " "
	how := inRoot
	if !strings.Contains(shell(t, dir, inRoot+"types"), "0000:05:00.0") {
		how = inNamespace
	}
	mdevctl := func(args string) string {
		t.Helper()
		return strings.TrimSpace(shell(t, dir, how+args))
	}
	for _, c := range []struct{ args, want string }{
		{"types --parent 0000:05:00.0", "nvidia-22\n    Available instances: 1\n    Device API: vfio-pci\n    Name: GRID M60-8Q\n    Description: num_heads=4,"},
		{"types", "mtty-2\n    Available instances: 12\n"},
		{"start --uuid " + uuid1 + " --parent 0000:05:00.0 --type nvidia-18", ""},
		{"list", uuid1 + " 0000:05:00.0 nvidia-18"},
		{"start --uuid " + uuid2 + " --parent 0000:05:00.0 --type nvidia-22", "No available instances of nvidia-22"},
		{"define --uuid " + uuid1, ""},
		{"stop --uuid " + uuid1, ""},
		{"list", ""},
		{"list --defined", uuid1 + " 0000:05:00.0 nvidia-18 manual"},
		{"start --uuid " + uuid1, ""},
	} {
		if got := mdevctl(c.args); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("mdevctl %s: %s\nwant %s", c.args, got, c.want)
		}
	}
	if _, err := host.Stat("sys/bus/mdev/devices/" + uuid1 + "/mdev_type/devices/" + uuid1); err != nil {
		t.Error(err)
	}
	definition, err := os.ReadFile(filepath.Join(dir, "etc/mdevctl.d/0000:05:00.0", uuid1))
	if err != nil || !strings.Contains(string(definition), `"mdev_type": "nvidia-18"`) {
		t.Errorf("definition %s, %v", definition, err)
	}
}
