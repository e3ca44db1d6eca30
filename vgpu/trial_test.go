package vgpu

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/devicexml"
	"github.com/vgpukit/vgpukit/vgpu/vgputest"
)

// verb is one call of a Manager.
type verb struct {
	op   string
	vm   string // as the caller names it; empty: it is about all
	doc  string // Provision's
	what string // for the report
	dry  bool   // it must change nothing
	do   func(context.Context, *Manager) error
	// reached tells what must be true when it says that it is done.
	reached func(VM, error) bool
}

// trial is one call, with what was true before and is allowed to it.
type trial struct {
	*model
	s        *site
	v        verb
	target   uuid.UUID // zero: all, or a VM that is new
	grants   map[uuid.UUID]grant
	tasks    map[uuid.UUID]task
	parts    map[*site]map[uuid.UUID]domain.Definition
	restored map[uuid.UUID]bool
	makers   map[string]uuid.UUID
}

// call lets a process at a site do something, and checks what it does. decide says what
// becomes of its accesses.
func (m *model) call(s *site, v verb, decide func(access) fate) (dead, faulted bool, err error) {
	m.t.Helper()
	tr := &trial{
		model: m, s: s, v: v, grants: s.grants(), tasks: s.tasks(), makers: map[string]uuid.UUID{},
		parts: map[*site]map[uuid.UUID]domain.Definition{}, restored: map[uuid.UUID]bool{},
	}
	for _, other := range m.sites {
		tr.parts[other] = other.parted()
	}
	for id, g := range tr.grants {
		tr.restored[id] = s.restored(g)
		if held, ok := s.shelf.held[id]; !ok || !sameGrants(held, g) {
			m.violated("the grant of %s is %+v, and was %+v", id, g, held)
		}
	}
	tr.target = tr.aimed()
	if m.called = tr.target.String(); tr.target == uuid.Nil {
		m.called = v.vm
	}
	p := s.launch(decide)
	p.m.timeouts = quick
	p.wrote, p.started = tr.wrote, tr.started
	err, dead = p.run(func(ctx context.Context, manager *Manager) (err error) {
		defer func() {
			if r := recover(); r != nil {
				m.violated("panic: %v", r)
			}
		}()
		return v.do(ctx, manager)
	})
	faulted = p.last.n > 0
	if faulted {
		m.note("%s: %s -> %v, died: %v, fault at %+v", s.name, v.what, err, dead, p.last)
	} else if !m.settling {
		m.note("%s: %s -> %v", s.name, v.what, err)
	}
	tr.judge(err, dead || faulted)
	m.demand()
	return dead, faulted, err
}

// reconcile is call of Reconcile, with its report.
func (m *model) reconcile(s *site, opts ReconcileOptions, decide func(access) fate) (report Report, err error) {
	m.t.Helper()
	_, _, err = m.call(s, verb{op: opReconcile, what: fmt.Sprintf("reconcile %+v", opts), dry: opts.DryRun, do: func(ctx context.Context, manager *Manager) (err error) {
		report, err = manager.Reconcile(ctx, opts)
		return err
	}}, decide)
	return report, err
}

// aimed is the VM that the caller means.
func (tr *trial) aimed() uuid.UUID {
	name := tr.v.vm
	if tr.v.op == opProvision {
		doc, err := domain.Parse([]byte(tr.v.doc))
		require.NoError(tr.t, err)
		if id, ok := doc.UUID(); ok {
			return id
		}
		name = doc.Name()
	}
	if name == "" {
		return uuid.Nil
	}
	if id, ok := devicexml.ParseUUID(name); ok {
		return id
	}
	for id, def := range tr.parts[tr.s] {
		if def.Name == name {
			return id
		}
	}
	places := []bool{true, false}
	if tr.v.op == opProvision {
		places = places[:1] // of a name known at another libvirt this is a new one
	}
	for _, here := range places {
		for id, g := range tr.grants {
			if g.Name == name && (g.Libvirt == tr.s.m.libvirt) == here {
				return id
			}
		}
		for id, t := range tr.tasks {
			if t.Name == name && (t.Libvirt == tr.s.m.libvirt) == here {
				return id
			}
		}
	}
	return uuid.Nil
}

