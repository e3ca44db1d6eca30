package main

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
)

// asProgram makes the test binary be vgpuctl, for what only a process of its own
// can show: signals, and outputs that are closed.
const asProgram = "VGPUCTL_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// program is vgpuctl as a process of its own, and what it says on stderr. Whoever
// started the tests may ignore signals, as nohup does; the program hears them.
func program(t *testing.T, args ...string) (cmd *exec.Cmd, stderr *bytes.Buffer) {
	t.Helper()
	args = append([]string{"--default-signal=HUP,INT,TERM,PIPE", os.Args[0]}, args...)
	cmd, stderr = exec.CommandContext(t.Context(), "env", args...), new(bytes.Buffer)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stderr = stderr
	return cmd, stderr
}
