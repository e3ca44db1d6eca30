package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/vgpu"
)

// crowd are hosts that have room for so many vGPUs of a type. The larger ones are tried when
// VGPUKIT_POINTS is all: each process reads all of the host through the mount.
var crowd = []struct {
	room   int
	typ    string
	boards []string
}{
	{8, "GRID M60-2Q", []string{"tesla-m60@0000:05:00.0"}},
	{8, "NVIDIA L40S-12Q", []string{"l40s@0000:41:00.0,vfs=4", "l40s@0000:61:00.0,vfs=4"}},
	{16, "NVIDIA A40-6Q", []string{"a40@0000:41:00.0,vfs=8", "a40@0000:61:00.0,vfs=8"}},
	{64, "GRID M60-1Q", []string{"tesla-m60@0000:05:00.0", "tesla-m60@0000:15:00.0", "tesla-m60@0000:25:00.0", "tesla-m60@0000:35:00.0"}},
	{64, "NVIDIA A40-1Q", []string{"a40@0000:41:00.0,vfs=32", "a40@0000:61:00.0,vfs=32"}},
	{64, "NVIDIA L40S-1Q", []string{"l40s@0000:41:00.0,vfs=32", "l40s@0000:61:00.0,vfs=32"}},
}

// TestManyProcesses: of many processes that provision and start a VM each at the same moment, on
// a host that lacks room for four of them, four are refused, with the reason; no vGPU has two
// VMs, and nothing is left of the refused.
func TestManyProcesses(t *testing.T) {
	for _, c := range crowd {
		if c.room > 8 && os.Getenv("VGPUKIT_POINTS") != "all" {
			continue
		}
		t.Run(fmt.Sprint(c.room, " ", c.typ), func(t *testing.T) {
			h := mounted(t, c.boards...)
			for range 4 {
				h.wants(0, "create", "--type", c.typ)
			}
			type one struct {
				cmd    *exec.Cmd
				stderr *bytes.Buffer
			}
			var all []one
			for i := range c.room {
				cmd, stderr := program(t, h.args("provision", "--domain", "-", "--vgpu", "type="+c.typ, "--start", "-o", "json")...)
				cmd.Stdin = strings.NewReader(strings.ReplaceAll(document, "<name>vm</name>", fmt.Sprintf("<name>vm%d</name>", i)))
				all = append(all, one{cmd, stderr})
			}
			for _, p := range all {
				require.NoError(t, p.cmd.Start())
			}
			refused := 0
			for _, p := range all {
				if p.cmd.Wait() != nil {
					refused++
					assert.Equal(t, exitRefused, p.cmd.ProcessState.ExitCode(), p.stderr)
					assert.Contains(t, p.stderr.String(), `"kind":"no_capacity"`)
				}
			}
			assert.Equal(t, 4, refused)
			owners := map[string]string{}
			for _, vm := range asked[[]vgpu.VM](h, "status") {
				assert.Equal(t, vgpu.StateRunning, vm.State, vm.Name)
				require.Len(t, vm.VGPUs, 1)
				assert.Empty(t, owners[vm.VGPUs[0].ID])
				owners[vm.VGPUs[0].ID] = vm.Name
			}
			assert.Len(t, owners, c.room-4)
		})
	}
}