// all tells that the call is about all VMs.
func (tr *trial) all() bool { return tr.v.vm == "" && tr.v.doc == "" }

// mayTouch tells whether the call may do anything to a VM.
func (tr *trial) mayTouch(vm uuid.UUID) bool {
	g, granted := tr.grants[vm]
	t, begun := tr.tasks[vm]
	switch {
	case tr.v.op == opForget && tr.v.vm == vm.String() && !tr.s.foreign() && !tr.restored[vm]: // that libvirt may be no more
		return true
	case tr.v.dry, tr.s.foreign(), granted && (tr.restored[vm] || g.Libvirt != tr.s.m.libvirt), !granted && begun && t.Libvirt != tr.s.m.libvirt:
		return false
	case tr.v.op == opTakeOver:
		return false
	case tr.v.op == opAdopt && tr.all():
		_, defined := tr.parts[tr.s][vm]
		return defined
	case tr.all():
		return granted || begun
	case tr.target == uuid.Nil:
		return !granted && !begun // a new one
	}
	return vm == tr.target
}

// mayRemove tells whether the call may remove a VM's devices.
func (tr *trial) mayRemove(vm uuid.UUID) bool {
	if !tr.mayTouch(vm) {
		return false
	}
	for _, maker := range tr.makers {
		if maker == vm {
			return true // undoing
		}
	}
	g, granted := tr.grants[vm]
	_, begun := tr.tasks[vm]
	def, defined := tr.parts[tr.s][vm]
	if tr.all() && !begun {
		return granted && (!defined || g.Lifetime == WhileRunning && !def.State.Active())
	}
	return granted || begun
}

// wrote is told of each write of the process to the host, before it takes effect.
func (tr *trial) wrote(path string, data []byte) {
	id, value := "", strings.TrimSpace(string(data))
	switch file := filepath.Base(path); file {
	case "remove":
		id = filepath.Base(filepath.Dir(path))
		value = "0"
	case "create":
		id = value
	case "current_vgpu_type":
		id = filepath.Base(filepath.Dir(filepath.Dir(path)))
	default:
		return
	}
	o, there := tr.origins[tr.s.machine][id]
	switch maker, made := tr.makers[id]; {
	case value == "0" && made && tr.mayTouch(maker):
	case value == "0" && there && !o.mayGo(tr.mayRemove):
		tr.violated("%s removes the device %s, %v", tr.v.what, id, o)
	case value != "0":
		tr.making(id, o, there)
	}
}

// making checks that a device which is being made is for a VM that may have it.
func (tr *trial) making(id string, o origin, there bool) {
	w, owned, err := tr.s.m.ownerOf(id)
	if err != nil || !owned {
		tr.violated("%s makes the device %s, and nothing says for whom", tr.v.what, id)
		return
	}
	g, granted := tr.s.shelf.held[w.VM]
	switch {
	case there && o.vm != w.VM:
		tr.violated("%s makes the device %s for %s, and it is there, %v", tr.v.what, id, w.VM, o)
	case !tr.mayTouch(w.VM):
		tr.violated("%s makes the device %s for %s, which is another VM", tr.v.what, id, w.VM)
	case tr.v.op == opProvision || tr.v.op == opAdopt:
	case !granted:
		tr.violated("%s makes the device %s for %s, which was granted nothing", tr.v.what, id, w.VM)
	case !strings.Contains(id, ":") && !g.has(device{ID: id}):
		tr.violated("%s makes the device %s for %s, which was granted others", tr.v.what, id, w.VM)
	}
	tr.makers[id] = w.VM
}

// started is told of each start of a VM by the process, before it takes effect.
func (tr *trial) started(vm string) {
	def, err := tr.s.hyper.Virsh().Definition(context.Background(), vm)
	if err != nil {
		return
	}
	if _, granted := tr.s.shelf.held[def.UUID]; !granted || !tr.mayTouch(def.UUID) {
		tr.violated("%s starts %s, which was granted nothing", tr.v.what, def.Name)
	}
	g := tr.s.grants()[def.UUID]
	for _, h := range hostdevsIn(def.XML) {
		o, there := tr.origins[tr.s.machine][h.ID()]
		if maker, made := tr.makers[h.ID()]; made {
			o, there = origin{vm: maker}, true
		}
		if there && o.vm != def.UUID && !o.loose && (o.vm != uuid.Nil || g.has(device{ID: h.ID()})) {
			tr.violated("%s starts %s with the device %s, %v", tr.v.what, def.Name, h.ID(), o)
		}
	}
}

