//go:build integration && linux && amd64

package integration

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// writing are the system calls that change something outside of the process.
var writing = []uint32{
	unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_WRITEV, unix.SYS_SENDTO, unix.SYS_SENDMSG,
	unix.SYS_FTRUNCATE, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FCHMOD, unix.SYS_FCHMODAT,
	unix.SYS_RENAME, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_UNLINK, unix.SYS_UNLINKAT,
	unix.SYS_RMDIR, unix.SYS_MKDIR, unix.SYS_MKDIRAT,
}

// haltAtWrites lets the kernel stop all threads of this process for their tracer
// before each system call of writing, and before an openat that may create.
func haltAtWrites() error {
	const (
		numberAt = 0  // offsets in struct seccomp_data
		flagsAt  = 32 // the low half of the third argument
		load     = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		anyBit   = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		answer   = unix.BPF_RET | unix.BPF_K
	)
	filter := []unix.SockFilter{{Code: load, K: numberAt}}
	for i, call := range writing {
		// To the last instruction, over the others, the five of openat and the verdict.
		filter = append(filter, unix.SockFilter{Code: equal, K: call, Jt: uint8(len(writing) - i - 1 + 4)})
	}
	filter = append(
		filter,
		unix.SockFilter{Code: equal, K: unix.SYS_OPENAT, Jf: 2},
		unix.SockFilter{Code: load, K: flagsAt},
		unix.SockFilter{Code: anyBit, K: unix.O_CREAT, Jt: 1},
		unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_TRACE},
	)
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no new privileges: %w", err)
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	return nil
}

// trace runs a program that calls haltAtWrites, and kills it at its n-th write,
// before that takes effect; with n = 0 never. It returns what the writes were.
func trace(t testing.TB, n int, log *os.File, env ...string) (writes []string, killed bool, status int) {
	t.Helper()
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	process, err := os.StartProcess("/proc/self/exe", []string{"child"}, &os.ProcAttr{
		Env: append(os.Environ(), env...), Files: []*os.File{nil, log, log}, Sys: &unix.SysProcAttr{Ptrace: true},
	})
	require.NoError(t, err)
	child := process.Pid
	var ws unix.WaitStatus
	_, err = unix.Wait4(child, &ws, unix.WALL, nil)
	require.NoError(t, err)
	require.True(t, ws.Stopped(), "the program is at its start: %v", ws)
	require.NoError(t, unix.PtraceSetOptions(child, unix.PTRACE_O_EXITKILL|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_TRACESECCOMP))
	require.NoError(t, unix.PtraceCont(child, 0))
	for {
		thread, err := unix.Wait4(-1, &ws, unix.WALL|unix.WNOTHREAD, nil)
		if err == unix.EINTR {
			continue
		}
		require.NoError(t, err)
		switch {
		case ws.Exited() || ws.Signaled():
			if thread == child {
				_ = process.Release()
				return writes, killed, ws.ExitStatus()
			}
			continue
		case !ws.Stopped():
			continue
		}
		signal := ws.StopSignal()
		switch {
		case signal == unix.SIGTRAP && ws.TrapCause() == unix.PTRACE_EVENT_SECCOMP:
			if what, counts := writeOf(thread); counts && !killed {
				writes = append(writes, what)
				if len(writes) == n {
					killed = true
					require.NoError(t, unix.Kill(child, unix.SIGKILL))
				}
			}
			signal = 0
		case signal == unix.SIGTRAP, signal == unix.SIGSTOP: // of the tracing itself
			signal = 0
		}
		_ = unix.PtraceCont(thread, int(signal)) // fails for a thread that was killed
	}
}

// writeOf tells which write a thread is about to do, and whether it goes out of
// the process.
func writeOf(thread int) (what string, counts bool) {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(thread, &regs); err != nil {
		return "", false // it was killed
	}
	call := names[uint32(regs.Orig_rax)]
	switch uint32(regs.Orig_rax) {
	case unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_WRITEV, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_FTRUNCATE, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FCHMOD:
		file, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", thread, int32(regs.Rdi)))
		inner := regs.Rdi == 1 || regs.Rdi == 2 || strings.HasPrefix(file, "pipe:") || strings.HasPrefix(file, "anon_inode:")
		return call + " " + file, !inner
	}
	return call, true
}

var names = map[uint32]string{
	unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite", unix.SYS_WRITEV: "writev", unix.SYS_SENDTO: "sendto", unix.SYS_SENDMSG: "sendmsg",
	unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FSYNC: "fsync", unix.SYS_FDATASYNC: "fdatasync", unix.SYS_FCHMOD: "fchmod", unix.SYS_FCHMODAT: "fchmodat",
	unix.SYS_RENAME: "rename", unix.SYS_RENAMEAT: "renameat", unix.SYS_RENAMEAT2: "renameat2", unix.SYS_UNLINK: "unlink", unix.SYS_UNLINKAT: "unlinkat",
	unix.SYS_RMDIR: "rmdir", unix.SYS_MKDIR: "mkdir", unix.SYS_MKDIRAT: "mkdirat", unix.SYS_OPENAT: "openat to create",
}
