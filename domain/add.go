package domain

import "slices"

// Add returns the document with the vGPU in it. It refuses what libvirt or
// QEMU would refuse: see [Document.Check] for the list, of which Add looks at
// what concerns h. What else is wrong in the document does not matter.
//
// The new element stands behind the last <hostdev>, else where libvirt would
// write it, in the indentation, line ends and quotes of its surroundings. All
// other bytes stay as they are, except that <devices/> is opened. Remove gives
// all of them back, even from the bytes alone:
//
//	Parse(Add(h).Bytes()).Remove(h.ID()) has the bytes of the document
//
// If several were added, removing some of them, in whatever order, gives what
// adding only the others would have given. To tell <devices/> and a document
// without <devices> from others, Add leaves blanks and tabs behind the start tag.
func (d *Document) Add(h Hostdev) (*Document, error) {
	h, err := h.checked("add")
	if err != nil {
		return nil, err
	}
	if err := d.accepts(h); err != nil {
		return nil, err
	}
	text, err := h.element()
	if err != nil {
		return nil, err
	}
	return d.insertDevice("hostdev", text)
}

// Remove returns the document without the device of that UUID or host PCI
// address, and without the white space before it. It takes out what the
// device's element holds, whoever wrote it; if the document
// names it in our metadata, that stays. [ErrNotFound] if there is none.
//
// libvirt numbers the devices that have no alias of their own, so that another may get the
// removed one's number: a <qemu:override> of the other's then follows it, and one of the
// removed device's stays for the number that is free.
func (d *Document) Remove(id string) (*Document, error) {
	n, err := d.find(id)
	if err != nil {
		return nil, err
	}
	kept, err := d.keepOverrides(n)
	if err != nil {
		return nil, err
	}
	if kept != d {
		if n, err = kept.find(id); err != nil {
			return nil, err
		}
	}
	return kept.edited(kept.cut(n))
}

// WithoutVGPUs returns the document without all that is ours: our metadata, and the devices
// that it names, as they were before Add and WithMetadata. So the VM can be given other
// vGPUs, on another host. The same document if it has no metadata of ours; [ErrInvalid] if
// that cannot be read.
func (d *Document) WithoutVGPUs() (*Document, error) {
	m, _, err := d.Metadata()
	if err == nil {
		d, err = d.WithoutMetadata()
	}
	if err != nil {
		return nil, err
	}
	for _, h := range slices.Backward(d.Hostdevs()) { // the last first: the others keep their numbers
		if !slices.ContainsFunc(m.VGPUs, func(v VGPU) bool { return v.ID == h.ID() }) {
			continue
		}
		if d, err = d.Remove(h.ID()); err != nil {
			return nil, err
		}
	}
	return d, nil
}
