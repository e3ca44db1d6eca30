package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// qemu is a running QEMU.
type qemu struct {
	monitor *monitor
	cmd     *exec.Cmd
	stderr  *tailBuffer
	exited  chan struct{} // closed when it has ended
	err     error         // how, once exited is closed
	killed  sync.Once
}

// qemuArgs are the arguments of QEMU for a machine with its files in dir. The monitor is
// at file descriptor 3.
func qemuArgs(image Image, dir string, accel accel, o Options) []string {
	return []string{
		"-name", "vgpukit-lab", "-nodefaults", "-no-user-config", "-no-reboot",
		"-machine", "q35,graphics=off", "-accel", accel.arg(), "-cpu", accel.cpu(),
		"-smp", strconv.Itoa(o.cpus()), "-m", strconv.Itoa(o.memory()),
		"-display", "none",
		"-kernel", image.kernel(), "-initrd", image.initramfs(), "-append", kernelArgs(o),
		"-drive", "if=virtio,format=qcow2,cache=unsafe,file=" + commas(filepath.Join(dir, "disk")),
		"-netdev", "user,id=net,ipv6=off,hostfwd=tcp:127.0.0.1:0-10.0.2.15:22",
		"-device", "virtio-net-pci,netdev=net,romfile=",
		"-serial", "file:" + filepath.Join(dir, "console"),
		"-chardev", "socket,id=monitor,fd=3", "-mon", "chardev=monitor,mode=control",
	}
}

// commas doubles commas, which separate the parts of a QEMU option.
func commas(s string) string { return strings.ReplaceAll(s, ",", ",,") }

func kernelArgs(o Options) string {
	args := []string{
		// A panic ends QEMU at once, by -no-reboot, instead of a wait for a time-out.
		"console=ttyS0", "quiet", "panic=-1", "mitigations=off",
		"net.ifnames=0",
		// The kernel changes its own code when the first such group comes and when the
		// last one goes, as with each VM: that is when the emulator may fail, see ErrEmulator.
		"cgroup_disable=cpuset",
	}
	if len(o.Boards) > 0 {
		args = append(args, "nvbus.gpu="+strings.Join(o.Boards, ","))
	}
	return strings.Join(args, " ")
}

// startQEMU starts QEMU such that it dies with this process.
func startQEMU(args []string) (*qemu, error) {
	program, err := findProgram("qemu-system-x86_64")
	if err != nil {
		return nil, err
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("a socket for QEMU's monitor: %w", err)
	}
	defer theirs.Close()
	q := &qemu{
		cmd:    exec.Command(program, args...),
		stderr: &tailBuffer{limit: 4 << 10},
		exited: make(chan struct{}),
	}
	q.cmd.Stdout, q.cmd.Stderr = q.stderr, q.stderr
	q.cmd.ExtraFiles = []*os.File{theirs}
	started := make(chan struct{})
	go func() {
		defer close(q.exited)
		q.err = startTied(q.cmd, started)
	}()
	select {
	case <-started:
	case <-q.exited:
		ours.Close()
		return nil, fmt.Errorf("start %s: %w", program, q.err)
	}
	q.monitor, err = newMonitor(ours)
	if err != nil {
		q.kill()
		if text := q.stderr.String(); text != "" {
			err = errors.New(text)
		}
		return nil, fmt.Errorf("QEMU does not start: %w", err)
	}
	return q, nil
}

// kill ends QEMU at once and waits until it has ended.
func (q *qemu) kill() {
	q.killed.Do(func() {
		_ = q.cmd.Process.Kill() // fails only when it has ended already
	})
	<-q.exited
	if q.monitor != nil {
		q.monitor.close()
	}
}

// end says how QEMU, which has ended, did so.
func (q *qemu) end() string {
	if q.err != nil {
		return q.err.Error()
	}
	return "ended by itself, as it does when the kernel panics or resets"
}

// quit ends QEMU so that its disk is whole, or by force after a time.
func (q *qemu) quit() {
	if _, err := q.monitor.execute("quit", nil); err == nil {
		select {
		case <-q.exited:
		case <-time.After(10 * time.Second):
		}
	}
	q.kill()
}

func socketPair() (ours, theirs *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "monitor"), os.NewFile(uintptr(fds[1]), "qemu's monitor"), nil
}
