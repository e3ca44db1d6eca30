package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	id       = "98d19132-f8f0-4d19-8743-9efa23e6c493"
	document = `<domain type='kvm'>
  <name>vm</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <graphics type='vnc'/>
  </devices>
  <!-- kept -->
</domain>
`
)

// document2 is another VM.
var document2 = strings.ReplaceAll(document, "<name>vm<", "<name>vm2<")

// vgpuctl runs the program.
func vgpuctl(t *testing.T, stdin string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return status, out.String(), errs.String()
}

// TestContract: each kind of failure has its status, and says in one line what and
// in one line what to do.
func TestContract(t *testing.T) {
	root := t.TempDir()
	with := func(args ...string) []string {
		return append([]string{"--root", root, "--state", filepath.Join(root, "state"), "--connect", "test:///default"}, args...)
	}
	withVGPU := func() string {
		_, out, _ := vgpuctl(t, document, "xml", "add", "--uuid", id, "--address", "0000:00:08.0")
		return out
	}()
	for _, c := range []struct {
		args   []string
		stdin  string
		status int
		says   string
	}{
		{[]string{}, "", exitUsage, "expected one of"},
		{[]string{"frobnicate"}, "", exitUsage, "frobnicate"},
		{with("create"), "", exitUsage, "--type"},
		{with("create", "--type", "mtty-1", "--uuid", "nonsense"), "", exitUsage, "UUID"},
		{with("create", "--type", "mtty-1"), "", exitNotFound, "no parent"},
		{with("create", "--type", "a/b"), "", exitNotFound, "a/b"}, // a name may have a slash
		{with("remove", id), "", exitNotFound, id},
		{with("remove", "nonsense"), "", exitUsage, "nonsense"},
		{with("remove", id, "--wait=-1s"), "", exitUsage, "-1s"},
		{with("remove", id, "--wait=0"), "", exitUsage, "--wait"},
		{with("remove", id, "--wait=soon"), "", exitUsage, "soon"},
		{with("stop", "nobody", "--timeout=-1ns"), "", exitUsage, "-1ns"},
		{with("teardown", "nobody", "--timeout=-1m"), "", exitUsage, "-1m0s"},
		{with("simulate", "--mount", filepath.Join(root, "mount"), "--board", "mtty,clean-up=-1s"), "", exitUsage, "-1s"},
		{with("xml", "add", "--uuid", id), "<pool/>", exitUsage, "<domain>"},
		{with("xml", "add"), document, exitUsage, "--uuid"},
		{with("xml", "add", "--uuid", id, "--address", "8"), document, exitUsage, "8"},
		{with("xml", "add", "--uuid", id, "--address", "0000:00:00.0"), document, exitUsage, "0000:00:00.0"},
		{with("xml", "add", "--vf", "0000:41:00.4", "--address", "0000:00:08.0"), withVGPU, exitUsage, "0000:00:08.0"},
		{with("xml", "remove", "--uuid", id), document, exitNotFound, id},
		{with("xml", "addresses", "--free", "-1"), document, exitUsage, "--free"},
		{with("start", "nobody"), "", exitNotFound, "nobody"},
		{with("stop", "a/b"), "", exitUsage, "a/b"},
		{with("provision", "--domain", "-", "--vgpu", "mtty-1"), document, exitUsage, "key=value"},
		{with("provision", "--domain", "-", "--vgpu", "type=mtty-1,color=red"), document, exitUsage, "color"},
		{with("provision", "--domain", "-", "--vgpu", "type=mtty-1"), document, exitNotFound, "mtty-1"},
		{with("provision", "--domain", "/nowhere", "--vgpu", "type=mtty-1"), "", exitUsage, "/nowhere"},
		{with("adopt"), "", exitUsage, "--all"},
		{with("adopt", "vm", "--all"), "", exitUsage, "--all"},
		{with("adopt", "--all", "--fresh"), "", exitUsage, "--fresh"},
		{with("adopt", "nobody"), "", exitNotFound, "nobody"},
		{with("forget", "nobody"), "", exitNotFound, "nobody"},
		{with("update", "nobody"), "", exitNotFound, "nobody"},
		{with("update", "nobody", "--give-up"), "", exitNotFound, "nobody"},
		{with("forget"), "", exitUsage, "<vm>"},
		{with("state"), "", exitUsage, "take-over"},
		{with("state", "take-over", "--wait", "0"), "", exitUsage, "--wait"},
		{append(with("status"), "--connect", "nonsense://"), "", exitUsage, "nonsense"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			status, stdout, stderr := vgpuctl(t, c.stdin, c.args...)
			assert.Equal(t, c.status, status, stderr)
			assert.Empty(t, stdout)
			assert.Contains(t, stderr, c.says)
			assert.Equal(t, 2, strings.Count(stderr, "\n"), "what, and what to do: %s", stderr)
		})
	}
	status, stdout, stderr := vgpuctl(t, "", with("inventory")...)
	assert.Zero(t, status, stderr)
	assert.Contains(t, stdout, "offers no vGPUs", "a host without vGPUs is an answer, no error")
}

