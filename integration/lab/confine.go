package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// confined runs a program as root of namespaces of its own. Its mounts are seen by nobody
// else, and it ends with all that it started when ctx ends or when this process dies: it is
// the first process of its process namespace, and the kernel takes the others down with it.
func confined(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	wrap := []string{"--mount", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL"}
	if os.Geteuid() != 0 {
		wrap = append(wrap, "--user", "--map-root-user", "--map-auto")
	}
	cmd := exec.CommandContext(ctx, "unshare", append(append(wrap, "--", name), args...)...)
	cmd.Env = append(os.Environ(), append([]string{"LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, env...)...)
	cmd.Cancel = func() error { return killInside(cmd.Process) }
	return output(ctx, cmd)
}

// killInside kills the first process of unshare's namespace, with which all in it end, and
// leaves it to unshare to see that through.
func killInside(unshare *os.Process) error {
	pid := strconv.Itoa(unshare.Pid)
	children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	child, e := strconv.Atoi(strings.TrimSpace(string(children)))
	if err != nil || e != nil {
		return unshare.Kill()
	}
	return syscall.Kill(child, syscall.SIGKILL)
}

// inRoot runs a program in the file tree root, with the host's directory work, unless
// empty, at /work.
func inRoot(ctx context.Context, root, work, name string, args ...string) ([]byte, error) {
	if work == "" {
		return confined(ctx, nil, "chroot", append([]string{root, name}, args...)...)
	}
	const enter = `mount --bind "$1" "$2/work" && shift && exec chroot "$@"`
	return confined(ctx, nil, "sh", append([]string{"-c", enter, "sh", work, root, name}, args...)...)
}

// output runs cmd to its end, out of reach of the terminal's signals, and returns what it
// wrote to its standard output; an error holds the tail of what it wrote to either.
func output(ctx context.Context, cmd *exec.Cmd) ([]byte, error) {
	var out strings.Builder
	tail := &tailBuffer{limit: 4 << 10}
	cmd.Stdout = &tee{&out, tail}
	cmd.Stderr = tail
	cmd.WaitDelay = 10 * time.Second
	if err := runTied(cmd); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, tail)
	}
	return []byte(out.String()), nil
}

// runTied runs cmd so that it cannot outlive this process.
func runTied(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	go func() { done <- startTied(cmd, make(chan struct{})) }()
	return <-done
}

// startTied starts cmd, closes started, and waits until cmd has ended. The kernel ties a
// child's fate to the thread that made it, so this goroutine keeps its thread meanwhile.
func startTied(cmd *exec.Cmd, started chan<- struct{}) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return err
	}
	close(started)
	return cmd.Wait()
}

// tailBuffer keeps the last bytes written to it.
type tailBuffer struct {
	mu    sync.Mutex
	limit int
	data  []byte
}

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data = append(b.data, p...)
	if extra := len(b.data) - b.limit; extra > 0 {
		b.data = append([]byte(nil), b.data[extra:]...)
	}
	return len(p), nil
}

func (b *tailBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.TrimSpace(string(b.data))
}

type tee struct {
	out  *strings.Builder
	tail *tailBuffer
}

func (t *tee) Write(p []byte) (int, error) {
	t.out.Write(p)
	return t.tail.Write(p)
}
