package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// simulation is vgpuctl simulate in a process of its own.
type simulation struct {
	cmd    *exec.Cmd
	dir    string // the mount
	tmp    string // where its temporary files would be
	stderr *bytes.Buffer
	told   string // its last line
	ended  chan struct{}
}

// simulate starts a simulation on a directory and waits until it is mounted.
func simulate(t *testing.T, dir string, args ...string) *simulation {
	t.Helper()
	cmd, stderr := program(t, append([]string{"simulate", "--mount", dir}, args...)...)
	s := &simulation{cmd: cmd, dir: dir, tmp: t.TempDir(), stderr: stderr, ended: make(chan struct{})}
	cmd.Env = append(cmd.Env, "TMPDIR="+s.tmp)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewReader(out)
	told, err := lines.ReadString('\n')
	if err == nil && slices.Contains(args, "--libvirt") && !slices.Contains(args, "json") {
		told, err = lines.ReadString('\n') // the flags
	}
	s.told = told
	go func() {
		_ = cmd.Wait()
		close(s.ended)
	}()
	t.Cleanup(func() { s.end(t, syscall.SIGKILL); _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	require.NoError(t, err, stderr)
	require.Contains(t, told, filepath.Base(dir))
	return s
}

// end sends a signal, and the simulation has to end.
func (s *simulation) end(t *testing.T, signal os.Signal) {
	t.Helper()
	_ = s.cmd.Process.Signal(signal)
	select {
	case <-s.ended:
	case <-time.After(15 * time.Second): // on a machine that is busy
		_ = s.cmd.Process.Kill()
		t.Error("it did not end")
		<-s.ended
	}
}

// keeper is a shell that holds a mount; it says so, then waits to be told to go on.
type keeper struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

// hold starts a shell: $dir is the mount, "held" waits until the simulation has ended.
func hold(t *testing.T, dir, script string, prefix ...string) *keeper {
	t.Helper()
	argv := append(prefix, "sh", "-c", "held() { echo held; read x; }\n"+script)
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "dir="+dir)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	require.NoError(t, cmd.Start())
	h := &keeper{cmd, in, bufio.NewReader(out)}
	line, err := h.stdout.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held\n", line)
	return h
}

// goOn lets the shell look at what it holds, and returns what it sees.
func (h *keeper) goOn(t *testing.T) string {
	t.Helper()
	_, _ = io.WriteString(h.stdin, "\n")
	seen, err := io.ReadAll(h.stdout)
	require.NoError(t, err)
	_ = h.cmd.Wait()
	return string(seen)
}

// holds are ways to hold a mount, and what is seen of it once the simulation has ended.
var holds = []struct {
	name, script string
	prefix       []string
	seen         string
}{
	{"a copy in another mount namespace", `held; ls "$dir"`, []string{"unshare", "--mount", "--propagation", "private"}, "Transport endpoint is not connected"},
	{"a shell in a directory", `cd "$dir/sys/bus"; held; ls -l .`, nil, "Transport endpoint is not connected"},
	{"an open file", `exec 3<"$dir/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-2/name"; held; cat <&3`, nil, "cat: "},
	{"an open VFIO group", create + `exec 3<>"$dir/dev/vfio/0"; held; cat "$dir/dev/vfio/0"; exec 3>&- && echo let go`, nil, "let go"},
	{"a removal that blocks", create + `echo "use ` + id + ` desk1 4242" >"$dir/sim/control"
		echo 1 >"$dir/sys/bus/mdev/devices/` + id + `/remove" & removal=$!
		while [ -e "$dir/sys/bus/mdev/devices/` + id + `" ]; do :; done
		held; wait $removal || echo not removed`, nil, "not removed"},
}

const create = `echo ` + id + ` >"$dir/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-2/create"; `

// TestSimulateEnds: ctrl-C and SIGTERM end a simulation in seconds whoever holds the
// mount; nothing hangs, the directory is free, and no file is left.
func TestSimulateEnds(t *testing.T) {
	for i, c := range holds {
		signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
		if i > 0 {
			signals = signals[:1] // both are heard alike
		}
		for _, signal := range signals {
			t.Run(c.name+", "+signal.String(), func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "host with a blank")
				s := simulate(t, dir, "--board", "mtty", "--libvirt")
				h := hold(t, dir, c.script, c.prefix...)
				s.end(t, signal)
				assert.Zero(t, s.cmd.ProcessState.ExitCode())
				s.nothingLeft(t)
				if i == 0 { // the directory can be mounted on while the copy is held
					again := simulate(t, dir, "--board", "mtty", "--libvirt")
					again.end(t, signal)
					again.nothingLeft(t)
				}
				assert.Contains(t, h.goOn(t), c.seen)
				require.NoError(t, os.Remove(dir), "it is not free")
			})
		}
	}
}

