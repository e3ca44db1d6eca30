package vgputest

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/internal/devicexml"
)

// Define saves a domain document. A VM of that name and UUID gets it as its new
// definition, a running one at its next start; [domain.ErrExists] if only one of the two
// is taken. A document without a UUID is that of a new VM.
func (h *Hypervisor) Define(ctx context.Context, xml string) (domain.Info, error) {
	return call(ctx, h, Call{Method: "Define", VM: nameOf(xml), XML: xml}, func() (domain.Info, error) {
		return h.define(xml)
	})
}

func (w *world) define(xml string) (domain.Info, error) {
	m, doc, err := w.register(xml)
	if err != nil {
		return domain.Info{}, err
	}
	detail := "updated"
	if !m.known {
		detail = "added"
	}
	m.saved, m.known = doc, true
	w.publish(m, domain.EventDefined, detail)
	return m.info(), nil
}

// Create starts a VM that has no definition: it is gone when it stops. One that is
// defined under the same name and UUID runs with this document, this once.
func (h *Hypervisor) Create(ctx context.Context, xml string) (domain.Info, error) {
	return call(ctx, h, Call{Method: "Create", VM: nameOf(xml), XML: xml}, func() (domain.Info, error) {
		m, doc, err := h.register(xml)
		if err != nil {
			return domain.Info{}, err
		}
		if m.active() {
			return domain.Info{}, wrongState("domain '%s' is already active", m.name)
		}
		if err := h.bootVM(m, doc); err != nil {
			h.forget(m)
			return domain.Info{}, err
		}
		return m.info(), nil
	})
}

// register finds the VM that a document is of, or makes it, and gives the document its
// UUID. What the document says of a VM that ran is taken out.
func (w *world) register(xml string) (*machine, string, error) {
	doc, err := parse(xml)
	if err != nil {
		return nil, "", err
	}
	id, ok := doc.UUID()
	if !ok {
		id = uuid.New()
	}
	m, named := w.machines[id], w.names[doc.Name()]
	switch {
	case m != nil && m.name != doc.Name():
		return nil, "", refuse(codeOperationFailed, domain.ErrExists, "operation failed: domain '%s' is already defined with uuid %s", m.name, id)
	case m == nil && named != nil:
		return nil, "", refuse(codeOperationFailed, domain.ErrExists, "operation failed: domain '%s' already exists with uuid %s", named.name, named.uuid)
	case m == nil:
		m = &machine{name: doc.Name(), uuid: id, state: domain.StateShutOff}
		w.remember(m)
	}
	return m, inactive(withUUID(xml, id)), nil
}

func (w *world) remember(m *machine) { w.machines[m.uuid], w.names[m.name] = m, m }

// nameOf is the name in a document that may be none.
func nameOf(xml string) string {
	doc, err := domain.Parse([]byte(xml))
	if err != nil {
		return ""
	}
	return doc.Name()
}

// Undefine takes the definition away: a VM that runs goes on until it stops. It is
// refused ([domain.ErrState]) if the VM has what the options name and they do not say
// what is to become of it.
func (h *Hypervisor) Undefine(ctx context.Context, vm string, opts domain.UndefineOptions) error {
	return on(ctx, h, "Undefine", vm, func(m *machine) error {
		switch {
		case m.saved == "":
			return wrongState("cannot undefine transient domain")
		case !m.active() && len(m.snapshots) > 0 && !opts.SnapshotsMetadata:
			return wrongState("cannot delete inactive domain with %d snapshots", len(m.snapshots))
		case m.image != nil && !opts.ManagedSave:
			return wrongState("Refusing to undefine while domain managed save image exists")
		case h.hasFile(m.nvram()) && !opts.NVRAM && !opts.KeepNVRAM:
			return wrongState("cannot undefine domain with nvram")
		}
		if opts.NVRAM {
			delete(h.files, m.nvram())
		}
		m.saved, m.image, m.autostart = "", nil, false
		h.publish(m, domain.EventUndefined, "removed")
		h.forget(m)
		return nil
	})
}

// forget drops a VM of which nothing is left.
func (w *world) forget(m *machine) {
	if !m.active() && m.saved == "" {
		delete(w.machines, m.uuid)
		delete(w.names, m.name)
	}
}

