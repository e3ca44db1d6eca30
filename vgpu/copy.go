package vgpu

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/fault"
	"github.com/vgpukit/vgpukit/mdev"
)

// metadata is the copy of a grant that a VM's document carries.
func (g grant) metadata() domain.Metadata {
	meta := domain.Metadata{VM: g.VM}
	for _, d := range g.VGPUs {
		v := domain.VGPU{ID: d.ID, Type: d.Type, Parent: d.Parent, Lifetime: string(g.Lifetime)}
		for _, p := range d.Params {
			v.Params = append(v.Params, domain.Param{Name: p.Name, Value: p.Value})
		}
		meta.VGPUs = append(meta.VGPUs, v)
	}
	return meta
}

// fromCopy is what a document's copy says was granted, as far as it can be used.
func fromCopy(meta domain.Metadata) (devices []device, life Lifetime) {
	life = Reserved
	for _, g := range meta.VGPUs {
		d := device{ID: g.ID, Type: g.Type, Parent: g.Parent}
		for _, p := range g.Params {
			d.Params = append(d.Params, mdev.Param{Name: p.Name, Value: p.Value})
		}
		if Lifetime(g.Lifetime) == WhileRunning {
			life = WhileRunning
		}
		devices = append(devices, d)
	}
	return devices, life
}

// Drift is a difference between what a VM was granted and what its document says. The
// grant stands.
type Drift struct {
	Object string `json:"object,omitempty"` // a vGPU's id
	Text   string `json:"text"`
	Next   string `json:"next,omitempty"` // the way out

	copyOnly bool // Repair mends it: the copy is written again
}

// drift lists how the document differs from the grant, and so what somebody changed.
func (v *view) drift() []Drift {
	switch {
	case v.elsewhere != "":
		return nil
	case v.outdated != nil:
		return []Drift{{Text: v.outdated.Err.Error(), Next: Hint(v.outdated)}}
	case v.grant != nil && !v.defined:
		return []Drift{{Text: "libvirt does not have the VM any more", Next: "define it again, tear it down, or forget it"}}
	case v.doc == nil:
		return nil
	}
	if v.grant == nil {
		return v.copies()
	}
	var found []Drift
	repair := func(object, text string) {
		found = append(found, Drift{object, text, "reconcile with repair writes it again", true})
	}
	switch {
	case !v.carries:
		repair("", "its metadata no longer names its vGPUs")
	case v.copy.VM != uuid.Nil && v.copy.VM != v.id:
		repair("", fmt.Sprintf("its metadata was written for the VM %s", v.copy.VM))
	case v.misread != nil:
		repair("", "its metadata cannot be read: "+v.misread.Error())
	case !sameCopy(v.copy, v.grant.metadata()):
		repair("", "its metadata names other vGPUs than were granted")
	}
	for _, d := range v.gone() {
		found = append(found, Drift{
			Object: d.ID, Text: hostdevLost,
			Next: "update puts it back; update with give-up ends the grant of it",
		})
	}
	return found
}

// copyID is the id that the copy gives the vGPU at an index, if the copy is of a grant of
// this VM with as many vGPUs; else empty. A reverted snapshot has the ids of then. Earlier
// versions did not write whose copy it is.
func (v *view) copyID(i int) string {
	if v.copy.VM != v.id && v.copy.VM != uuid.Nil || len(v.copy.VGPUs) != len(v.devices) || v.copy.VGPUs[i].Type != v.devices[i].Type {
		return ""
	}
	return v.copy.VGPUs[i].ID
}

// copies says of a domain without a grant what its metadata claims.
func (v *view) copies() []Drift {
	if !v.carries || v.task != nil {
		return nil
	}
	d := Drift{Text: "its metadata names vGPUs, and nothing was granted to it", Next: "adopt it, with vGPUs of its own (fresh) or with those that it names if they are free"}
	if v.copy.VM != uuid.Nil && v.copy.VM != v.id {
		d.Text = fmt.Sprintf("its metadata was written for the VM %s: it is a clone or a copy of that, and nothing was granted to it", strings.TrimSpace(v.original+" "+v.copy.VM.String()))
	}
	return []Drift{d}
}

func sameCopy(a, b domain.Metadata) bool {
	return slices.EqualFunc(a.VGPUs, b.VGPUs, func(x, y domain.VGPU) bool {
		return x.ID == y.ID && x.Type == y.Type && x.Parent == y.Parent && x.Lifetime == y.Lifetime && slices.Equal(x.Params, y.Params)
	})
}

// carriesCopy is why nothing is done for a domain that was granted nothing.
func (v *view) carriesCopy() error {
	e := &Error{
		Kind: ErrInvalid, Err: errors.New("the domain was granted no vGPUs by this library"),
		Next: "use virsh for domains of others",
	}
	if drift := v.copies(); len(drift) > 0 {
		e.Err, e.Next = errors.New(drift[0].Text), drift[0].Next
	}
	return e
}

// rewritten returns the VM's document with the hostdevs and the copy of a grant in the
// places of those that it had.
func (v *view) rewritten(to grant) (*domain.Document, error) {
	has := hostdevIDs(v.doc)
	from := make([]device, len(to.VGPUs))
	var gone []error
	for i, d := range to.VGPUs {
		from[i] = d
		ids := []string{v.copyID(i)}
		if i < len(v.devices) {
			ids = append([]string{v.devices[i].ID}, ids...)
		}
		if has[d.ID] {
			continue
		}
		n := slices.IndexFunc(ids, func(id string) bool { return has[id] })
		if n < 0 {
			gone = append(gone, hostdevGone(d.ID))
			continue
		}
		from[i].ID = ids[n]
	}
	if len(gone) > 0 {
		return nil, fault.Join(gone...)
	}
	doc, err := swap(v.doc, from, to.VGPUs)
	if err != nil {
		return nil, err
	}
	return doc.WithMetadata(to.metadata())
}

// written tells whether the document has a hostdev for each vGPU of a grant.
func (v *view) written(g grant) bool {
	has := hostdevIDs(v.doc)
	return !slices.ContainsFunc(g.VGPUs, func(d device) bool { return !has[d.ID] })
}

// hostdevIDs are the vGPUs and other devices that a document has hostdevs for.
func hostdevIDs(doc *domain.Document) map[string]bool {
	has := map[string]bool{}
	for _, h := range doc.Hostdevs() {
		has[h.ID()] = true
	}
	return has
}

const hostdevLost = "the VM's document has no hostdev for this vGPU any more"

func hostdevGone(id string) error {
	return &Error{
		Object: id, Kind: ErrState, Err: errors.New(hostdevLost),
		Next: "update puts it back; update with give-up ends the grant of it",
	}
}
