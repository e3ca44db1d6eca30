package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// guestDir is where commands start in the machine, and where pushed files go.
const guestDir = "/lab"

// RebootStatus is the exit status by which a command asks for a reboot of the machine, after
// which it is run again.
const RebootStatus = 194

// BootEnv names the environment variable that counts the boots that a command has seen, from 1.
const BootEnv = "VGPUKIT_LAB_BOOT"

// Command is what to run in the machine, as root.
type Command struct {
	// Args are a program and its arguments, or else Shell is a line for /bin/sh.
	Args  []string
	Shell string
	// Env are more variables, as NAME=value. VGPUKIT_LAB=1 is always set.
	Env []string
	// Dir is where it starts; empty means /lab.
	Dir            string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// ExitError is a command that ran and did not succeed.
type ExitError struct {
	// Status is its exit status, 128 and the signal's number if a signal ended it.
	Status int
	// Signal is the name of that signal, such as KILL.
	Signal string
}

func (e *ExitError) Error() string {
	if e.Signal != "" {
		return "ended by signal " + e.Signal
	}
	return fmt.Sprintf("exit status %d", e.Status)
}

var signals = map[string]int{
	"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "BUS": 7, "FPE": 8, "KILL": 9,
	"USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15,
}

// Run runs a command to its end. It returns an *ExitError if the command failed, and another
// error if it could not be run or the machine died. When ctx ends the command is sent a
// SIGTERM and no longer waited for.
func (m *Machine) Run(ctx context.Context, c Command) error {
	line, err := c.line()
	if err != nil {
		return err
	}
	s, err := m.session()
	if err != nil {
		return err
	}
	defer s.Close()
	s.Stdin, s.Stdout, s.Stderr = c.Stdin, c.Stdout, c.Stderr
	return m.await(ctx, s, func() error {
		if err := s.Start(line); err != nil {
			return err
		}
		return s.Wait()
	})
}

// await runs a session's work until it or ctx ends.
func (m *Machine) await(ctx context.Context, s *ssh.Session, work func() error) error {
	done := make(chan error, 1)
	go func() { done <- work() }()
	select {
	case err := <-done:
		return m.outcome(err)
	case <-ctx.Done():
	}
	_ = s.Signal(ssh.SIGTERM) // who doesn't hear it is left behind
	select {
	case <-done:
	case <-time.After(time.Second):
	}
	return context.Cause(ctx)
}

func (m *Machine) outcome(err error) error {
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit):
		e := &ExitError{Status: exit.ExitStatus(), Signal: exit.Signal()}
		if n, ok := signals[e.Signal]; ok {
			e.Status = 128 + n
		}
		return e
	default:
		return m.died(err)
	}
}

// RunThroughReboots is Run for a command that may end with RebootStatus: the machine is then
// rebooted and the command run again with the next number in VGPUKIT_LAB_BOOT, at most until
// the tenth boot.
func (m *Machine) RunThroughReboots(ctx context.Context, c Command) error {
	return throughReboots(ctx, m, c)
}

type rebooter interface {
	Run(context.Context, Command) error
	Reboot(context.Context) error
}

func throughReboots(ctx context.Context, m rebooter, c Command) error {
	const most = 10
	env := c.Env
	for boot := 1; ; boot++ {
		c.Env = append(env[:len(env):len(env)], fmt.Sprintf("%s=%d", BootEnv, boot))
		err := m.Run(ctx, c)
		var exit *ExitError
		if !errors.As(err, &exit) || exit.Status != RebootStatus {
			return err
		}
		if boot == most {
			return fmt.Errorf("the command asked for a reboot at each of %d boots: %w", most, err)
		}
		if err := m.Reboot(ctx); err != nil {
			return fmt.Errorf("reboot, as the command asked: %w", err)
		}
	}
}

// line is the command for the machine's shell.
func (c Command) line() (string, error) {
	args := c.Args
	switch {
	case len(args) > 0 && c.Shell != "":
		return "", errors.New("a command has either arguments or a line for the shell")
	case len(args) == 0 && c.Shell == "":
		return "", errors.New("no command to run")
	case c.Shell != "":
		args = []string{"/bin/sh", "-c", c.Shell}
	}
	dir := c.Dir
	if dir == "" {
		dir = guestDir
	}
	env := append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "VGPUKIT_LAB=1"}, c.Env...)
	for _, e := range env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" || strings.HasPrefix(name, "-") {
			return "", fmt.Errorf("environment variable %q: want NAME=value", e)
		}
	}
	return "cd " + quote(dir) + " && exec env " + quote(append(env, args...)...), nil
}

// quote makes words that a shell reads as they are.
func quote(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}