// Rename gives a VM that is off another name, as virsh domrename.
func (h *Hypervisor) Rename(ctx context.Context, vm, to string) error {
	return on(ctx, h, "Rename", vm, func(m *machine) error {
		switch {
		case m.active():
			return wrongState("cannot rename active domain")
		case m.image != nil:
			return wrongState("domain with a managed saved state can't be renamed")
		case to == "":
			return refuse(codeInvalidArgument, domain.ErrInvalid, "string new_name in virDomainRename must not be empty")
		case strings.Contains(to, "/"):
			return xmlError("name %s cannot contain '/'", to)
		case m.name == to:
			return wrongState("Can't rename domain to itself")
		case h.names[to] != nil:
			return wrongState("domain with name '%s' already exists", to)
		}
		saved := withName(m.saved, to)
		if doc, err := domain.Parse([]byte(saved)); err != nil || doc.Name() != to {
			return xmlError("a document cannot have the name %q", to)
		}
		h.publish(m, domain.EventUndefined, "renamed")
		variables := m.nvram()
		delete(h.names, m.name)
		m.name, m.saved = to, saved
		h.names[to] = m
		if h.hasFile(variables) {
			delete(h.files, variables)
			h.files[m.nvram()] = image{}
		}
		h.publish(m, domain.EventDefined, "renamed")
		return nil
	})
}

// Clone defines a copy of a VM as people make it: its document under another name and a
// UUID of its own, all else as it is.
func (h *Hypervisor) Clone(ctx context.Context, vm, to string) (domain.Info, error) {
	return ask(ctx, h, "Clone", vm, func(m *machine) (domain.Info, error) {
		return h.define(withName(withUUID(inactive(m.next()), uuid.New()), to))
	})
}

// SetAutostart says whether the VM starts with the host.
func (h *Hypervisor) SetAutostart(ctx context.Context, vm string, autostart bool) error {
	return on(ctx, h, "SetAutostart", vm, func(m *machine) error {
		if m.saved == "" {
			return wrongState("cannot set autostart for transient domain")
		}
		m.autostart = autostart
		return nil
	})
}

// Autostart tells whether the VM starts with the host.
func (h *Hypervisor) Autostart(ctx context.Context, vm string) (bool, error) {
	return ask(ctx, h, "Autostart", vm, func(m *machine) (bool, error) { return m.autostart, nil })
}

// SetMetadata puts an element in the place of what a document says about our vGPUs, see
// [domain.MetadataURI], as virsh metadata does; "" takes that out. The element may say
// anything, if it is one. Scope says in which of the VM's documents.
func (h *Hypervisor) SetMetadata(ctx context.Context, vm, element string, scope domain.Scope) error {
	return on(ctx, h, "SetMetadata", vm, func(m *machine) error {
		if err := checkMetadata(element); err != nil {
			return err
		}
		if err := m.has(scope); err != nil {
			return err
		}
		if scope&domain.ScopeLive != 0 {
			m.live = withMetadata(m.live, element)
		}
		if scope&domain.ScopeSaved != 0 {
			m.saved = withMetadata(m.saved, element)
		}
		return nil
	})
}

// checkMetadata refuses what is not one element.
func checkMetadata(element string) error {
	if element == "" {
		return nil
	}
	found, err := devicexml.Find(element, 0)
	if err == nil {
		_, err = domain.Parse([]byte("<domain>" + element + "</domain>"))
	}
	if err == nil && len(found) == 1 && strings.TrimSpace(element) == found[0].Element {
		return nil
	}
	return refuse(codeXMLDetail, domain.ErrInvalid, "(metadata_xml): the metadata is not one element: %v", err)
}

// withMetadata puts the element in the place of ours.
func withMetadata(doc, element string) string {
	for ours := elementOf(doc, domain.MetadataURI); ours != ""; ours = elementOf(doc, domain.MetadataURI) {
		doc = strings.Replace(doc, ours, "", 1)
	}
	switch {
	case element == "":
		return doc
	case hasElement(doc, "domain/metadata"):
		return within(doc, "domain/metadata", element)
	}
	s, _ := locate(doc, "domain/uuid")
	return put(doc, s.end, s.end, "\n  <metadata>"+element+"</metadata>")
}

// has tells whether the VM has the documents of a scope.
func (m *machine) has(scope domain.Scope) error {
	switch {
	case scope&domain.ScopeLive != 0 && !m.active():
		return wrongState("domain is not running")
	case scope&domain.ScopeSaved != 0 && m.saved == "":
		return wrongState("transient domains do not have any persistent config")
	}
	return nil
}