// TestXML: what add puts in, remove takes out to the byte; addresses are shown as
// scripts expect them.
func TestXML(t *testing.T) {
	status, with, stderr := vgpuctl(t, document, "xml", "add", "--uuid", id, "--address", "0000:00:08.0", "--display", "on", "--ramfb", "on")
	require.Zero(t, status, stderr)
	assert.Contains(t, with, "slot='0x08'")
	assert.Contains(t, with, "<!-- kept -->")
	status, without, stderr := vgpuctl(t, with, "xml", "remove", "--uuid", id)
	require.Zero(t, status, stderr)
	assert.Equal(t, document, without)

	status, out, stderr := vgpuctl(t, with, "-o", "json", "xml", "addresses", "--free", "2")
	require.Zero(t, status, stderr)
	var answer struct {
		Used []struct {
			Address, By string
			Implicit    bool
		}
		Free []string
	}
	require.NoError(t, json.Unmarshal([]byte(out), &answer))
	var used []string
	implicit := map[string]bool{}
	for _, u := range answer.Used {
		used = append(used, u.Address)
		implicit[u.Address] = u.Implicit
	}
	assert.Contains(t, used, "0000:00:08.0")
	assert.False(t, implicit["0000:00:08.0"])
	assert.True(t, implicit["0000:00:1f.0"], "q35 has an ISA bridge there, which no document writes")
	assert.Len(t, answer.Free, 2)
	assert.NotContains(t, used, answer.Free[0])

	status, out, _ = vgpuctl(t, with, "xml", "add", "--uuid", "8f1e3a5c-0000-4000-8000-000000000001", "--address", "none")
	require.Zero(t, status)
	assert.Equal(t, 1, strings.Count(out, "slot="), "libvirt chooses the second one's address")

	status, out, stderr = vgpuctl(t, with, "qemu-args")
	require.Zero(t, status, stderr)
	assert.Contains(t, out, `"driver":"vfio-pci-nohotplug"`)
	assert.Contains(t, out, `"addr":"0x8"`)
	status, out, stderr = vgpuctl(t, document, "-o", "json", "qemu-args")
	require.Zero(t, status, stderr)
	assert.JSONEq(t, "[]", out, "no vGPUs: no arguments")
}

