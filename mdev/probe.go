package mdev

import (
	"context"
	"errors"
	"strconv"
)

// Probe is what a VMM would learn about a device from VFIO: Linux
// include/uapi/linux/vfio.h.
type Probe struct {
	Device     string      `json:"device"` // its id
	Kind       string      `json:"kind"`   // "pci", "ccw", "ap", "platform", or "" for another
	Reset      bool        `json:"reset"`  // it can be reset
	Regions    []Region    `json:"regions"`
	Interrupts []Interrupt `json:"interrupts"`
	Display    Display     `json:"display"`
	Migration  Migration   `json:"migration"`
}

// Region is one part of a device's address space. Those of size 0 are left out.
type Region struct {
	Index int    `json:"index"`
	Name  string `json:"name"` // of a PCI device: "bar0" to "bar5", "rom", "config", "vga"; else "region9"
	Size  uint64 `json:"size"` // bytes
	Read  bool   `json:"read"`
	Write bool   `json:"write"`
	Map   bool   `json:"map"` // it can be mapped, as a whole or in the areas
	// Areas are the parts that can be mapped, where not all can.
	Areas []Area `json:"areas"`
}

// Area is a part of a region, in bytes.
type Area struct {
	Offset uint64 `json:"offset"`
	Size   uint64 `json:"size"`
}

// Interrupt is one kind of interrupt of a device. Those of count 0 are left
// out.
type Interrupt struct {
	Index    int    `json:"index"`
	Name     string `json:"name"` // of a PCI device: "intx", "msi", "msix", "err", "req"; else "irq5"
	Count    int    `json:"count"`
	Eventfd  bool   `json:"eventfd"`
	Maskable bool   `json:"maskable"`
}

// Display tells how a device shows its picture to the host. Without either, a
// hostdev with display='on' does not start.
type Display struct {
	Region bool `json:"region"` // in one of its regions
	DMABuf bool `json:"dma_buf"`
}

// Migration is what a device offers for migrating, saving or snapshotting its
// VM. A VM whose devices lack StopCopy can never be migrated; several VFIO
// devices in one VM need P2P.
type Migration struct {
	StopCopy bool `json:"stop_copy"`
	P2P      bool `json:"p2p"`
	PreCopy  bool `json:"pre_copy"`
	// DirtyTracking: the device logs which memory it wrote. Without it, and
	// without an IOMMU that does, QEMU must be told to do without.
	DirtyTracking bool `json:"dirty_tracking"`
}

// Supported tells whether the device can be migrated at all.
func (m Migration) Supported() bool { return m.StopCopy }

// Probe opens a free device through VFIO, as a VMM would, and asks what it can
// do. No other program can open the device meanwhile, which is some milliseconds.
//
// A device in use is refused with [ErrInUse]. The other errors are
// [ErrNotFound], [ErrPermission], [ErrUnsupported] (an FS that is no [ProbeFS]; a
// device without a VFIO group, or in one that is not viable) and [ErrRefused], as
// when NVIDIA's vGPU manager demands a VM.
func (h *Host) Probe(ctx context.Context, id string) (Probe, error) {
	ctx, cancel := bounded(ctx, createTimeout)
	defer cancel()
	dev, err := h.device(ctx, "probe", id, false)
	if err != nil {
		return Probe{}, err
	}
	prober, ok := h.fs.(ProbeFS)
	if !ok {
		return Probe{}, &Error{Op: "probe", Object: dev.ID, Meaning: "this host's files cannot open devices", Next: "implement mdev.ProbeFS on its FS", Kind: ErrUnsupported}
	}
	if dev.State == StateGhost {
		who, known := h.holdingOf(ctx, &dev)
		e := ghostError(&dev, who, known)
		e.Op = "probe"
		return Probe{}, e
	}
	if dev.IOMMUGroup == "" {
		return Probe{}, &Error{
			Op: "probe", Object: dev.ID, Meaning: "the device has no VFIO group", Cause: "it is half-made, or the kernel was built without VFIO groups",
			Next: "look at the device's problems in the inventory", Kind: ErrUnsupported,
		}
	}
	type answer struct {
		probe Probe
		err   error
	}
	done := make(chan answer, 1)
	go func() { // a driver may make the opening wait
		probe, err := prober.Probe(dev.IOMMUGroup, dev.ID)
		done <- answer{probe, err}
	}()
	select {
	case a := <-done:
		if a.err != nil {
			return Probe{}, h.probeFailed(ctx, &dev, a.err)
		}
		return a.probe, nil
	case <-ctx.Done():
		return Probe{}, &Error{Op: "probe", Object: dev.ID, Meaning: "the driver had not answered", Next: "see the kernel log (dmesg)", Err: ctx.Err()}
	}
}

func (h *Host) probeFailed(ctx context.Context, dev *Device, err error) error {
	e := explain("probe", dev.ID, groupNode, err)
	switch {
	case errors.Is(err, errNotViable):
		e.Kind, e.Meaning = ErrUnsupported, "its VFIO group is not viable"
		e.Cause = "the group has another device, which is bound to a driver that is not VFIO's"
		e.Next = "unbind that one from its driver; ls /sys/kernel/iommu_groups/" + dev.IOMMUGroup + "/devices names it"
	case e.Kind == ErrInUse:
		who, known := h.holdingOf(ctx, dev)
		used := inUse(dev, who, known, e.Errno)
		used.Op = "probe"
		return used
	case e.Kind == ErrRefused:
		e.Meaning, e.Cause = "the driver refused to open the device", "NVIDIA's vGPU manager opens a device only for a VM"
	}
	return e
}

var (
	pciRegions    = []string{"bar0", "bar1", "bar2", "bar3", "bar4", "bar5", "rom", "config", "vga"}
	pciInterrupts = []string{"intx", "msi", "msix", "err", "req"}
)

// nameOf names a PCI device's region or interrupt.
func nameOf(names []string, kind string, index int, other string) string {
	if kind == "pci" && index < len(names) {
		return names[index]
	}
	return other + strconv.Itoa(index)
}
