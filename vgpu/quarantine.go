package vgpu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
)

// tolerated is for how many VMs a parent may fail: one may have a fault of its own, several have
// not.
const tolerated = 1

// Failure is one of a parent, a virtual function or a GPU, for a VM: its driver refused to make
// a vGPU although it showed room, or libvirt could not get the vGPU for the VM. A parent that
// fails for two VMs is quarantined: nothing is placed on it until it is released
// ([Manager.ChangePolicy]). A VM that starts on it ends its failures.
type Failure struct {
	VM     string    `json:"vm"`
	UUID   uuid.UUID `json:"uuid"`
	Time   time.Time `json:"time"`
	Reason string    `json:"reason"`
}

// suspect is a parent that refused a vGPU, with what was seen of it before.
type suspect struct {
	refusal
	typ    string
	before lookup
}

// noteRefusals notes the parents whose driver refused a vGPU and where nothing shows why: the
// host has the same room and the same vGPUs on the GPU as before.
func (o *operation) noteRefusals(ctx context.Context) {
	suspects := o.suspects
	o.suspects = nil
	if len(suspects) == 0 || ctx.Err() != nil {
		return
	}
	r, err := o.m.read(ctx)
	if err != nil {
		return // the operation itself tells of the host
	}
	for _, s := range suspects {
		room := s.before.available(s.by.Parent, s.typ)
		if room > 0 && r.available(s.by.Parent, s.typ) == room && slices.Equal(o.othersOn(s.before, s.by.GPU), o.othersOn(r.lookup, s.by.GPU)) {
			o.noteFailure(ctx, r.lookup, s.by.Parent, s.reason())
		}
	}
}

// othersOn are the vGPUs on a GPU that this operation has not made.
func (o *operation) othersOn(l lookup, gpu string) []string {
	var ids []string
	for id, d := range l.devices {
		if _, own := o.created[id]; !own && l.gpu(d.Parent) == gpu {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// noteStart notes that libvirt could not get a vGPU for the VM, if that is what its error says.
func (o *operation) noteStart(ctx context.Context, v *view, err error) {
	d, blamed := blame(v.devices, err)
	if !blamed || ctx.Err() != nil {
		return
	}
	r, look := o.m.read(ctx)
	if look != nil {
		return
	}
	o.noteFailure(ctx, r.lookup, d.Parent, "libvirt could not get the vGPU for the VM")
}

// notTheDevice are the words of libvirt and QEMU for what is not a device's fault: another has it,
// it is gone, the VM may not open it or has no memory to pin.
var notTheDevice = []string{"resource busy", "no such device", "no such file", "not found", "permission denied", "operation not permitted", "cannot allocate memory", "in use by"}

// blame finds the vGPU that libvirt's error is about.
func blame(devices []device, err error) (device, bool) {
	for _, kind := range []error{domain.ErrInUse, domain.ErrNotFound, domain.ErrPermission, domain.ErrInvalid, domain.ErrUnsupported, domain.ErrState} {
		if errors.Is(err, kind) {
			return device{}, false
		}
	}
	text := strings.ToLower(wholeText(err))
	if slices.ContainsFunc(notTheDevice, func(words string) bool { return strings.Contains(text, words) }) {
		return device{}, false
	}
	for _, d := range devices {
		if strings.Contains(text, strings.ToLower(d.ID)) {
			return d, true
		}
	}
	group := strings.Contains(text, "error getting device from group") || strings.Contains(text, "refused to open the vgpu")
	if group && len(devices) == 1 {
		return devices[0], true
	}
	return device{}, false
}

// wholeText is an error with those beneath it: what libvirt itself said may be told in other words.
func wholeText(err error) string {
	text := err.Error()
	switch err := err.(type) {
	case interface{ Unwrap() error }:
		if beneath := err.Unwrap(); beneath != nil {
			text += "\n" + wholeText(beneath)
		}
	case interface{ Unwrap() []error }:
		for _, beneath := range err.Unwrap() {
			text += "\n" + wholeText(beneath)
		}
	}
	return text
}

// noteFailure notes that a parent has failed for the VM, and quarantines one that has done so for
// several. That it could not be noted is only told: the operation has failed, or found another
// place.
func (o *operation) noteFailure(ctx context.Context, l lookup, parent, reason string) {
	gpu := l.gpuWith(parent)
	if gpu == nil {
		return
	}
	quarantined := false
	_, err := o.m.updatePolicy(ctx, gpu, o.op+" "+o.vm, func(before GPUPolicy) (GPUPolicy, error) {
		after := before.clone()
		if after.Failures == nil {
			after.Failures = map[string][]Failure{}
		}
		list := slices.DeleteFunc(slices.Clone(after.Failures[parent]), func(f Failure) bool { return f.UUID == o.id })
		list = append(list, Failure{VM: o.vm, UUID: o.id, Time: time.Now().UTC().Truncate(time.Second), Reason: reason})
		after.Failures[parent] = list
		if _, already := after.Quarantined[parent]; !already && len(list) > tolerated {
			if after.Quarantined == nil {
				after.Quarantined = map[string]string{}
			}
			after.Quarantined[parent], quarantined = failedFor(list), true
		}
		return after, nil
	}, func(after GPUPolicy) {
		o.log.Warn("a parent has failed", "parent", parent, "reason", reason)
		if quarantined {
			o.recordDetail("quarantined", parent, after.Quarantined[parent])
		}
	})
	if err != nil {
		o.log.Warn("a failure cannot be noted", "parent", parent, "err", err)
		return
	}
	if quarantined { // as a step, so that an Observer sees it
		_ = o.step(ctx, "quarantine", parent, func(context.Context) error { return nil })
		o.log.Warn("a parent is quarantined until it is released", "parent", parent)
	}
}

// failedFor says why a parent is quarantined.
func failedFor(list []Failure) string {
	var names []string
	for _, f := range list {
		names = append(names, f.VM)
	}
	return fmt.Sprintf("it failed for the VMs %s: %s", strings.Join(names, ", "), list[len(list)-1].Reason)
}

// endFailures forgets the failures of the parents on which the VM runs.
func (o *operation) endFailures(ctx context.Context, v *view) {
	for _, d := range v.devices {
		p, there, err := o.m.store.policies.Read(d.GPU)
		if err != nil || !there || len(p.Failures[d.Parent]) == 0 {
			continue // what is damaged is told by Reconcile
		}
		_, err = o.m.updatePolicyOf(ctx, d.GPU, o.op+" "+o.vm, func(before GPUPolicy) GPUPolicy {
			after := before.clone()
			if delete(after.Failures, d.Parent); len(after.Failures) == 0 {
				after.Failures = nil
			}
			return after
		})
		if err != nil {
			o.log.Warn("failures that are over cannot be forgotten", "parent", d.Parent, "err", err)
		}
	}
}

// updatePolicyOf is updatePolicy of one that is stored, whatever the GPU is by now.
func (m *Manager) updatePolicyOf(ctx context.Context, gpu, op string, change func(GPUPolicy) GPUPolicy) (GPUPolicy, error) {
	do := func(before GPUPolicy) (GPUPolicy, error) { return change(before), nil }
	return m.updatePolicy(ctx, &mdev.GPU{Name: gpu}, op, do, func(GPUPolicy) {})
}

// gpuWith is the GPU that has a parent; nil: none.
func (l lookup) gpuWith(parent string) *mdev.GPU {
	for i := range l.inv.GPUs {
		if l.inv.GPUs[i].Name == l.gpu(parent) {
			return &l.inv.GPUs[i]
		}
	}
	return nil
}