// TestXMLAddresses: as many free addresses are shown as there are, beside those in use.
func TestXMLAddresses(t *testing.T) {
	var full strings.Builder
	for slot := 2; slot < 0x1e; slot++ {
		fmt.Fprintf(&full, "<rng model='virtio'><address type='pci' slot='%d'/></rng>", slot)
	}
	pc := func(devices string) string {
		return "<domain type='kvm'><name>vm</name><os><type arch='x86_64' machine='pc'>hvm</type></os><devices><memballoon model='none'/>" + devices + "</devices></domain>"
	}
	status, out, stderr := vgpuctl(t, pc(full.String()), "xml", "addresses", "--free", "4")
	require.Zero(t, status, stderr)
	assert.Empty(t, stderr)
	assert.Equal(t, 2, strings.Count(out, "(free)"), out)
	assert.Contains(t, out, "0000:00:02.0  rng")
	status, out, _ = vgpuctl(t, pc(full.String()), "-o", "json", "xml", "addresses", "--free", "4")
	require.Zero(t, status)
	assert.Contains(t, out, `"0000:00:1f.0"`)
	status, out, stderr = vgpuctl(t, strings.Replace(pc(full.String()), "'pc'", "'isapc'", 1), "xml", "addresses")
	assert.Equal(t, exitFailed, status, "which are free is not known")
	assert.Contains(t, out, "0000:00:02.0  rng")
	assert.Contains(t, stderr, "has no PCI bus")
}

// TestXMLModels: devices of s390x get no PCI address, and are refused where no guest has them.
func TestXMLModels(t *testing.T) {
	s390 := "<domain type='kvm'><name>vm</name><os><type arch='s390x' machine='s390-ccw-virtio-9.2'>hvm</type></os><devices/></domain>"
	for _, model := range []string{"vfio-ap", "vfio-ccw"} {
		status, out, stderr := vgpuctl(t, s390, "xml", "add", "--uuid", id, "--model", model)
		require.Zero(t, status, stderr)
		assert.Contains(t, out, "model='"+model+"'")
		assert.NotContains(t, out, "type='pci'")
		status, out, stderr = vgpuctl(t, out, "xml", "remove", "--uuid", id)
		require.Zero(t, status, stderr)
		assert.Equal(t, s390, out)
		status, _, stderr = vgpuctl(t, document, "xml", "add", "--uuid", id, "--model", model)
		assert.Equal(t, exitUsage, status)
		assert.Contains(t, stderr, model+" device assignment is not supported")
	}
}

// TestLifeOnAMountedHost: plan, provision, start, status, stop, reconcile and
// teardown work on a mounted simulated host.
func TestLifeOnAMountedHost(t *testing.T) {
	host := mounted(t, "tesla-m60@0000:05:00.0")
	do := func(status int, args ...string) string {
		t.Helper()
		got, stdout, stderr := host.do(document, args...)
		require.Equal(t, status, got, stderr)
		return stdout
	}
	vgpu := "type=GRID M60-8Q,address=0000:00:08.0,params=frame_rate_limiter=0,disable_vnc=1"
	assert.Contains(t, do(0, "plan", "--domain", "-", "--vgpu", vgpu), "0000:05:00.0")
	assert.Contains(t, do(0, "provision", "--domain", "-", "--vgpu", vgpu), "off")
	do(0, "provision", "--domain", "-", "--vgpu", vgpu)
	var vm struct {
		State string
		VGPUs []struct{ ID, Type, Address string }
	}
	require.NoError(t, json.Unmarshal([]byte(do(0, "-o", "json", "start", "vm")), &vm))
	assert.Equal(t, "running", vm.State)
	assert.Equal(t, "nvidia-22", vm.VGPUs[0].Type)
	assert.Equal(t, "0000:00:08.0", vm.VGPUs[0].Address)
	assert.Contains(t, do(0, "inventory"), vm.VGPUs[0].ID)
	do(exitRefused, "create", "--type", "nvidia-22", "--parent", "0000:05:00.0")
	assert.Contains(t, do(0, "status"), "running")
	assert.Contains(t, do(0, "stop", "vm", "--timeout", "0"), "off")
	assert.Contains(t, do(0, "reconcile"), "as it should be")
	do(0, "teardown", "vm")
	do(exitNotFound, "teardown", "vm")
	assert.Contains(t, do(0, "inventory"), "No vGPUs exist.")
}
