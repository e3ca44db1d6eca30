package simfs_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/examples/vgpuctl/simfs"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/mdev/mdevtest"
)

const (
	uuid1 = "11111111-1111-4111-8111-111111111111"
	uuid2 = "22222222-2222-4222-8222-222222222222"
)

// mount mounts a host with these boards for the time of a test.
func mount(t *testing.T, specs ...string) (dir string, host *mdevtest.Host, server *simfs.Server) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	host, err := mdevtest.NewHost(specs...)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	server, err = simfs.Mount(dir, host, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return dir, host, server
}

// shell runs a script in the mount and returns what it printed, on both
// outputs. Its echo is the program, which names errnos in any shell. The shell
// itself goes there: a chdir between fork and exec of a process that serves the
// mount could wait for itself.
func shell(t *testing.T, dir, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", `cd "$0"; echo() { env echo "$@"; }`+"\n"+script, dir)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, _ := cmd.CombinedOutput()
	return string(out)
}

// Plain shell commands on a mounted M60 show what NVIDIA documents.
func TestShellOnM60(t *testing.T) {
	dir, _, _ := mount(t, "tesla-m60")
	const types = "sys/class/mdev_bus/0000:05:00.0/mdev_supported_types"
	for _, c := range []struct{ script, want string }{
		{"ls", "dev\netc\nproc\nrun\nsim\nsys\nusr\nvar\n"},
		{"ls sys/class/mdev_bus", "0000:05:00.0\n0000:06:00.0\n"},
		{"cat " + types + "/nvidia-22/description", "num_heads=4, frl_config=60, framebuffer=8192M, max_resolution=5120x2880, max_instance=1\n"},
		{"cat " + types + "/nvidia-22/name", "GRID M60-8Q\n"},
		{"stat -c '%A %s' " + types + "/nvidia-22/create", "--w------- 4096\n"},
		{"cat " + types + "/nvidia-22/create", "Permission denied\n"},
		{"echo nonsense > " + types + "/nvidia-22/create", "write error: Invalid argument\n"},
		{"echo x > " + types + "/nvidia-22/name", "Permission denied\n"},
		{"echo x > " + types + "/nvidia-22/new", "Permission denied\n"},
		{"mkdir " + types + "/new", "Operation not"},
		{"echo " + uuid1 + " > " + types + "/nvidia-18/create", ""},
		{"echo " + uuid1 + " > " + types + "/nvidia-18/create", "write error: File exists\n"},
		{"echo " + uuid2 + " > " + types + "/nvidia-22/create", "write error: Input/output error\n"}, // another size
		{"grep -l . " + types + "/*/available_instances | wc -l", "14\n"},
		{"grep -vl '^0$' " + types + "/*/available_instances | cut -d/ -f6 | xargs", "nvidia-16 nvidia-17 nvidia-18 nvidia-210\n"},
		{"cat " + types + "/nvidia-18/available_instances", "3\n"},
		{"ls -l sys/bus/mdev/devices | grep -o '[^ ]* -> .*'", uuid1 + " -> ../../../devices/pci0000:05/0000:05:00.0/" + uuid1 + "\n"},
		{"readlink sys/bus/mdev/devices/" + uuid1 + "/mdev_type", "../mdev_supported_types/nvidia-18\n"},
		{"ls " + types + "/nvidia-18/devices/" + uuid1 + "/nvidia", "vgpu_params\nvm_name\n"},
		{"cd sys/bus/mdev/devices/" + uuid1 + " && pwd -P | grep -o 'sys/.*'", "sys/devices/pci0000:05/0000:05:00.0/" + uuid1 + "\n"},
		{"printf 'disable_vnc=1\\n' > sys/bus/mdev/devices/" + uuid1 + "/nvidia/vgpu_params; cat sys/bus/mdev/devices/" + uuid1 + "/nvidia/vgpu_params", "disable_vnc=1\n"},
		{"echo nothing > sys/bus/mdev/devices/" + uuid1 + "/remove", "write error: Invalid argument\n"},
		{"echo 1 > sys/bus/mdev/devices/" + uuid1 + "/remove", ""},
		{"ls sys/bus/mdev/devices", ""},
		{"echo " + uuid2 + " > " + types + "/nvidia-22/create && cat " + types + "/*/available_instances | sort -u", "0\n"},
	} {
		if got := shell(t, dir, c.script); c.want == "" && got != "" || !strings.HasSuffix(got, c.want) && !strings.Contains(got, c.want) {
			t.Errorf("$ %s\n%swant %s", c.script, got, c.want)
		}
	}
}

