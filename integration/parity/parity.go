// Package parity is a table of what is done to VMs: rows of steps that run on real
// libvirt and QEMU and on the simulated hypervisor, and must give the same text.
package parity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
)

// Hypervisor is what a program asks of libvirt; *virt.Conn and the simulated one
// have it.
type Hypervisor interface {
	Domains(ctx context.Context) ([]domain.Info, error)
	Info(ctx context.Context, vm string) (domain.Info, error)
	Definition(ctx context.Context, vm string) (domain.Definition, error)
	XML(ctx context.Context, vm string) (string, error)
	LiveXML(ctx context.Context, vm string) (string, error)
	MigratableXML(ctx context.Context, vm string) (string, error)
	Define(ctx context.Context, xml string) (domain.Info, error)
	Undefine(ctx context.Context, vm string, opts domain.UndefineOptions) error
	Start(ctx context.Context, vm string) error
	Shutdown(ctx context.Context, vm string, mode domain.ShutdownMode) error
	Terminate(ctx context.Context, vm string) error
	Destroy(ctx context.Context, vm string) error
	Suspend(ctx context.Context, vm string) error
	Resume(ctx context.Context, vm string) error
	Reset(ctx context.Context, vm string) error
	Save(ctx context.Context, vm, path string) error
	Restore(ctx context.Context, path, xml string) error
	ManagedSave(ctx context.Context, vm string) error
	HasManagedSave(ctx context.Context, vm string) (bool, error)
	ManagedSaveRemove(ctx context.Context, vm string) error
	Attach(ctx context.Context, vm, deviceXML string, scope domain.Scope) error
	Detach(ctx context.Context, vm, device string, scope domain.Scope) error
	Events(ctx context.Context) (<-chan domain.Event, error)
}

// Hand is what somebody else can do besides, with virsh, in the guest or with kill.
type Hand interface {
	Guest(vm string, deaf bool) // what a document puts into the VM
	Create(ctx context.Context, xml string) error
	Rename(ctx context.Context, vm, to string) error
	SetAutostart(ctx context.Context, vm string, on bool) error
	Autostart(ctx context.Context, vm string) (bool, error)
	SetMetadata(ctx context.Context, vm, element string, scope domain.Scope) error
	Snapshot(ctx context.Context, vm, name string) error
	Revert(ctx context.Context, vm, name string) error
	Snapshots(ctx context.Context, vm string) ([]string, error)
	Crash(ctx context.Context, vm string) error    // QEMU is killed
	PowerOff(ctx context.Context, vm string) error // the guest turns itself off
	Boot(ctx context.Context, vm string) error     // waits until the guest's program runs
	Disk(ctx context.Context, path string) error   // makes an empty one
	HasFile(ctx context.Context, path string) bool
}

// Files are the kernel's, as mdev.FS has them.
type Files interface {
	Readlink(name string) (string, error)
	OpenNode(name string) (io.Closer, error)
}

// Side is one of those that are compared.
type Side struct {
	Hypervisor Hypervisor
	Hand       Hand
	Host       *mdev.Host
	Files      Files
	Dir        string // for what is saved; the guests are there
	// Said is libvirt's number and words in an error; 0: not libvirt's.
	Said func(err error) (code int, message string)
}

// Row is a series of steps, from a host without VMs and devices.
type Row struct {
	Name  string
	Steps []Step
}

// Step is one thing that is done.
type Step struct {
	name string
	do   func(r *run) (string, error)
	// until is an event that comes by itself, later.
	until string
}

const (
	patience = 60 * time.Second // for one step
	fence    = "fence"          // a VM whose events end those of a step
)

// run is one row on one side.
type run struct {
	Side
	ctx      context.Context
	events   <-chan domain.Event
	devices  map[string]bool
	released map[string]func() error
}

