package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/vgpu"
)

// copied copies what is in a directory, owners and times too.
func copied(t *testing.T, from, to string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(to))
	out, err := exec.Command("cp", "-a", from, to).CombinedOutput()
	require.NoError(t, err, string(out))
}

// files are those in a directory, with what they say; locks come and go.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	}))
	return all
}

// TestCopiedState: a state directory that came from another machine can be read, and changes
// nothing and is not changed, until it is taken over.
func TestCopiedState(t *testing.T) {
	first, second := mounted(t, "mtty"), mounted(t, "mtty")
	// Both have a libvirt of one name, as machines have.
	socket := filepath.Join(t.TempDir(), "libvirt")
	lead := func(h *simulated) {
		require.NoError(t, os.RemoveAll(socket))
		require.NoError(t, os.Symlink(h.flags[1]+".sock", socket))
		h.flags[len(h.flags)-1] = "qemu+unix:///system?socket=" + socket
	}
	lead(&first)
	first.wants(0, "provision", "--domain", "-", "--vgpu", "type=mtty-1,uuid="+id)
	text := first.virsh("", "dumpxml", "--inactive", "vm")
	copied(t, first.state, second.state)
	lead(&second)
	second.virsh(text, "define", "/dev/stdin")
	bare := second.wants(0, "create", "--type", "mtty-1")
	bare = bare[:len(id)]

	before := files(t, second.state)
	assert.Regexp(t, `(?m)^vm +incomplete`, second.wants(0, "status"))
	assert.Equal(t, vgpu.StateIncomplete, asked[vgpu.VM](second, "status", "vm").State)
	second.wants(0, "plan", "--domain", "-", "--vgpu", "type=mtty-1")
	for _, args := range [][]string{
		{"start", "vm"},
		{"stop", "vm"},
		{"teardown", "vm"},
		{"forget", "vm"},
		{"update", "vm"},
		{"remove", bare},
		{"remove", bare, "--force"},
	} {
		assert.Regexp(t, `of another machine .*\nwhat to do: .*vgpuctl state take-over\n$`, second.wants(exitFailed, args...), args)
	}
	assert.Contains(t, second.wants(exitFailed, "start", "vm", "-o", "json"), `"kind":"state"`)
	assert.Equal(t, before, files(t, second.state))

	assert.Contains(t, second.wants(0, "state", "take-over"), second.state+" is this machine's")
	assert.Equal(t, map[string]string{"taken_over": second.state}, asked[map[string]string](second, "state", "take-over"))
	assert.Contains(t, second.wants(0, "start", "vm"), "running")
	second.wants(0, "teardown", "vm", "--timeout", "0")
	second.wants(0, "remove", bare)
	second.nothingLeft()

	copied(t, second.state, first.state)
	lead(&first)
	assert.Contains(t, first.wants(exitFailed, "teardown", "vm"), "another machine")
}

// TestRestoredState: a state directory that was restored from a backup knows less than was
// granted since: its VMs are for looking at only, until it is taken over.
func TestRestoredState(t *testing.T) {
	host := mounted(t, "mtty")
	host.wants(0, "provision", "--domain", "-", "--vgpu", "type=mtty-1,uuid="+id, "--vgpu", "type=mtty-1")
	backup := filepath.Join(t.TempDir(), "backup")
	copied(t, host.state, backup)
	host.takeOut("vm", 1)
	host.wants(0, "update", "vm", "--give-up")
	assert.Equal(t, []string{id}, host.Devices())
	copied(t, backup, host.state)

	assert.Len(t, asked[vgpu.VM](host, "status", "vm").VGPUs, 2)
	for _, verb := range []string{"start", "stop", "update", "forget", "teardown"} {
		assert.Regexp(t, `restored from a backup\nwhat to do: .*vgpuctl state take-over\n$`, host.wants(exitFailed, verb, "vm"))
	}
	assert.Equal(t, []string{id}, host.Devices())
	host.wants(0, "state", "take-over")
	host.wants(0, "update", "vm", "--give-up")
	assert.Contains(t, host.wants(0, "start", "vm"), "running")
	host.wants(0, "teardown", "vm", "--timeout", "0")
	host.nothingLeft()
}

// TestWithoutRoot: a user who may not write /run, nor below the host's root, has notes of the boot
// in a directory of his own.
func TestWithoutRoot(t *testing.T) {
	dir, err := os.MkdirTemp("", "vgpuctl")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	self, err := os.ReadFile(os.Args[0]) // where it is, others may not look
	require.NoError(t, err)
	binary := filepath.Join(dir, "vgpuctl")
	require.NoError(t, os.WriteFile(binary, self, 0o755))
	root, state, tmp := filepath.Join(dir, "root"), filepath.Join(dir, "state"), filepath.Join(dir, "tmp")
	for _, made := range []string{root, state, tmp} {
		require.NoError(t, os.Mkdir(made, 0o700))
	}
	require.NoError(t, os.Chmod(root, 0o555))

	cmd := exec.CommandContext(t.Context(), binary, "--root", root, "--state", state, "remove", id)
	cmd.Env = []string{asProgram + "=1", "TMPDIR=" + tmp}
	cmd.Dir = dir
	user := os.Geteuid()
	if user == 0 {
		user = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}}
		require.NoError(t, os.Chown(state, user, user))
		require.NoError(t, os.Chown(tmp, user, user))
	}
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	assert.Equal(t, exitNotFound, cmd.ProcessState.ExitCode(), string(out))
	info, err := os.Stat(filepath.Join(tmp, "vgpukit-"+strconv.Itoa(user)))
	require.NoError(t, err, string(out))
	assert.Equal(t, fs.ModeDir|0o700, info.Mode())
}
