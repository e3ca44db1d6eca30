// Package domain edits libvirt domain documents without losing a byte.
//
// A [Document] is parsed once and never changes. [Document.Add] puts a vGPU in,
// [Document.Remove] takes it out, and both leave every other byte as it is:
// comments, the elements of other tools, indentation and line ends. What comes
// out is what went in:
//
//	doc, err := domain.Parse(text)
//	free, err := doc.Free(1, domain.AddressRequest{})
//	doc, err = doc.Add(domain.Hostdev{UUID: id, Display: domain.SwitchOn, Address: &free[0]})
//	os.WriteFile(name, doc.Bytes(), 0o644)
//
// The package knows the guest's PCI topology: [Document.Used] tells who has
// which address, [Document.CheckAddress] whether one is possible and if not why,
// [Document.Free] finds some, [Document.AddRootPort] makes one. What libvirt or
// QEMU would refuse is refused before, in their words: [Document.Check].
//
// [Document.WithMetadata] writes which vGPUs are ours into the document itself,
// in a namespace of its own. [Document.QEMUArgs] is for those who start QEMU
// without libvirt.
//
// It is pure Go and talks to nobody. The package domain/virt talks to libvirt,
// and shares this one's plain data: [Info], [State], [Event] and the sentinels.
package domain
