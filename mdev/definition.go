package mdev

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/internal/fault"
)

const (
	definitionsDir  = "etc/mdevctl.d"
	definitionPerm  = 0o644 // as mdevctl's own
	mdevctlCallouts = "scripts.d"
)

// Start says when a defined device is made.
type Start string

// When a defined device is made.
const (
	StartManual Start = "manual" // when someone asks for it
	StartAuto   Start = "auto"   // by mdevctl's udev rule, once its parent is there
)

// Definition is an mdev that outlives a restart of the host as a file of
// mdevctl's, /etc/mdevctl.d/<parent>/<uuid>. Mdevctl, libvirt's node devices and
// this package see the same definitions.
type Definition struct {
	Parent string    `json:"parent"`
	UUID   uuid.UUID `json:"uuid"`
	Type   string    `json:"type"`  // the type's id
	Start  Start     `json:"start"` // "": manual
	Params []Param   `json:"params"`
	Extra  []Field   `json:"extra,omitempty"` // further fields, in order; their values are JSON
	// Exclusive lets [Host.Define] refuse to overwrite a definition with the same parent
	// and UUID. It is no part of the definition.
	Exclusive bool `json:"-"`
}

// Request is what makes the defined device.
func (d Definition) Request() CreateRequest {
	return CreateRequest{Type: d.Type, Parent: d.Parent, UUID: d.UUID, Params: d.Params}
}

// Definitions returns all definitions, sorted by parent and UUID, whether their
// parents are there or not. A file that cannot be read as one is told in the
// error, beside which the others are returned.
func (h *Host) Definitions(ctx context.Context) ([]Definition, error) {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	type answer struct {
		found    []Definition
		problems error
	}
	got, err := look(ctx, h, "definitions", "", func(s *scan) (answer, error) {
		found, err := s.definitions(ctx)
		if found == nil {
			return answer{}, err
		}
		return answer{found, err}, nil
	})
	if err != nil {
		return nil, err
	}
	return got.found, got.problems
}

// DefinitionsOf returns the definitions of one UUID, of which mdevctl may have one for each
// parent, sorted by parent; none are no error. What it creates by itself has the attributes
// that they set only if the caller passes them on: see [Definition.Request].
func (h *Host) DefinitionsOf(ctx context.Context, id uuid.UUID) ([]Definition, error) {
	all, err := h.Definitions(ctx)
	return slices.DeleteFunc(all, func(d Definition) bool { return d.UUID != id }), err
}

// definitions returns nil when none could be looked for.
func (s *scan) definitions(ctx context.Context) ([]Definition, error) {
	parents, err := s.fs.ReadDir(definitionsDir)
	if absent(err) {
		return []Definition{}, nil
	}
	if err != nil {
		return nil, explain("definitions", "/"+definitionsDir, definitionFile, err)
	}
	definitions := []Definition{}
	var problems []error
	for _, parent := range parents {
		if err := ended(ctx, "definitions", ""); err != nil {
			return nil, err
		}
		if !parent.IsDir() || parent.Name() == mdevctlCallouts {
			continue
		}
		found, err := s.definitionsOf(parent.Name())
		definitions = append(definitions, found...)
		problems = append(problems, err)
	}
	slices.SortFunc(definitions, func(a, b Definition) int {
		return cmp.Or(compareNames(a.Parent, b.Parent), cmp.Compare(a.UUID.String(), b.UUID.String()))
	})
	return definitions, fault.Join(problems...)
}

// Define writes a definition, in place of one with the same parent and UUID,
// whose unknown fields it keeps unless Extra has others. It makes no device.
//
// It fails with [ErrInvalid], and with [ErrExists] when the definition is there and is
// not to be overwritten, or when it is not and the UUID is defined under another parent:
// where mdevctl has one UUID under two parents, each is edited by its own.
// When the parent is there, its type may be given by name;
// one that it does not offer is [ErrNotFound].
func (h *Host) Define(ctx context.Context, def Definition) error {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	store, err := h.storer("define", def.UUID.String())
	if err != nil {
		return err
	}
	if err := def.check(); err != nil {
		return err
	}
	if def.Type, err = h.definedType(ctx, &def); err != nil {
		return err
	}
	name := def.file()
	old, err := h.readFile(ctx, name)
	if there := !absent(err); !there || def.Exclusive {
		if err := h.definedAlready(ctx, def, there); err != nil {
			return err
		}
	}
	if err := ended(ctx, "define", def.UUID.String()); err != nil {
		return err
	}
	var order []string
	if err == nil {
		if known, fields, err := parseDefinition(old); err == nil {
			order = fields
			if def.Extra == nil {
				def.Extra = known.Extra
			}
		}
	}
	text, err := def.encode(order)
	if err != nil {
		return &Error{Op: "define", Object: def.UUID.String(), Meaning: err.Error(), Next: "give each extra field a JSON value", Kind: ErrInvalid}
	}
	if err := h.store(ctx, "define", name, func() error { return store.WriteFile(name, text, definitionPerm) }); err != nil {
		return explain("define", "/"+name, definitionFile, err)
	}
	return nil
}

// definedAlready refuses a definition that is there, or else its UUID under another parent.
func (h *Host) definedAlready(ctx context.Context, def Definition, there bool) error {
	if there {
		return &Error{
			Op: "define", Object: def.UUID.String(), Meaning: "it is already defined under parent " + def.Parent,
			Next: "use another UUID, or overwrite that one", Kind: ErrExists,
		}
	}
	// A file of someone else's that cannot be read is no reason to refuse.
	others, _ := h.DefinitionsOf(ctx, def.UUID)
	for _, other := range others {
		return &Error{
			Op: "define", Object: def.UUID.String(), Meaning: "it is already defined under parent " + other.Parent,
			Next: "use another UUID, or undefine that one", Kind: ErrExists,
		}
	}
	return nil
}