// Run does a row's steps, removes what is left, and returns what each step gave.
func (s Side) Run(ctx context.Context, row Row) (text string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &run{Side: s, ctx: ctx, devices: map[string]bool{}, released: map[string]func() error{}}
	if r.events, err = s.Hypervisor.Events(ctx); err != nil {
		return "", err
	}
	if _, err := r.collect(""); err != nil { // what came before
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", row.Name)
	for _, step := range row.Steps {
		fmt.Fprintln(&b, step.name)
		if err := r.step(&b, step); err != nil {
			return b.String(), errors.Join(fmt.Errorf("%s: %s: %w", row.Name, step.name, err), r.cleanUp())
		}
	}
	return b.String(), r.cleanUp()
}

func (r *run) step(b *strings.Builder, step Step) error {
	parent := r.ctx
	defer func() { r.ctx = parent }()
	ctx, cancel := context.WithTimeout(parent, patience)
	defer cancel()
	r.ctx = ctx
	result, err := step.do(r)
	switch {
	case err != nil:
		fmt.Fprintf(b, "  error: %s\n", r.describe(err))
	case result != "":
		fmt.Fprintf(b, "  %s\n", strings.ReplaceAll(r.plain(result), "\n", "\n  "))
	default:
		fmt.Fprintln(b, "  ok")
	}
	happened, err := r.collect(step.until)
	if err != nil {
		return err
	}
	if len(happened) > 0 {
		fmt.Fprintf(b, "  events: %s\n", strings.Join(happened, ", "))
	}
	states, err := r.states()
	for _, s := range states {
		fmt.Fprintf(b, "  %s\n", s)
	}
	return err
}

// collect returns the events until one that is waited for, and all that came before
// those of a VM that is defined now.
func (r *run) collect(until string) (happened []string, err error) {
	next := func() (domain.Event, error) {
		select {
		case e := <-r.events:
			return e, nil
		case <-r.ctx.Done():
			return domain.Event{}, fmt.Errorf("waiting for an event after %q: %w", happened, r.ctx.Err())
		}
	}
	seen := until == ""
	for !seen {
		e, err := next()
		if err != nil {
			return happened, fmt.Errorf("%s: %w", until, err)
		}
		happened = append(happened, r.event(e))
		seen = happened[len(happened)-1] == until
	}
	if _, err := r.Hypervisor.Define(r.ctx, Doc(fence).Deaf().xml("")); err != nil {
		return happened, err
	}
	if err := r.Hypervisor.Undefine(r.ctx, fence, domain.UndefineOptions{}); err != nil {
		return happened, err
	}
	for {
		e, err := next()
		if err != nil {
			return happened, err
		}
		if e.VM == fence {
			if e.Kind == domain.EventUndefined {
				return happened, nil
			}
			continue
		}
		happened = append(happened, r.event(e))
	}
}

func (r *run) event(e domain.Event) string {
	name := e.VM
	if e.UUID != vmID(e.VM) {
		name += " (" + r.plain(e.UUID.String()) + ")"
	}
	return r.plain(strings.TrimSpace(name + " " + string(e.Kind) + " " + e.Detail))
}

// states are all VMs with what libvirt remembers of them.
func (r *run) states() (lines []string, err error) {
	infos, err := r.Hypervisor.Domains(r.ctx)
	if err != nil {
		return nil, err
	}
	for _, info := range infos {
		one, err := r.Hypervisor.Info(r.ctx, info.UUID.String())
		if err != nil {
			return lines, err
		}
		if one != info {
			return lines, fmt.Errorf("listed as %+v, by itself it is %+v", info, one)
		}
		line := info.Name + ": " + string(info.State)
		if info.UUID != vmID(info.Name) {
			line = info.Name + " (" + r.plain(info.UUID.String()) + "): " + string(info.State)
		}
		if !info.Persistent {
			line += ", transient"
		}
		if saved, err := r.Hypervisor.HasManagedSave(r.ctx, info.Name); err != nil {
			return lines, err
		} else if saved {
			line += ", saved"
		}
		if auto, err := r.Hand.Autostart(r.ctx, info.Name); err != nil {
			return lines, err
		} else if auto {
			line += ", autostart"
		}
		if snaps, err := r.Hand.Snapshots(r.ctx, info.Name); err != nil {
			return lines, err
		} else if len(snaps) > 0 {
			line += ", snapshots " + strings.Join(snaps, " ")
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// kinds are package domain's.
var kinds = []struct {
	name string
	err  error
}{
	{"ErrInvalid", domain.ErrInvalid},
	{"ErrNotFound", domain.ErrNotFound},
	{"ErrExists", domain.ErrExists},
	{"ErrInUse", domain.ErrInUse},
	{"ErrState", domain.ErrState},
	{"ErrUnsupported", domain.ErrUnsupported},
	{"ErrPermission", domain.ErrPermission},
	{"ErrUnavailable", domain.ErrUnavailable},
}

// parserCode is libvirt's number for what its XML parser says, in that one's words.
const parserCode = 35

// describe is an error's kinds, libvirt's number and words.
func (r *run) describe(err error) string {
	var (
		is     []string
		byHand handError
	)
	if errors.As(err, &byHand) {
		is = []string{"by hand"}
	}
	for _, k := range kinds {
		if byHand.error == nil && errors.Is(err, k.err) {
			is = append(is, k.name)
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		is = append(is, "DeadlineExceeded")
	}
	if len(is) == 0 {
		is = []string{"no kind"}
	}
	code, message := r.Said(err)
	if message == "" && byHand.error != nil {
		message = err.Error()
	}
	if code != 0 {
		is = append(is, fmt.Sprint(code))
	}
	text := strings.Join(is, " ")
	if message != "" && code != parserCode && (code != 0 || byHand.error != nil) && !errors.As(err, &waitError{}) {
		text += ": " + r.plain(message)
	}
	return text
}

var plainer = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z `), ""},
	// libvirt says the one or the other of a QEMU that refuses, as it happens to see it.
	{regexp.MustCompile(`QEMU unexpectedly closed the monitor \(vm='[^']*'\)`), "process exited while connecting to monitor"},
	{regexp.MustCompile(`/dev/vfio/\d+`), "/dev/vfio/N"},
	{regexp.MustCompile(`group \d+`), "group N"},
	{regexp.MustCompile(`-device (\{.*?\}|[^ :]+): `), "-device …: "},
	{regexp.MustCompile(`-device …: warning: .*\nqemu-system-x86_64: `), ""},
	// Only where there is no KVM.
	{regexp.MustCompile(`-device …: group ID \d+: KVM VFIO device isn't created yet\nqemu-system-x86_64: `), ""},
	{regexp.MustCompile(`qemu-system-x86_64: `), "qemu: "},
	{regexp.MustCompile(`pid[ =]\d+`), "pid N"},
	{regexp.MustCompile(`00000000-0000-4000-9000-0{10,11}(\d+)`), "<vGPU $1>"},
	{regexp.MustCompile(`00000000-0000-4000-8000-0*([0-9a-f]+)`), "<VM $1>"},
	{regexp.MustCompile(`[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}`), "<UUID>"},
}

// plain takes out of a text what differs from run to run.
func (r *run) plain(text string) string {
	text = strings.ReplaceAll(strings.TrimSpace(text), r.Dir, "DIR")
	for _, p := range plainer {
		text = p.pattern.ReplaceAllString(text, p.with)
	}
	return text
}

// cleanUp leaves neither VMs nor devices.
func (r *run) cleanUp() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), patience)
	defer cancel()
	infos, err := r.Hypervisor.Domains(ctx)
	errs := []error{err}
	for _, info := range infos {
		id := info.UUID.String()
		if info.State.Active() {
			errs = append(errs, r.Hypervisor.Destroy(ctx, id))
		}
		if info.Persistent {
			errs = append(errs, r.Hypervisor.Undefine(ctx, id, domain.UndefineOptions{
				ManagedSave: true, SnapshotsMetadata: true, KeepNVRAM: true,
			}))
		}
	}
	for _, release := range r.released {
		errs = append(errs, release())
	}
	var ids []string
	for id := range r.devices {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		errs = append(errs, r.Host.Remove(ctx, id))
	}
	entries, err := os.ReadDir(r.Dir)
	errs = append(errs, err)
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".rom") {
			errs = append(errs, os.Remove(filepath.Join(r.Dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