// judge checks what has become of the world.
func (tr *trial) judge(err error, disturbed bool) {
	tr.t.Helper()
	now, v := tr.s.grants(), tr.v
	if err != nil && !disturbed {
		var e *Error
		if !errors.As(err, &e) || KindOf(err) == nil || errors.Is(err, ErrUnavailable) {
			tr.violated("%s: without a fault an error is a refusal: %v", v.what, err)
		} else if Hint(err) == "" && !errors.As(err, new(*vgputest.Error)) { // which says itself what is wrong with a document
			tr.violated("%s: the refusal says no way out: %v", v.what, err)
		}
	}
	if _, granted := tr.grants[tr.target]; err == nil && !disturbed && !granted && slices.Contains([]string{opStart, opStop, opTeardown, opUpdate, opForget}, v.op) {
		tr.violated("%s succeeds on a VM that was granted nothing", v.what)
	}
	for _, id := range union(tr.grants, now) {
		was, had := tr.grants[id]
		is, has := now[id]
		switch {
		case had && has && sameGrants(was, is):
		case !tr.mayTouch(id):
			tr.violated("%s changes the grant of %s from %+v to %+v", v.what, id, was, is)
		case !had && has && v.op != opProvision && v.op != opAdopt:
			tr.violated("%s grants %+v", v.what, is)
		case had && !has && !tr.mayEnd(id):
			tr.violated("%s ends the grant %+v", v.what, was)
		}
	}
	tr.s.shelf.held = now
	for s, parts := range tr.parts {
		after := s.parted()
		for _, id := range union(parts, after) {
			if s.hyper == tr.s.hyper && tr.mayTouch(id) && (!tr.all() || tr.mayRewrite(id)) {
				continue
			}
			if was, is := parts[id], after[id]; was.XML != is.XML || was.State != is.State {
				tr.violated("%s touched the VM %s%s at %s", v.what, was.Name, is.Name, s.name)
			}
		}
	}
	tr.claim(now)
	tr.sweep(tr.s.machine, tr.makers, tr.mayRemove)
}

// mayEnd tells whether the call may end a grant.
func (tr *trial) mayEnd(vm uuid.UUID) bool {
	_, begun := tr.tasks[vm]
	_, defined := tr.parts[tr.s][vm]
	switch tr.v.op {
	case opTeardown, opForget:
		return true
	case opProvision, opReconcile:
		return begun || !defined
	}
	return begun
}

// mayRewrite tells of a call about all VMs whether it may rewrite one's document.
func (tr *trial) mayRewrite(vm uuid.UUID) bool {
	_, begun := tr.tasks[vm]
	return begun || tr.v.op == opAdopt || strings.Contains(tr.v.what, "Repair:true") || strings.Contains(tr.v.what, "Restore:true")
}

// claim makes a VM's what it has adopted, and a stranger's what was forgotten.
func (tr *trial) claim(now map[uuid.UUID]grant) {
	devices, there := tr.origins[tr.s.machine], tr.devices(tr.s.machine)
	for id, o := range devices {
		if !there[id] {
			continue // it was removed before
		}
		w := tr.owned(tr.s, id)
		was, had := tr.grants[o.vm]
		_, has := now[o.vm]
		switch t := tr.tasks[o.vm]; {
		case w != uuid.Nil && w != o.vm && tr.mayTouch(w) && now[w].has(device{ID: id}) && (tr.v.op == opAdopt || tr.tasks[w].Operation == opAdopt) && (o.vm == uuid.Nil || o.loose):
			devices[id] = origin{vm: w}
		case o.vm != uuid.Nil && had && was.has(device{ID: id}) && !has && w == uuid.Nil && (tr.v.op == opForget || t.Operation == opForget):
			if tr.elsewhere(tr.s, o.vm) { // a state directory that was carried here as well
				devices[id] = origin{vm: o.vm, loose: true}
				continue
			}
			devices[id] = origin{former: o.vm}
		}
	}
}