// Undefine removes a definition. The device, if it is there, stays. It fails
// with [ErrNotFound].
func (h *Host) Undefine(ctx context.Context, parent string, id uuid.UUID) error {
	ctx, cancel := bounded(ctx, readTimeout)
	defer cancel()
	store, err := h.storer("undefine", id.String())
	if err != nil {
		return err
	}
	if err := ended(ctx, "undefine", id.String()); err != nil {
		return err
	}
	def := Definition{Parent: parent, UUID: id}
	if !validName(parent) {
		return &Error{Op: "undefine", Object: fmt.Sprintf("%q", parent), Meaning: "this cannot be a parent", Next: "name one as the inventory does: 0000:41:00.4, mtty", Kind: ErrInvalid}
	}
	err = h.store(ctx, "undefine", def.file(), func() error { return store.RemoveFile(def.file()) })
	switch {
	case absent(err):
		return &Error{Op: "undefine", Object: id.String(), Meaning: "parent " + parent + " has no such definition", Next: "look at the definitions", Kind: ErrNotFound}
	case err != nil:
		return explain("undefine", "/"+def.file(), definitionFile, err)
	}
	return nil
}

// store changes a file, and waits for the disk no longer than ctx.
func (h *Host) store(ctx context.Context, op, file string, change func() error) error {
	err, ok := run(ctx, &h.stuck, change, nil)
	if !ok {
		return errPending{fmt.Errorf("%s /%s: %w", op, file, ctx.Err())}
	}
	return err
}

func (h *Host) storer(op, object string) (StoreFS, error) {
	if store, ok := h.fs.(StoreFS); ok {
		return store, nil
	}
	return nil, &Error{Op: op, Object: object, Meaning: "this host's files cannot hold definitions", Next: "implement mdev.StoreFS on its FS", Kind: ErrUnsupported}
}

func (s *scan) definitionsOf(parent string) ([]Definition, error) {
	dir := path.Join(definitionsDir, parent)
	entries, err := s.fs.ReadDir(dir)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, explain("definitions", "/"+dir, definitionFile, err)
	}
	var found []Definition
	var problems []error
	for _, entry := range entries {
		id, err := uuid.Parse(entry.Name())
		if err != nil || len(entry.Name()) != 36 {
			continue
		}
		name := path.Join(dir, entry.Name())
		data, err := s.fs.ReadFile(name)
		if absent(err) {
			continue
		}
		if err != nil {
			problems = append(problems, explain("definitions", "/"+name, definitionFile, err))
			continue
		}
		def, _, err := parseDefinition(data)
		if err != nil {
			problems = append(problems, &Error{
				Op: "definitions", Object: "/" + name, Meaning: "not a definition of mdevctl's: " + err.Error(), Next: "mend or remove the file", Kind: ErrInvalid,
			})
			continue
		}
		def.Parent, def.UUID = parent, id
		found = append(found, def)
	}
	return found, fault.Join(problems...)
}

func (d *Definition) file() string {
	return path.Join(definitionsDir, d.Parent, d.UUID.String())
}

func (d *Definition) check() error {
	invalid := func(object, meaning, next string) error {
		return &Error{Op: "define", Object: object, Meaning: meaning, Next: next, Kind: ErrInvalid}
	}
	switch {
	case d.UUID == noUUID:
		return invalid(d.Type+" on "+d.Parent, "no UUID is given", "make one")
	case !validName(d.Parent) || d.Parent == mdevctlCallouts:
		return invalid(fmt.Sprintf("%q", d.Parent), "this cannot be a parent", "name one as the inventory does: 0000:41:00.4, mtty")
	case !printable(d.Type):
		return invalid(fmt.Sprintf("%q", d.Type), "this cannot be a type", "name one by its id, as the inventory shows it")
	case d.Start != "" && d.Start != StartManual && d.Start != StartAuto:
		return invalid(fmt.Sprintf("%q", d.Start), "unknown start", "write manual or auto")
	}
	for _, param := range d.Params {
		if err := param.check("define"); err != nil {
			return err
		}
	}
	return nil
}

// definedType returns the id of the definition's type, as far as its parent is
// there to ask.
func (h *Host) definedType(ctx context.Context, def *Definition) (string, error) {
	wanted := *def
	return look(ctx, h, "define", def.UUID.String(), func(s *scan) (string, error) { return s.definedType(ctx, &wanted) })
}

func (s *scan) definedType(ctx context.Context, def *Definition) (string, error) {
	at, err := s.namedPlace(ctx, "define", def.Parent)
	switch {
	case errors.Is(err, ErrNotFound):
		return def.Type, nil
	case err != nil:
		return "", err
	case at.framework != FrameworkMdev:
		return "", &Error{
			Op: "define", Object: def.Parent, Meaning: "vGPUs on virtual functions of the vendor-specific VFIO framework have no definitions",
			Cause: "mdevctl knows mediated devices only", Next: "create it again after a restart", Kind: ErrUnsupported,
		}
	}
	p := s.withTypes(at)
	t, ok := p.typeNamed(def.Type)
	if !ok {
		return "", s.noSuchType(ctx, "define", def.Type, def.Parent, []Parent{p})
	}
	return t.ID, nil
}