// Removing a device in use blocks until the VM lets go; its group is busy
// meanwhile, and a ghost remains.
func TestShellRemoveInUse(t *testing.T) {
	dir, _, _ := mount(t, "mtty")
	script := "echo " + uuid1 + " > sys/class/mdev_bus/mtty/mdev_supported_types/mtty-2/create\n" +
		"echo use " + uuid1 + " desk1 4242 > sim/control\n" +
		"cat dev/vfio/0\n" +
		"tr '\\0' ' ' < proc/4242/cmdline | cut -d' ' -f3; echo\n" +
		"echo 1 > sys/bus/mdev/devices/" + uuid1 + "/remove &\n" +
		"while [ -e sys/bus/mdev/devices/" + uuid1 + " ]; do sleep 0.01; done\n" +
		"ls sys/class/mdev_bus/mtty/" + uuid1 + "\n" +
		"echo release " + uuid1 + " > sim/control\n" +
		"wait\n" +
		"ls sys/class/mdev_bus/mtty/\n"
	want := "cat: dev/vfio/0: Device or resource busy\nguest=desk1,debug-threads=on\n\niommu_group\nmdev_supported_types\npower\nsubsystem\nuevent\n"
	if got := shell(t, dir, script); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// NVIDIA's vendor-specific VFIO framework, and its sriov-manage.
func TestShellOnL40S(t *testing.T) {
	dir, _, _ := mount(t, "l40s,vfs=0")
	const vf = "sys/bus/pci/devices/0000:41:00.4/nvidia/"
	for _, c := range []struct{ script, want string }{
		{"echo 4 > sys/bus/pci/devices/0000:41:00.0/sriov_numvfs", "No such file or directory\n"},
		{"usr/lib/nvidia/sriov-manage -e ALL", "Enabling VFs on 0000:41:00.0\n"},
		{"head -3 " + vf + "creatable_vgpu_types", "ID    : vGPU Name\n1145  : NVIDIA L40S-1B\n1146  : NVIDIA L40S-2B\n"},
		{"cat " + vf + "placement_id", "No such device or address\n"},
		{"echo 0 > " + vf + "current_vgpu_type", "Operation not permitted\n"},
		{"echo 99999999999 > " + vf + "current_vgpu_type", "Numerical result out of range\n"},
		{"echo 1148 > " + vf + "current_vgpu_type; cat " + vf + "current_vgpu_type", "1148\n"},
		{"head -c 2000 /dev/zero > " + vf + "vgpu_params", "Argument list too long\n"},
		{"echo use 0000:41:00.5 desk 1 > sim/control", "No such device\n"},
		{"echo reboot > sim/control; ls sys/bus/pci/devices", "0000:41:00.0\n"},
		{"echo dance > sim/control", "Invalid argument\n"},
	} {
		if got := shell(t, dir, c.script); !strings.HasSuffix(got, c.want) {
			t.Errorf("$ %s\n%swant %s", c.script, got, c.want)
		}
	}
}

// GPU instances are made and destroyed by nvidia-smi, and lost at a reboot.
func TestShellOnMIG(t *testing.T) {
	dir, _, _ := mount(t, "rtx-pro-6000,mig,vfs=2")
	const vf, gi = "sys/bus/pci/devices/0000:41:00.4/nvidia/", "proc/driver/nvidia/capabilities/gpu0/mig/"
	for _, c := range []struct{ script, want string }{
		{"cat " + vf + "creatable_vgpu_types", "ID    : vGPU Name\n"},
		{"usr/bin/nvidia-smi mig -i 0000:41:00.0 -cgi 1g.24gb+gfx; echo $?", "using profile MIG 1g.24gb+gfx\n0\n"},
		{"cat " + gi + "gi3/access | head -1", "DeviceFileMinor: 30\n"},
		{"grep 24Q " + vf + "creatable_vgpu_types", "1567  : NVIDIA RTX Pro 6000 Blackwell DC-1-24Q\n"},
		{"usr/bin/nvidia-smi mig -i 0 -cgi 4g.96gb+gfx; echo $?", "its GPU instances need 5 slices of 4\n1\n"},
		{"echo 1567 > " + vf + "current_vgpu_type; cat " + vf + "gpu_instance_id", "3\n"},
		{"echo nvidia-smi mig -i 0 -dgi -gi 3 > sim/control; cat sim/control", "0000:41:00.4 has it: device or resource busy\n"},
		{"echo reboot > sim/control; ls " + gi, ""},
	} {
		if got := shell(t, dir, c.script); !strings.HasSuffix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("$ %s\n%swant %s", c.script, got, c.want)
		}
	}
}

