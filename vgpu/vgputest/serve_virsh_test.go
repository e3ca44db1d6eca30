package vgputest_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
)

// TestServeVirsh: an operator's virsh works on a simulated hypervisor. Each line is a
// command, what its output holds, and what it does not.
func TestServeVirsh(t *testing.T) {
	h := oneVGPU(t)
	uri := serve(t, h)
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
		return name
	}
	web := file("web1.xml", webXML("web1"))
	gpu := file("gpu.xml", device)
	const ours = "metadata web1 --uri " + domain.MetadataURI
	script := []struct{ command, holds, not string }{
		{"uri", uri, ""},
		{"version", "QEMU 10.0.2", ""},
		{"hostname", "", "error"},
		{"nodeinfo", "CPU(s):              16", ""},
		{"capabilities", "<os_type>hvm</os_type>", ""},
		{"list --all", "Id   Name   State", "web1"},
		{"dominfo web1", "error: failed to get domain 'web1'", ""},
		{"define " + web, "Domain 'web1' defined", ""},
		{"list", "", "web1"},
		{"list --all", "-    web1   shut off", ""},
		{"list --all --uuid", "c2177883-f1bb-47f0-914d-32a22e3a8804", ""},
		{"domid web1", "-", ""},
		{"domuuid web1", "c2177883-f1bb-47f0-914d-32a22e3a8804", ""},
		{"domname c2177883-f1bb-47f0-914d-32a22e3a8804", "web1", ""},
		{"domstate --reason web1", "shut off (unknown)", ""},
		{"destroy web1", "error: Requested operation is not valid: domain is not running", ""},
		{"domrename web1 web2", "Domain successfully renamed", ""},
		{"domrename web2 web1", "Domain successfully renamed", ""},
		{"autostart web1", "marked as autostarted", ""},
		{"list --all --autostart", "web1", ""},
		{"list --all --no-autostart", "", "web1"},
		{"autostart --disable web1", "unmarked as autostarted", ""},
		{"attach-device web1 --config " + gpu, "Device attached successfully", ""},
		{"dumpxml web1", vgpuID, "hostdev0"},
		{"start web1", "Domain 'web1' started", ""},
		{"start web1", "error: Domain is already active", ""},
		{"list", " 1    web1   running", ""},
		{"domname 1", "web1", ""},
		{"domstate --reason web1", "running (booted)", ""},
		{"dominfo web1", "Max memory:     524288 KiB", ""},
		{"dominfo web1", "CPU(s):         2", ""},
		{"domcontrol web1", "ok", ""},
		{"vcpucount web1 --maximum --live", "2", "error"},
		{"dumpxml web1", "<alias name='hostdev0'/>", "s3cret"},
		{"dumpxml --security-info web1", "s3cret", ""},
		{"dumpxml --inactive web1", vgpuID, "hostdev0"},
		{"dumpxml --inactive --security-info web1", "s3cret", "hostdev0"},
		{"detach-device-alias web1 --alias hostdev0 --live", "Device detach request sent successfully", ""},
		{"dumpxml web1", "", vgpuID},
		{"attach-device web1 --live " + gpu, "Device attached successfully", ""},
		{"detach-device web1 --live --config " + gpu, "Device detached successfully", ""},
		{"detach-device web1 --live " + gpu, "error: device not found", ""},
		{"suspend web1", "Domain 'web1' suspended", ""},
		{"domstate --reason web1", "paused (user)", ""},
		{"resume web1", "Domain 'web1' resumed", ""},
		{"reset web1", "Domain 'web1' was reset", ""},
		{"reboot web1", "Domain 'web1' is being rebooted", ""},
		{"domjobinfo web1", "Job type:         None", ""},
		{"domjobabort web1", "error: Requested operation is not valid: no job is active on the domain", ""},
		{ours, "error: metadata not found", ""},
		{ours + " --live --config --key v --set <vgpus><vgpu/></vgpus>", "Metadata modified", ""},
		{ours, `<v:vgpus xmlns:v="` + domain.MetadataURI + `"><v:vgpu/></v:vgpus>`, ""},
		{ours + " --live --config --remove", "Metadata removed", ""},
		{ours, "error: metadata not found", ""},
		{"snapshot-create-as web1 s1", "Domain snapshot s1 created", ""},
		{"snapshot-create-as web1 s2", "Domain snapshot s2 created", ""},
		{"snapshot-create-as web1 s2", "error: operation failed: domain moment s2 already exists", ""},
		{"snapshot-list web1", "running", ""},
		{"snapshot-list web1 --parent --name", "s2", ""},
		{"snapshot-list web1 --tree", "+- s2", ""},
		{"snapshot-list web1 --from s1 --name", "s2", "s1"},
		{"snapshot-current web1 --name", "s2", ""},
		{"snapshot-parent web1 s2", "s1", ""},
		{"snapshot-info web1 s1", "Children:       1", ""},
		{"snapshot-dumpxml web1 s2", "<parent>", "s3cret"},
		{"snapshot-delete web1 s1", "Domain snapshot s1 deleted", ""},
		{"snapshot-parent web1 s2", "error: snapshot 's2' has no parent", ""},
		{"list --with-snapshot", "web1", ""},
		{"managedsave web1", "Domain 'web1' state saved by libvirt", ""},
		{"domjobinfo --completed web1", "Operation:        Save", ""},
		{"list --all --with-managed-save", "web1", ""},
		{"managedsave-remove web1", "Removed managedsave image", ""},
		{"snapshot-revert web1 s2", "Domain snapshot s2 reverted", ""},
		{"domstate --reason web1", "running (from snapshot)", ""},
		{"destroy web1", "Domain 'web1' destroyed", ""},
		{"start web1 --paused", "Domain 'web1' started", ""},
		{"list --state-paused", "web1", ""},
		{"save web1 /saved", "Domain 'web1' saved to /saved", ""},
		{"restore /saved", "Domain restored from /saved", ""},
		{"domstate web1", "paused", ""},
		{"resume web1", "Domain 'web1' resumed", ""},
		{"restore --running /saved", "error: invalid argument: unsupported flags (0x2) in function qemuDomainRestoreFlags", ""},
		{"shutdown web1 --mode acpi", "Domain 'web1' is being shutdown", ""},
		{"domstate --reason web1", "shut off (shutdown)", ""},
		{"undefine web1", "error: Requested operation is not valid: cannot delete inactive domain with 1 snapshots", ""},
		{"undefine web1 --snapshots-metadata", "Domain 'web1' has been undefined", ""},
		{"create " + web, "Domain 'web1' created", ""},
		{"list --transient", "web1", ""},
		{"destroy web1 --graceful", "Domain 'web1' destroyed", ""},
		{"list --all", "", "web1"},
		{"net-list", "error: this function is not supported by the connection driver", ""},
		{"domstats", "error: this function is not supported by the connection driver", ""},
	}
	var commands []string
	for _, line := range script {
		commands = append(commands, line.command)
	}
	out := virsh(t, uri, false, commands...)
	for i, line := range script {
		require.Contains(t, out[i], line.holds, line.command)
		if line.not != "" {
			require.NotContains(t, out[i], line.not, line.command)
		}
		require.Equal(t, strings.HasPrefix(line.holds, "error"), strings.Contains(out[i], "error:"), "%s: %s", line.command, out[i])
	}
	_, err := h.Define(t.Context(), webXML("web1"))
	require.NoError(t, err)
	out = virsh(t, uri, true, "dumpxml web1", "dumpxml --security-info web1", "start web1")
	assert.Contains(t, out[0], "<name>web1</name>")
	assert.Contains(t, out[1], "error: operation forbidden")
	assert.Contains(t, out[2], "error: operation forbidden: read only access prevents virDomainCreate")
}

