package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/crypto/ssh"
	"golang.org/x/term"
)

// Shell runs an interactive shell in the machine on this process's terminal, which follows
// the window's size and is as before afterwards.
func (m *Machine) Shell(ctx context.Context) error {
	in := int(os.Stdin.Fd())
	if !term.IsTerminal(in) {
		return errors.New("a shell needs a terminal; without one, run a command")
	}
	s, err := m.session()
	if err != nil {
		return err
	}
	defer s.Close()
	width, height, err := term.GetSize(in)
	if err != nil {
		return fmt.Errorf("the terminal's size: %w", err)
	}
	kind := os.Getenv("TERM")
	if kind == "" {
		kind = "vt100"
	}
	if err := s.RequestPty(kind, height, width, ssh.TerminalModes{}); err != nil {
		return fmt.Errorf("a terminal in the machine: %w", err)
	}
	before, err := term.MakeRaw(in)
	if err != nil {
		return fmt.Errorf("the terminal: %w", err)
	}
	defer term.Restore(in, before)

	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-done:
				return
			case <-resized:
				if width, height, err := term.GetSize(in); err == nil {
					_ = s.WindowChange(height, width) // a lost one only looks wrong
				}
			}
		}
	}()
	s.Stdin, s.Stdout, s.Stderr = os.Stdin, os.Stdout, os.Stderr
	line, err := Command{Args: []string{"bash", "-l"}}.line()
	if err != nil {
		return err
	}
	return m.await(ctx, s, func() error {
		if err := s.Start(line); err != nil {
			return err
		}
		return s.Wait()
	})
}