// Files in etc/ are files: made, renamed, removed.
func TestEtc(t *testing.T) {
	dir, _, _ := mount(t)
	got := shell(t, dir, "ls etc && mkdir -p etc/mdevctl.d/p && echo 1 > etc/mdevctl.d/p/.new && mv etc/mdevctl.d/p/.new etc/mdevctl.d/p/x && cat etc/mdevctl.d/p/x && rm -r etc/mdevctl.d && ls etc")
	if got != "machine-id\nmdevctl.d\n1\nmachine-id\n" {
		t.Error(got)
	}
}

// The mounted machine has the ids of the simulated one, also after a reboot.
func TestMachine(t *testing.T) {
	dir, host, _ := mount(t)
	files, err := mdev.Open(mdev.Config{FS: host})
	if err != nil {
		t.Fatal(err)
	}
	want, err := files.Machine(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := shell(t, dir, "cat etc/machine-id sys/class/dmi/id/product_uuid"); got != want.ID+"\n"+want.DMI+"\n" {
			t.Errorf("got %s, want %v", got, want)
		}
		host.Reboot()
	}
}

// What belongs to root is refused to others, errno by errno as on a real host.
func TestPermissions(t *testing.T) {
	dir, host, _ := mount(t, "mtty")
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // so that others get there at all
		t.Fatal(err)
	}
	if err := host.WriteAttr("sys/class/mdev_bus/mtty/mdev_supported_types/mtty-2/create", []byte(uuid1)); err != nil {
		t.Fatal(err)
	}
	const device = "sys/bus/mdev/devices/" + uuid1
	nobody := func(script string) string {
		return shell(t, dir, "exec setpriv --reuid=65534 --regid=65534 --clear-groups env sh -c '"+script+"'")
	}
	for _, script := range []string{
		"echo " + uuid2 + " > sys/class/mdev_bus/mtty/mdev_supported_types/mtty-2/create",
		"echo 1 > " + device + "/remove",
		"cat dev/vfio/0",
		"echo reboot > sim/control",
		"cat sim/control",
		"touch etc/new",
	} {
		if got := nobody(script); !strings.HasSuffix(got, "Permission denied\n") {
			t.Errorf("$ %s\n%s", script, got)
		}
	}
	node := "stat -c %U:%A " + device + "/remove dev/vfio/0"
	available := "cat sys/class/mdev_bus/mtty/mdev_supported_types/mtty-2/available_instances"
	for script, want := range map[string]string{
		available:                           "11\n",
		"ls sys/bus/mdev/devices":           uuid1 + "\n",
		"ls etc":                            "machine-id\nmdevctl.d\n",
		"readlink " + device + "/mdev_type": "../mdev_supported_types/mtty-2\n",
		node:                                "root:--w-------\nroot:-rw-------\n",
	} {
		if got := nobody(script); got != want {
			t.Errorf("$ %s\n%swant %s", script, got, want)
		}
	}
}

// etc/ is a directory like any other, with all that mdevctl and its like do there; it
// outlives a reboot, and its files belong to whoever made them.
func TestShellInEtc(t *testing.T) {
	dir, _, _ := mount(t, "mtty")
	for _, c := range []struct{ script, want string }{
		{"mkdir -p etc/a/b && printf one > etc/a/b/f && printf two >> etc/a/b/f && cat etc/a/b/f", "onetwo"},
		{"printf 3 > etc/a/b/f && stat -c '%s %F %A' etc/a/b/f", "1 regular file -rw-r--r--\n"},
		{"chmod 600 etc/a/b/f && chown 12:13 etc/a/b/f && touch -d @86400 etc/a/b/f && stat -c '%a %u %g %Y' etc/a/b/f", "600 12 13 86400\n"},
		{"truncate -s 5 etc/a/b/f && od -An -c etc/a/b/f", "   3  \\0  \\0  \\0  \\0\n"},
		{"ln -s ../a/b/f etc/a/l && readlink etc/a/l && stat -L -c %s etc/a/l", "../a/b/f\n5\n"},
		{"printf new > etc/a/new && mv etc/a/new etc/a/b/f && cat etc/a/b/f && ls etc/a", "newb\nl\n"},
		{"rmdir etc/a", "Directory not empty\n"},
		{"mkdir etc/x && mv -T etc/x etc/a", "Directory not empty\n"},
		{"mv etc/x etc/y && rmdir etc/y && ls etc", "a\nmachine-id\nmdevctl.d\n"},
		{"exec 3<etc/a/b/f; rm etc/a/b/f; cat <&3; ls etc/a/b", "new"},
		{"rm etc/a/l && rmdir etc/a/b etc/a && ls etc", "machine-id\nmdevctl.d\n"},
		{"mv etc/mdevctl.d sys/ && echo moved", "mv: "},
		{"truncate -s 1T etc/big", "File too large\n"},
		{"rm etc/big; echo kept > etc/f; echo reboot > sim/control; cat etc/f", "kept\n"},
		{"chmod 777 etc && setpriv --reuid=65534 --regid=65534 --clear-groups touch etc/mine && stat -c %u etc/mine", "65534\n"},
	} {
		if got := shell(t, dir, c.script); !strings.HasSuffix(got, c.want) && !strings.HasPrefix(got, c.want) {
			t.Errorf("$ %s\n%swant %s", c.script, got, c.want)
		}
	}
}

