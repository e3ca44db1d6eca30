package vgpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/devicexml"
	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/internal/libvirtid"
	"github.com/vgpukit/vgpukit/internal/statedir"
)

// checkName refuses names that libvirt refuses too, before they are used.
func checkName(name string) error {
	switch {
	case name == "":
		return invalid("give the domain a <name>", "the domain has no name")
	case strings.ContainsAny(name, "/\n\x00"), name == ".", name == "..":
		return invalid("choose a name without slashes and line ends", "%q is not a domain's name", name)
	}
	return nil
}

// checkNewName refuses beside these a name that would be taken for a UUID.
func checkNewName(name string) error {
	if _, ok := devicexml.ParseUUID(name); ok {
		return invalid("choose another name", "the name %q reads as a UUID, and would name the VM of that UUID", name)
	}
	return checkName(name)
}

// resolve finds the VM that a caller means by its name or UUID. A VM that was undefined is
// found by what was granted to it.
func (m *Manager) resolve(ctx context.Context, vm string) (uuid.UUID, error) {
	if err := m.upgrade(ctx); err != nil {
		return uuid.Nil, err
	}
	if id, ok := devicexml.ParseUUID(vm); ok {
		return id, nil
	}
	id, err := m.hyper.Lookup(ctx, vm)
	if err == nil || !errors.Is(err, domain.ErrNotFound) {
		return id, err
	}
	id, err = m.granted(vm, true)
	if err == nil && id == uuid.Nil {
		id, err = m.granted(vm, false)
	}
	if err != nil {
		return uuid.Nil, err
	}
	if id == uuid.Nil {
		return uuid.Nil, cmp.Or(m.heldBack(vm), legal(opStatus, StateAbsent))
	}
	info, err := m.hyper.Info(ctx, id.String())
	if err == nil && info.Name != vm {
		return uuid.Nil, &Error{Kind: ErrNotFound, Err: fmt.Errorf("the VM is called %s by now", info.Name), Next: "use its name, or its UUID " + id.String()}
	}
	if errors.Is(err, domain.ErrNotFound) {
		err = nil
	}
	return id, err
}

// granted finds the VM of a name, at this libvirt or at others, by what was granted to it;
// zero: there is none.
func (m *Manager) granted(name string, here bool) (uuid.UUID, error) {
	grants, _, err := m.store.grants.All() // what is damaged is load's
	if err != nil {
		return uuid.Nil, err
	}
	tasks, _, err := m.store.tasks.All()
	if err != nil {
		return uuid.Nil, err
	}
	ids := map[uuid.UUID]bool{}
	for _, g := range grants {
		if g.Name == name && (g.Libvirt == m.libvirt) == here {
			ids[g.VM] = true
		}
	}
	for _, t := range tasks {
		if t.Name == name && (t.Libvirt == m.libvirt) == here {
			ids[t.VM] = true
		}
	}
	switch len(ids) {
	case 0:
		return uuid.Nil, nil
	case 1:
		for id := range ids {
			return id, nil
		}
	}
	several := slices.SortedFunc(maps.Keys(ids), func(a, b uuid.UUID) int { return strings.Compare(a.String(), b.String()) })
	return uuid.Nil, &Error{
		Kind: ErrExists, Err: fmt.Errorf("vGPUs were granted to several VMs of this name, which were undefined: %v", several),
		Next: "name the one that is meant by its UUID",
	}
}

// checkLibvirt names a libvirt by its driver, its host and whose it is, and refuses one that is
// on another machine than the vGPUs.
func (m *Manager) checkLibvirt(uri string) (string, error) {
	id, err := libvirtid.Parse(uri)
	if err != nil {
		return uri, nil // a caller's own hypervisor is what it says
	}
	if hostname, err := os.Hostname(); err == nil {
		id = id.On(hostname)
	}
	if !id.Local() {
		return "", &Error{
			Kind: ErrInvalid, Err: fmt.Errorf("libvirt at %s is on another machine than the vGPUs", uri),
			Next: "run this program on that machine, with a local connection",
		}
	}
	who := strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	return id.As(who).String(), nil
}

// bind makes the state directory this machine's, or finds that it is another's: then it is for
// reading only, and every operation says so.
func (m *Manager) bind(ctx context.Context) error {
	machine, err := m.host.Machine(ctx)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	err = m.store.dir.Bind(ctx, statedir.Machine{ID: machine.ID, DMI: machine.DMI})
	if m.store.dir.Foreign() != nil {
		return nil
	}
	return err
}

// numbered is the number of a VM's last grant, as noted in this boot.
type numbered struct {
	VM     uuid.UUID `json:"vm"`
	Number uint64    `json:"number"`
	By     uuid.UUID `json:"by"` // the operation that wrote the grant or ended it
}

func (n numbered) key() string { return n.VM.String() }

// lastNumber is the note of a VM's last grant in this boot. It is zero if there is none, or it
// cannot be read: a note that is lost says nothing.
func (m *Manager) lastNumber(vm uuid.UUID) numbered {
	last, noted, err := m.store.numbers.Read(vm.String())
	if err != nil || !noted {
		return numbered{}
	}
	return last
}

// checkNumber refuses a grant, or what an operation was about to grant, that is older than the
// last one of this boot: the state directory was restored from a backup.
func (m *Manager) checkNumber(v *view) *Error {
	last, what := m.lastNumber(v.id), ""
	switch t := v.task; {
	case v.grant != nil && last.Number > v.grant.Number:
		what = fmt.Sprintf("its grant is number %d", v.grant.Number)
	case v.grant == nil && t != nil && (t.Operation == opProvision || t.Operation == opAdopt) && last.Number > t.After && last.By != t.Number:
		what = fmt.Sprintf("its unfinished operation (%s) comes after grant number %d", t.Operation, t.After)
	default:
		return nil
	}
	return &Error{
		Kind: ErrState, Err: fmt.Errorf("%s, and number %d was there in this boot: the state directory was restored from a backup", what, last.Number),
		Next: "see that the VM and its vGPUs are as the restored grant says, then take the state directory over",
	}
}

// TakeOver makes the state directory this machine's, as it is now: one that was copied from
// another machine, that is on a network file system, or that was restored from a backup. Grants
// stay; who has which device is found anew. It waits until nobody is at work in it.
func (m *Manager) TakeOver(ctx context.Context) error {
	return m.operation(ctx, opTakeOver, "", uuid.Nil, func(ctx context.Context, o *operation) error {
		machine, err := m.host.Machine(ctx)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, m.timeouts.Lock)
		defer cancel()
		if err := m.store.dir.TakeOver(ctx, statedir.Machine{ID: machine.ID, DMI: machine.DMI}, ownersDir); err != nil {
			return err
		}
		err = m.acceptNumbers()
		o.record("taken over", "")
		return err
	})
}

// acceptNumbers makes what the state directory says of VMs the last that there was in this boot.
// What had ended by then stays ended.
func (m *Manager) acceptNumbers() error {
	numbers, _, err := m.store.numbers.All()
	if err != nil {
		return err
	}
	var failures []error
	for id, last := range numbers {
		g, granted, err := m.store.grants.Read(id)
		if err != nil { // a damaged one is Reconcile's
			continue
		}
		t, begun, err := m.store.tasks.Read(id)
		switch {
		case err != nil:
			continue
		case granted:
			last.Number = g.Number
		case begun:
			last.Number = t.After
		}
		failures = append(failures, m.store.numbers.Replace(last))
	}
	return fault.Join(failures...)
}
