package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// attempts are how often a boot is tried: now and then an emulated kernel crashes.
	attempts = 3
	// ready is what the machine writes to its console when it is up.
	ready = "lab: ready"
	// How long a boot may take until the kernel, then the system, is up.
	// Unhurried hosts need a tenth of that.
	kernelTime = 60 * time.Second
	systemTime = 180 * time.Second
	// rebootTime is what a machine gets to go down by itself.
	rebootTime = 60 * time.Second
)

// Machine is a running lab. Its methods may be called from several goroutines, except that
// Reboot and Close end what runs in it.
type Machine struct {
	image   Image
	options Options
	accel   accel
	dir     string
	dirLock *os.File
	entry   *entry

	mu     sync.Mutex
	qemu   *qemu
	client *ssh.Client
}

// Boot starts a machine from an image and returns when libvirtd runs and the drivers are
// loaded. The machine dies with this process; Close ends it sooner.
func Boot(ctx context.Context, image Image, o Options) (*Machine, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	c, err := openCache(filepath.Dir(image.Dir))
	if err != nil {
		return nil, err
	}
	e, err := c.use(ctx, filepath.Base(image.Dir))
	if err != nil {
		return nil, fmt.Errorf("the lab's image: %w; build it again", err)
	}
	m := &Machine{image: image, options: o, entry: e}
	if err := m.start(ctx, c.dir); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *Machine) start(ctx context.Context, cacheDir string) (err error) {
	if m.dir, m.dirLock, err = runDir(os.TempDir()); err != nil {
		return err
	}
	if m.accel, err = chooseAccel(ctx, cacheDir, m.image, m.options.Progress); err != nil {
		return err
	}
	if err := writeOverlay(filepath.Join(m.dir, "disk"), m.image.disk()); err != nil {
		return fmt.Errorf("the machine's disk: %w", err)
	}
	return m.boot(ctx)
}

// boot starts QEMU on the machine's disk and waits until the system is up, several times if
// need be.
func (m *Machine) boot(ctx context.Context) error {
	var err error
	for i := range attempts {
		err = timed(m.options.Progress, fmt.Sprintf("boot (%s)", m.accel), func() error { return m.bootOnce(ctx) })
		if err == nil {
			return nil
		}
		m.stop()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if i < attempts-1 {
			m.options.Progress.Note("boot failed, trying again: %v", err)
		}
	}
	return fmt.Errorf("%d boots failed; the last: %w", attempts, err)
}

func (m *Machine) bootOnce(ctx context.Context) error {
	console := filepath.Join(m.dir, "console")
	if err := os.RemoveAll(console); err != nil {
		return err
	}
	q, err := startQEMU(qemuArgs(m.image, m.dir, m.accel, m.options))
	if err != nil {
		return m.blame(err, "")
	}
	m.mu.Lock()
	m.qemu = q
	m.mu.Unlock()
	port, err := q.monitor.sshPort()
	if err != nil {
		return m.blame(err, q.stderr.String())
	}
	if err := awaitLine(ctx, q, console, kernelUp, kernelTime); err != nil {
		return m.blame(err, q.stderr.String())
	}
	if err := awaitLine(ctx, q, console, ready, systemTime); err != nil {
		return m.blame(err, q.stderr.String())
	}
	client, err := dial(ctx, m.image, port)
	if err != nil {
		return m.blame(err, q.stderr.String())
	}
	m.mu.Lock()
	m.client = client
	m.mu.Unlock()
	go keepAlive(client, q)
	return nil
}

// blame adds to the error of a machine that failed what its console said, and what to make
// of it.
func (m *Machine) blame(err error, stderr string) error {
	console := readConsole(filepath.Join(m.dir, "console"))
	cause := causeOf(strings.Join([]string{console, stderr, err.Error()}, "\n"))
	said := strings.TrimSpace(excerpt(console, 15) + "\n" + stderr)
	if m.accel == tcg && breakpoint.MatchString(console) {
		err = fmt.Errorf("%w: %w", err, ErrEmulator)
	}
	return fmt.Errorf("%w\nlikely: %s\nits console:\n%s", err, cause, said)
}

// awaitLine waits until the console shows a text.
func awaitLine(ctx context.Context, q *qemu, console, text string, limit time.Duration) error {
	deadline := time.After(limit)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if data, err := os.ReadFile(console); err == nil && strings.Contains(string(data), text) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-q.exited:
			return fmt.Errorf("the machine died while it booted (QEMU: %s)", q.end())
		case <-deadline:
			return fmt.Errorf("the machine hung: %q was not seen in %v", text, limit)
		case <-tick.C:
		}
	}
}

// Reboot takes the machine down and brings it up again with the same disk.
func (m *Machine) Reboot(ctx context.Context) error {
	m.mu.Lock()
	q := m.qemu
	m.mu.Unlock()
	err := timed(m.options.Progress, "go down for a reboot", func() error {
		// The connection dies with the machine, so its error says nothing. A machine that
		// can't go down by itself, because a process hangs in its kernel, is stopped below.
		down, cancel := context.WithTimeout(ctx, rebootTime)
		defer cancel()
		_ = m.Run(down, Command{Shell: "sync; systemctl reboot --force"})
		select {
		case <-q.exited:
		case <-down.Done():
		}
		m.stop()
		return ctx.Err()
	})
	if err != nil {
		return context.Cause(ctx)
	}
	return m.boot(ctx)
}

// stop ends QEMU with its disk whole.
func (m *Machine) stop() {
	m.mu.Lock()
	q, client := m.qemu, m.client
	m.qemu, m.client = nil, nil
	m.mu.Unlock()
	if client != nil {
		client.Close()
	}
	if q != nil {
		q.quit()
	}
}

// Close ends the machine, whatever it is at, and removes its files.
func (m *Machine) Close() error {
	m.mu.Lock()
	q, client := m.qemu, m.client
	m.qemu, m.client = nil, nil
	m.mu.Unlock()
	if q != nil {
		q.kill()
	}
	if client != nil {
		client.Close()
	}
	var errs []error
	if m.dir != "" {
		errs = append(errs, os.RemoveAll(m.dir), m.dirLock.Close())
	}
	return errors.Join(append(errs, m.entry.release())...)
}

// Console is what the machine's kernel has said since it was last booted.
func (m *Machine) Console() string {
	return readConsole(filepath.Join(m.dir, "console"))
}

// Accel is how the machine's processors run: "kvm" or "tcg".
func (m *Machine) Accel() string { return string(m.accel) }
