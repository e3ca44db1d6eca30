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

	"github.com/vgpukit/vgpukit/mdev"
)

// BenchmarkCreateRemove makes and removes an mtty-1 through the library, by bare
// writes into sysfs, by mdevctl and by libvirt's node devices, in turns, and
// reports how many times the library's time (median) the others take.
func BenchmarkCreateRemove(b *testing.B) {
	host := openHost(b)
	const parent = "/sys/devices/virtual/mtty/mtty"
	write := func(path, data string) {
		require.NoError(b, os.WriteFile(path, []byte(data), 0o200))
	}
	run := func(stdin, name string, args ...string) {
		cmd := exec.Command(name, args...)
		out, err := cmd.CombinedOutput()
		require.NoError(b, err, "%s %v %s: %s", name, args, stdin, out)
	}
	node := b.TempDir() + "/node.xml"
	ways := []struct {
		name string
		do   func(id string)
	}{
		{"library", func(id string) {
			_, err := host.Create(b.Context(), mdev.CreateRequest{Type: "mtty-1", Parent: "mtty", UUID: uuid.MustParse(id)})
			require.NoError(b, err)
			require.NoError(b, host.Remove(b.Context(), id))
		}},
		{"write", func(id string) {
			write(parent+"/mdev_supported_types/mtty-1/create", id)
			write("/sys/bus/mdev/devices/"+id+"/remove", "1")
		}},
		{"echo", func(id string) {
			run("", "sh", "-c", fmt.Sprintf("echo %s > %s/mdev_supported_types/mtty-1/create && echo 1 > /sys/bus/mdev/devices/%s/remove", id, parent, id))
		}},
		{"mdevctl", func(id string) {
			run("", "mdevctl", "start", "--uuid", id, "--parent", "mtty", "--type", "mtty-1")
			run("", "mdevctl", "stop", "--uuid", id)
		}},
		{"nodedev", func(id string) {
			document := fmt.Sprintf("<device><parent>mtty_mtty</parent><capability type='mdev'><type id='mtty-1'/><uuid>%s</uuid></capability></device>", id)
			require.NoError(b, os.WriteFile(node, []byte(document), 0o600))
			run(document, "virsh", "-q", "nodedev-create", node)
			run("", "virsh", "-q", "nodedev-destroy", "mdev_"+underscores(id)+"_mtty")
		}},
	}
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
	library := median(times[0])
	for i, way := range ways {
		d := median(times[i])
		b.ReportMetric(float64(d)/float64(library), way.name+"/library")
		b.Logf("%-8s %12s  %6.2f times the library's", way.name, d, float64(d)/float64(library))
	}
	b.ReportMetric(0, "ns/op") // a round of all five means nothing
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