// The library's definitions are stored in etc/ as on a disk, and mdevctl's files there
// are read.
func TestDefinitionsInEtc(t *testing.T) {
	dir, _, _ := mount(t, "mtty")
	host, err := mdev.Open(mdev.Config{Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	want := mdev.Definition{UUID: uuid.MustParse(uuid1), Parent: "mtty", Type: "mtty-2", Start: mdev.StartManual}
	if err := host.Define(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	got, err := host.Definitions(t.Context())
	if err != nil || len(got) != 1 || got[0].UUID != want.UUID || got[0].Type != want.Type {
		t.Errorf("%+v, %v", got, err)
	}
	if list := shell(t, dir, "ls -A etc/mdevctl.d/mtty"); list != uuid1+"\n" {
		t.Error(list)
	}
	if err := host.Undefine(t.Context(), "mtty", want.UUID); err != nil {
		t.Fatal(err)
	}
	if got, err := host.Definitions(t.Context()); err != nil || len(got) > 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// An attribute that goes away while it is open: ENODEV, as with sysfs. One that
// is opened anew: ENOENT.
func TestStaleHandle(t *testing.T) {
	dir, host, _ := mount(t, "mtty")
	if err := host.WriteAttr("sys/class/mdev_bus/mtty/mdev_supported_types/mtty-2/create", []byte(uuid1)); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "sys/bus/mdev/devices", uuid1, "remove")
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.WriteFile(name, []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("1"); !strings.Contains(fmt.Sprint(err), syscall.ENODEV.Error()) {
		t.Error(err)
	}
	if _, err := os.OpenFile(name, os.O_WRONLY, 0); !os.IsNotExist(err) {
		t.Error(err)
	}
}

// Many programs use the mount at once; what they see stays true.
func TestConcurrentClients(t *testing.T) {
	dir, _, _ := mount(t, "tesla-m60")
	create := filepath.Join(dir, "sys/class/mdev_bus/0000:05:00.0/mdev_supported_types/nvidia-18/create")
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for i := range 50 {
				id := fmt.Sprintf("%08x-0000-4000-8000-%012x", worker, i)
				err := os.WriteFile(create, []byte(id), 0)
				if err != nil {
					if !strings.Contains(err.Error(), syscall.EIO.Error()) {
						t.Error(err)
					}
					continue
				}
				if entries, err := os.ReadDir(filepath.Join(dir, "sys/bus/mdev/devices")); err != nil || len(entries) > 4 {
					t.Error(len(entries), err)
				}
				if err := os.WriteFile(filepath.Join(dir, "sys/bus/mdev/devices", id, "remove"), []byte("1"), 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if entries, err := os.ReadDir(filepath.Join(dir, "sys/bus/mdev/devices")); err != nil || len(entries) > 0 {
		t.Error(entries, err)
	}
}

// Close unmounts although a removal blocks and someone stands in a directory.
func TestCloseWhileInUse(t *testing.T) {
	dir, host, server := mount(t, "mtty")
	if err := host.WriteAttr("sys/class/mdev_bus/mtty/mdev_supported_types/mtty-2/create", []byte(uuid1)); err != nil {
		t.Fatal(err)
	}
	if _, err := host.Use(uuid1, "desk1", 1); err != nil {
		t.Fatal(err)
	}
	standing, err := os.Open(filepath.Join(dir, "sys/bus"))
	if err != nil {
		t.Fatal(err)
	}
	defer standing.Close()
	blocked := make(chan error, 1)
	go func() {
		blocked <- os.WriteFile(filepath.Join(dir, "sys/bus/mdev/devices", uuid1, "remove"), []byte("1"), 0)
	}()
	for {
		if _, err := os.Lstat(filepath.Join(dir, "sys/bus/mdev/devices", uuid1)); err != nil {
			break
		}
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-blocked:
		if err == nil {
			t.Error("the removal succeeded")
		}
	case <-time.After(10 * time.Second):
		t.Error("the removal still blocks")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Error("still mounted", entries, err)
	}
}
