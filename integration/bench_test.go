//go:build integration

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu"
)

const mttyParent = "/sys/devices/virtual/mtty/mtty"

// write is what a shell's echo does, without the shell.
func write(b *testing.B, path, data string) {
	require.NoError(b, os.WriteFile(path, []byte(data), 0o200))
}

// BenchmarkCreateRemove makes and removes an mtty-1 through the library, by bare
// writes into sysfs, by mdevctl and by libvirt's node devices, in turns, and
// reports how many times the library's time (median) the others take.
func BenchmarkCreateRemove(b *testing.B) {
	host := openHost(b)
	node := b.TempDir() + "/node.xml"
	compare(b, []way{
		{"library", func(id string) {
			_, err := host.Create(b.Context(), mdev.CreateRequest{Type: "mtty-1", Parent: "mtty", UUID: uuid.MustParse(id)})
			require.NoError(b, err)
			require.NoError(b, host.Remove(b.Context(), id))
		}},
		{"write", func(id string) {
			write(b, mttyParent+"/mdev_supported_types/mtty-1/create", id)
			write(b, "/sys/bus/mdev/devices/"+id+"/remove", "1")
		}},
		{"echo", func(id string) {
			run(b, "sh", "-c", fmt.Sprintf("echo %s > %s/mdev_supported_types/mtty-1/create && echo 1 > /sys/bus/mdev/devices/%s/remove", id, mttyParent, id))
		}},
		{"mdevctl", func(id string) {
			run(b, "mdevctl", "start", "--uuid", id, "--parent", "mtty", "--type", "mtty-1")
			run(b, "mdevctl", "stop", "--uuid", id)
		}},
		{"nodedev", func(id string) {
			document := fmt.Sprintf("<device><parent>mtty_mtty</parent><capability type='mdev'><type id='mtty-1'/><uuid>%s</uuid></capability></device>", id)
			require.NoError(b, os.WriteFile(node, []byte(document), 0o600))
			run(b, "virsh", "-q", "nodedev-create", node)
			// libvirt hears of what it made through udev, and until then denies it.
			for begin := time.Now(); exec.Command("virsh", "-q", "nodedev-destroy", "mdev_"+underscores(id)+"_mtty").Run() != nil; {
				require.Less(b, time.Since(begin), time.Minute, "libvirt does not destroy what it made")
			}
		}},
	})
}

// way is one way to do a job.
type way struct {
	name string
	do   func(id string)
}

// compare does the job in all ways in turns, and reports how many times the first
// one's time (median) the others take.
func compare(b *testing.B, ways []way) {
	times := make([][]time.Duration, len(ways))
	for b.Loop() {
		for i, way := range ways {
			id := uuid.NewString()
			begin := time.Now()
			way.do(id)
			times[i] = append(times[i], time.Since(begin))
		}
	}
	median := func(list []time.Duration) time.Duration {
		slices.Sort(list)
		return list[len(list)/2]
	}
	first := median(times[0])
	for i, way := range ways {
		d := median(times[i])
		b.ReportMetric(float64(d)/float64(first), way.name+"/"+ways[0].name)
		b.Logf("%-8s %12s  %6.2f times the %s's", way.name, d, float64(d)/float64(first), ways[0].name)
	}
	b.ReportMetric(0, "ns/op") // a round of all ways means nothing
}

// run runs a program, which must succeed.
func run(b *testing.B, name string, args ...string) {
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(b, err, "%s %v: %s", name, args, out)
}

// BenchmarkCycle brings a VM with one vGPU from nothing to running and back:
// through the Manager, by the same libvirt calls and sysfs writes alone, and by
// the programs that people put into scripts.
func BenchmarkCycle(b *testing.B) {
	r := newRig(b)
	bare, err := libvirt.NewConnect("qemu:///system")
	require.NoError(b, err)
	defer bare.Close()
	const name = "vgpukit-bench"
	withVGPU := func(id string) string {
		doc, err := domain.Parse([]byte(document(name)))
		require.NoError(b, err)
		address, err := domain.ParseAddress("0000:00:08.0")
		require.NoError(b, err)
		doc, err = doc.Add(domain.Hostdev{UUID: uuid.MustParse(id), Address: &address})
		require.NoError(b, err)
		return string(doc.Bytes())
	}
	file := b.TempDir() + "/vm.xml"
	compare(b, []way{
		{"bare", func(id string) {
			write(b, mttyParent+"/mdev_supported_types/mtty-1/create", id)
			vm, err := bare.DomainDefineXML(withVGPU(id))
			require.NoError(b, err)
			require.NoError(b, vm.Create())
			require.NoError(b, vm.DestroyFlags(libvirt.DOMAIN_DESTROY_GRACEFUL))
			require.NoError(b, vm.Undefine())
			require.NoError(b, vm.Free())
			write(b, "/sys/bus/mdev/devices/"+id+"/remove", "1")
		}},
		{"manager", func(id string) {
			_, err := r.m.Provision(b.Context(), vgpu.ProvisionRequest{
				Domain: document(name), VGPUs: []vgpu.Request{{Type: "mtty-1", UUID: uuid.MustParse(id), Address: "0000:00:08.0"}},
			})
			require.NoError(b, err)
			_, err = r.m.Start(b.Context(), name, vgpu.StartOptions{})
			require.NoError(b, err)
			_, err = r.m.Stop(b.Context(), name, powerOff)
			require.NoError(b, err)
			require.NoError(b, r.m.Teardown(b.Context(), name, vgpu.TeardownOptions{Stop: powerOff}))
		}},
		{"script", func(id string) {
			require.NoError(b, os.WriteFile(file, []byte(withVGPU(id)), 0o600))
			run(b, "mdevctl", "start", "--uuid", id, "--parent", "mtty", "--type", "mtty-1")
			run(b, "virsh", "-q", "define", file)
			run(b, "virsh", "-q", "start", name)
			run(b, "virsh", "-q", "destroy", name)
			run(b, "virsh", "-q", "undefine", name)
			run(b, "mdevctl", "stop", "--uuid", id)
		}},
	})
}

func underscores(id string) string {
	out := []byte(id)
	for i, c := range out {
		if c == '-' {
			out[i] = '_'
		}
	}
	return string(out)
}
