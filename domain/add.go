package domain

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
// device's element holds and nothing else, whoever wrote it; if the document
// names it in our metadata, that stays. [ErrNotFound] if there is none.
func (d *Document) Remove(id string) (*Document, error) {
	n, err := d.find(id)
	if err != nil {
		return nil, err
	}
	return d.edited(d.cut(n))
}