// virsh returns what each of some commands says.
func virsh(t testing.TB, uri string, readOnly bool, commands ...string) []string {
	const mark = "@@@"
	args := []string{"-c", uri}
	if readOnly {
		args = append(args, "-r")
	}
	cmd := exec.CommandContext(t.Context(), "virsh", append(args, strings.Join(commands, "; echo "+mark+"; "))...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	require.True(t, err == nil || errors.As(err, &failed), "%v", err)
	said := strings.Split(string(out), mark+"\n")
	require.Len(t, said, len(commands), "%s", out)
	return said
}

// TestServeVirshEvents: virsh event shows what happens, as it does of libvirt's.
func TestServeVirshEvents(t *testing.T) {
	h := oneVGPU(t)
	_, err := h.Virsh().Define(t.Context(), webXML("web1"))
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), "virsh", "-c", serve(t, h), "event", "--all", "--loop", "--timeout", fmt.Sprint(patience.Seconds()))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	ctx := t.Context()
	require.NoError(t, h.Start(ctx, "web1"))
	_, err = h.Clone(ctx, "web1", "probe")
	require.NoError(t, err)
	for listening := false; !listening; { // to what it registers last of these
		require.NoError(t, h.Start(ctx, "probe"))
		require.NoError(t, h.Save(ctx, "probe", "/probe"))
		for more := true; more && !listening; {
			select {
			case line := <-lines:
				listening = line == "event 'job-completed' for domain 'probe':"
			case <-time.After(10 * time.Millisecond): // rather than more events than it reads
				more = false
			}
		}
	}
	require.NoError(t, h.Suspend(ctx, "web1"))
	require.NoError(t, h.Resume(ctx, "web1"))
	require.NoError(t, h.Attach(ctx, "web1", device, domain.ScopeLive))
	require.NoError(t, h.Detach(ctx, "web1", "hostdev0", domain.ScopeLive))
	require.NoError(t, h.Save(ctx, "web1", "/saved"))
	require.NoError(t, h.Undefine(ctx, "web1", domain.UndefineOptions{}))
	var seen []string
	for line := range lines {
		if line = strings.TrimPrefix(line, "event "); line == "" || line[0] != '\'' || strings.Contains(line, "'probe'") {
			continue
		}
		if seen = append(seen, line); strings.Contains(line, "Undefined") {
			break
		}
	}
	assert.Equal(t, []string{
		"'lifecycle' for domain 'web1': Suspended Paused",
		"'lifecycle' for domain 'web1': Resumed Unpaused",
		"'device-added' for domain 'web1': hostdev0",
		"'device-removed' for domain 'web1': hostdev0",
		"'lifecycle' for domain 'web1': Suspended Paused",
		"'job-completed' for domain 'web1':",
		"'lifecycle' for domain 'web1': Shutdown Finished after host request",
		"'lifecycle' for domain 'web1': Stopped Saved",
		"'lifecycle' for domain 'web1': Undefined Removed",
	}, seen)
	require.NoError(t, cmd.Process.Kill())
	for range lines {
	}
	_ = cmd.Wait()
}