// TestSimulateKilled: a simulation that is killed leaves its dead mount and nothing
// else, and the next one takes its place.
func TestSimulateKilled(t *testing.T) {
	for _, c := range holds {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "host")
			s := simulate(t, dir, "--board", "mtty", "--libvirt")
			h := hold(t, dir, c.script, c.prefix...)
			s.end(t, syscall.SIGKILL)
			require.ErrorIs(t, syscall.Statfs(dir, new(syscall.Statfs_t)), syscall.ENOTCONN)
			left, err := os.ReadDir(s.tmp)
			require.NoError(t, err)
			assert.Empty(t, left)

			again := simulate(t, dir, "--board", "mdpy", "--libvirt")
			_, err = os.Stat(filepath.Join(dir, "sys/class/mdev_bus/mdpy"))
			require.NoError(t, err)
			again.end(t, os.Interrupt)
			assert.Zero(t, again.cmd.ProcessState.ExitCode())
			again.nothingLeft(t)
			assert.Contains(t, h.goOn(t), c.seen)
		})
	}
}

// TestSimulateUnmounted: umount ends a simulation as ctrl-C does, and ctrl-C one that
// was unmounted while somebody held it.
func TestSimulateUnmounted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host")
	s := simulate(t, dir, "--board", "mtty", "--libvirt")
	require.NoError(t, exec.Command("umount", dir).Run())
	<-s.ended
	assert.Zero(t, s.cmd.ProcessState.ExitCode())
	s.nothingLeft(t)

	s = simulate(t, dir, "--board", "mtty", "--libvirt")
	h := hold(t, dir, holds[0].script, holds[0].prefix...)
	require.NoError(t, exec.Command("umount", dir).Run())
	s.end(t, os.Interrupt)
	assert.Zero(t, s.cmd.ProcessState.ExitCode())
	s.nothingLeft(t)
	assert.Contains(t, h.goOn(t), holds[0].seen)
}

// TestSimulateCovered: what is not a simulation of ours is never unmounted; that it
// covers the simulation is told.
func TestSimulateCovered(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host")
	s := simulate(t, dir, "--board", "mtty", "--libvirt")
	require.NoError(t, syscall.Mount("none", dir, "tmpfs", 0, ""))
	defer func() { assert.NoError(t, syscall.Unmount(dir, 0), "somebody's file system was unmounted") }()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	s.end(t, os.Interrupt)
	assert.FileExists(t, filepath.Join(dir, "file"))
	assert.Equal(t, exitFailed, s.cmd.ProcessState.ExitCode())
	assert.Regexp(t, `^vgpuctl: .*something else is mounted on top\nwhat to do: umount it, then umount .*\n$`, s.stderr.String())
}

// nothingLeft: no mount, no file, no socket.
func (s *simulation) nothingLeft(t *testing.T) {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	assert.NoFileExists(t, s.dir+".sock")
	assert.NotContains(t, string(table), strings.ReplaceAll(s.dir, " ", `\040`))
	for _, dir := range []string{s.dir, s.tmp} {
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Empty(t, left)
	}
}
