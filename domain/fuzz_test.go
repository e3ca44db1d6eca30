package domain

import (
	"errors"
	"testing"
)

// FuzzParse: no input makes Parse panic, and what it takes means to
// encoding/xml what it means to us.
func FuzzParse(f *testing.F) {
	for _, text := range seeds() {
		f.Add([]byte(text))
	}
	for _, text := range malformed {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := Parse(text)
		if err != nil {
			if d != nil || !errors.Is(err, ErrInvalid) {
				t.Fatalf("%v, %v", d, err)
			}
			return
		}
		if d.src != string(text) {
			t.Fatalf("%q became %q", text, d.src)
		}
		agreesWithDecoder(t, d)
		_ = d.Check()
		m, _, _ := d.Metadata()
		for _, v := range m.VGPUs {
			if id, err := ParseID(v.ID); err != nil || id.String() != v.ID {
				t.Fatalf("id %q is not in its one form: %q", v.ID, text)
			}
		}
		for _, h := range d.Hostdevs() {
			if without, err := d.Remove(h.ID()); err != nil || len(without.Hostdevs()) != len(d.Hostdevs())-1 {
				t.Fatalf("%s is listed and not removed (%v): %q", h.ID(), err, text)
			}
		}
		_, _ = d.QEMUArgs(QEMUOptions{})
	})
}

// FuzzAddRemove: whatever the document, what Add put in Remove takes out, from
// the bytes alone, and so with the metadata.
func FuzzAddRemove(f *testing.F) {
	for _, text := range seeds() {
		f.Add([]byte(text), false, uint8(0))
		f.Add([]byte(text), true, uint8(8))
	}
	f.Fuzz(func(t *testing.T, text []byte, vf bool, slot uint8) {
		d, err := Parse(text)
		if err != nil {
			return
		}
		h := first()
		if vf {
			h = Hostdev{VF: firstVF}
		}
		if slot > 0 {
			h.Address = &Address{Slot: slot}
		}
		added, err := d.Add(h)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Hint() == "" {
				t.Fatalf("no hint: %v", err)
			}
		} else {
			reparse(t, added, d, func(d *Document) (*Document, error) { return d.Remove(h.ID()) })
		}
		with, err := d.WithMetadata(someMetadata())
		if err != nil {
			return
		}
		if _, had, _ := d.Metadata(); !had {
			reparse(t, with, d, (*Document).WithoutMetadata)
		}
	})
}

// reparse undoes an edit from its bytes, and compares with what was before.
func reparse(t *testing.T, edited, before *Document, undo func(*Document) (*Document, error)) {
	t.Helper()
	again, err := Parse(edited.Bytes())
	if err != nil {
		t.Fatalf("%v: %q", err, edited.src)
	}
	agreesWithDecoder(t, again)
	undone, err := undo(again)
	if err != nil {
		t.Fatalf("%v: %q", err, edited.src)
	}
	if undone.src != before.src {
		t.Fatalf("%q became %q", before.src, undone.src)
	}
}
