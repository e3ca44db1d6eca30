//go:build integration

package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// parityPatience bounds what is waited for.
const parityPatience = 30 * time.Second

var testContext = context.Background()

// errnoNames are those that tables use.
var errnoNames = map[syscall.Errno]string{}

func asErrno(err error, errno *syscall.Errno) bool { return errors.As(err, errno) }

// The test program is also what it runs in processes of their own: a VM that
// has a device open, and a write that may never return.
func init() {
	for n := syscall.Errno(1); n < 134; n++ {
		if name := unix.ErrnoName(n); name != "" {
			errnoNames[n] = name
		}
	}
	words := strings.Fields(os.Getenv("VGPUKIT_PARITY_CHILD"))
	if len(words) != 3 {
		return
	}
	var err error
	switch words[0] {
	case "use":
		err = vfioOpen(words[1], words[2])
	case "write":
		fmt.Println("writing")
		err = writeAttr(words[1], []byte(words[2]))
	}
	errno := syscall.Errno(0)
	if err != nil && !errors.As(err, &errno) {
		errno = syscall.ENOSYS
	}
	fmt.Println(int(errno))
	if words[0] == "use" && err == nil {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the VM is to end
	}
	os.Exit(0)
}

// vfioOpen opens a device as QEMU does: container, group, device. They stay
// open until the process ends.
func vfioOpen(group, device string) error {
	const (
		setIOMMU     = 0x3b66
		setContainer = 0x3b68
		getDeviceFD  = 0x3b6a
		type1        = 1
	)
	g, err := unix.Open("/dev/vfio/"+group, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	container, err := unix.Open("/dev/vfio/vfio", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.IoctlSetPointerInt(g, setContainer, container); err != nil {
		return err
	}
	if err := unix.IoctlSetInt(container, setIOMMU, type1); err != nil {
		return err
	}
	name, err := unix.BytePtrFromString(device)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(g), getDeviceFD, uintptr(unsafe.Pointer(name))); errno != 0 {
		return errno
	}
	return nil
}

// realSide is this machine.
type realSide struct{ t *testing.T }

func newRealSide(t *testing.T) *realSide { return &realSide{t} }

func (s *realSide) ReadFile(name string) ([]byte, error)       { return os.ReadFile("/" + name) }
func (s *realSide) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir("/" + name) }
func (s *realSide) Readlink(name string) (string, error)       { return os.Readlink("/" + name) }
func (s *realSide) Stat(name string) (fs.FileInfo, error)      { return os.Stat("/" + name) }

func (s *realSide) OpenNode(name string) (io.Closer, error) {
	return os.OpenFile("/"+name, os.O_RDWR, 0)
}

func (s *realSide) WriteAttr(name string, data []byte) error {
	result := make(chan error, 1)
	go func() { result <- writeAttr("/"+name, data) }()
	select {
	case err := <-result:
		return err
	case <-time.After(parityPatience):
		return errors.New("blocked")
	}
}

func writeAttr(name string, data []byte) error {
	fd, err := unix.Open(name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	n, err := unix.Write(fd, data)
	if err == nil && n != len(data) {
		err = io.ErrShortWrite
	}
	return errors.Join(err, unix.Close(fd))
}

// child starts this program again for one of init's jobs.
func (s *realSide) child(job ...string) (*realPending, error) {
	// The arguments are those of a VM, whom NVIDIA's driver knows by them.
	cmd := exec.Command("/proc/self/exe", "-name", "guest="+parityVM+",debug-threads=on", "-uuid", parityID("4242"))
	cmd.Env = append(os.Environ(), "VGPUKIT_PARITY_CHILD="+strings.Join(job, " "))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &realPending{in: in, process: cmd.Process, lines: make(chan string, 2)}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.lines <- lines.Text()
		}
		close(p.lines)
		_ = cmd.Wait()
	}()
	return p, nil
}

func (s *realSide) use(device, group string) (func() error, error) {
	p, err := s.child("use", group, device)
	if err != nil {
		return nil, err
	}
	if err := p.wait(); err != nil {
		return nil, err
	}
	return func() error {
		if err := p.in.Close(); err != nil {
			return err
		}
		select {
		case <-p.lines: // closed when its files are
			return nil
		case <-time.After(parityPatience):
			return errors.New("the process that plays the VM does not end")
		}
	}, nil
}

func (s *realSide) start(name, data string) (pending, error) {
	p, err := s.child("write", "/"+name, data)
	if err != nil {
		return nil, err
	}
	select {
	case line := <-p.lines:
		if line != "writing" {
			return nil, fmt.Errorf("the writing process says %q", line)
		}
	case <-time.After(parityPatience):
		return nil, errors.New("the writing process does not start")
	}
	return p, nil
}

func (s *realSide) run(program string, args ...string) error {
	ctx, cancel := context.WithTimeout(testContext, parityPatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "/"+program, args...).CombinedOutput()
	s.t.Logf("%s %s: %s", program, strings.Join(args, " "), out)
	return err
}

// realPending is a child at work.
type realPending struct {
	in      io.WriteCloser
	process *os.Process
	lines   chan string
}

func (p *realPending) done() bool { return len(p.lines) > 0 }

func (p *realPending) wait() error {
	select {
	case line := <-p.lines:
		n, err := strconv.Atoi(line)
		if err != nil {
			return fmt.Errorf("the process says %q", line)
		}
		if n != 0 {
			return syscall.Errno(n)
		}
		return nil
	case <-time.After(parityPatience):
		return errors.New("still blocked")
	}
}
