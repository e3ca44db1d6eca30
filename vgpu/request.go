package vgpu

import (
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/mdev"
	"github.com/vgpukit/vgpukit/vgpu/placement"
)

// MaxVGPUs is how many vGPUs one VM can have; NVIDIA's limit. Package domain holds
// documents to the same.
const MaxVGPUs = placement.MaxVGPUs

// AddressByLibvirt as a [Request]'s Address leaves the guest address to libvirt.
const AddressByLibvirt = "none"

// Lifetime says how long a VM's vGPUs exist.
type Lifetime string

const (
	// Reserved vGPUs exist as long as the VM is defined. The kernel forgets them
	// when the host reboots; Start makes them again.
	Reserved Lifetime = "reserved"
	// WhileRunning vGPUs are made at Start and given back at Stop, so that a VM
	// that is off takes no capacity.
	WhileRunning Lifetime = "while-running"
)

// Request is one vGPU that a VM shall have.
type Request struct {
	// Type is the vGPU's type, by id ("nvidia-22") or by name ("GRID M60-8Q").
	Type string `json:"type"`
	// Parent pins the vGPU to a parent or to a physical GPU by its sysfs name.
	// Empty: the policy chooses.
	Parent string `json:"parent,omitempty"`
	// UUID of the mdev. Zero: derived from the VM's UUID and the vGPU's index,
	// so that a retry names the same device. A vendor-VFIO vGPU has none.
	UUID uuid.UUID `json:"uuid,omitzero"`
	// Address is the guest PCI address, such as "0000:00:08.0". Empty: the planner
	// chooses; AddressByLibvirt: libvirt does.
	Address string `json:"address,omitempty"`
	// Display and RAMFB are the hostdev's attributes; empty leaves them out.
	Display domain.Switch `json:"display,omitempty"`
	RAMFB   domain.Switch `json:"ramfb,omitempty"`
	// Alias names the hostdev in the document, for what refers to it there, such as
	// <qemu:override>. It begins with "ua-"; empty: libvirt chooses one.
	Alias string `json:"alias,omitempty"`
	// Params are written to the device in order after it was made, such as
	// {"vgpu_params", "frame_rate_limiter=0"}.
	Params []mdev.Param `json:"params,omitempty"`
}

// ProvisionRequest is a VM with its vGPUs.
type ProvisionRequest struct {
	// Domain is the libvirt domain document, without the vGPUs.
	Domain string `json:"domain"`
	// VGPUs has 1 to 16 entries.
	VGPUs []Request `json:"vgpus"`
	// Lifetime is Reserved unless said otherwise.
	Lifetime Lifetime `json:"lifetime,omitempty"`
	// Placement chooses among the parents; the zero value packs.
	Placement placement.Options `json:"placement,omitzero"`
}

// spec is a request that was found to be sound.
type spec struct {
	doc      *domain.Document
	name     string
	id       uuid.UUID // of the VM; zero until one is found, if the document has none
	requests []Request
	lifetime Lifetime
	options  placement.Options
}

// deviceUUID is the UUID of a VM's vGPU at an index: always the same.
func deviceUUID(vm uuid.UUID, index int) uuid.UUID {
	return uuid.NewSHA1(vm, fmt.Appendf(nil, "vgpu %d", index))
}

// check refuses what can be seen to be wrong without looking at the host.
func (r ProvisionRequest) check() (spec, error) {
	doc, err := domain.Parse([]byte(r.Domain))
	if err != nil {
		return spec{}, err
	}
	s := spec{doc: doc, name: doc.Name(), requests: append([]Request(nil), r.VGPUs...), lifetime: r.Lifetime, options: r.Placement}
	if err := checkNewName(s.name); err != nil {
		return s, err
	}
	switch s.lifetime {
	case "":
		s.lifetime = Reserved
	case Reserved, WhileRunning:
	default:
		return s, invalid(fmt.Sprintf("use %q or %q", Reserved, WhileRunning), "the vGPUs' lifetime is %q", s.lifetime)
	}
	if len(s.requests) == 0 || len(s.requests) > MaxVGPUs {
		return s, invalid(fmt.Sprintf("ask for 1 to %d vGPUs in one VM", MaxVGPUs), "%d vGPUs requested", len(s.requests))
	}
	s.id, _ = doc.UUID()
	if _, ok, err := doc.Metadata(); err != nil {
		return s, err
	} else if ok {
		return s, invalid("provision from the document as it was before, without our metadata",
			"the document already names vGPUs in its metadata (%s)", domain.MetadataURI)
	}
	seen := map[uuid.UUID]int{}
	for i := range s.requests {
		q := &s.requests[i]
		if q.Type == "" || strings.ContainsAny(q.Type, "\n\x00") {
			return s, invalid("name a type, such as nvidia-22; the inventory lists them", "%q, of vGPU %d, is not a type's id or name", q.Type, i)
		}
		if q.Address != "" && q.Address != AddressByLibvirt {
			if _, err := domain.ParseAddress(q.Address); err != nil {
				return s, err
			}
		}
		for _, p := range q.Params {
			if err := p.Check(); err != nil {
				return s, &Error{Object: fmt.Sprintf("vGPU %d", i), Kind: kindOf(err), Err: err}
			}
		}
		if q.UUID == uuid.Nil {
			continue
		}
		if j, twice := seen[q.UUID]; twice {
			return s, invalid("give each vGPU a UUID of its own, or none", "vGPUs %d and %d have the same UUID %s", j, i, q.UUID)
		}
		seen[q.UUID] = i
	}
	return s, nil
}
