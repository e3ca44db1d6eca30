package parity

import (
	"context"
	"errors"

	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
	"github.com/vgpukit/vgpukit/domain/virt"
)

// SaidByLibvirt is libvirt's number and words in an error.
func SaidByLibvirt(err error) (code int, message string) {
	var lv libvirt.Error
	if errors.As(err, &lv) {
		return int(lv.Code), lv.Message
	}
	var e *virt.Error
	if errors.As(err, &e) {
		return e.Code, ""
	}
	return 0, ""
}

// LibvirtHand is what virsh can do besides, by libvirt.
type LibvirtHand struct{ Connect *libvirt.Connect }

func (h LibvirtHand) with(vm string, do func(*libvirt.Domain) error) error {
	d, err := h.Connect.LookupDomainByName(vm)
	if err != nil {
		return err
	}
	return errors.Join(do(d), d.Free())
}

func (h LibvirtHand) Create(_ context.Context, xml string) error {
	d, err := h.Connect.DomainCreateXML(xml, 0)
	if err != nil {
		return err
	}
	return d.Free()
}

func (h LibvirtHand) Rename(_ context.Context, vm, to string) error {
	return h.with(vm, func(d *libvirt.Domain) error { return d.Rename(to, 0) })
}

func (h LibvirtHand) SetAutostart(_ context.Context, vm string, on bool) error {
	return h.with(vm, func(d *libvirt.Domain) error { return d.SetAutostart(on) })
}

func (h LibvirtHand) Autostart(_ context.Context, vm string) (on bool, err error) {
	err = h.with(vm, func(d *libvirt.Domain) error {
		on, err = d.GetAutostart()
		return err
	})
	return on, err
}

func (h LibvirtHand) SetMetadata(_ context.Context, vm, element string, scope domain.Scope) error {
	var flags libvirt.DomainModificationImpact
	if scope&domain.ScopeLive != 0 {
		flags |= libvirt.DOMAIN_AFFECT_LIVE
	}
	if scope&domain.ScopeSaved != 0 {
		flags |= libvirt.DOMAIN_AFFECT_CONFIG
	}
	return h.with(vm, func(d *libvirt.Domain) error {
		return d.SetMetadata(libvirt.DOMAIN_METADATA_ELEMENT, element, "vgpukit", domain.MetadataURI, flags)
	})
}

func (h LibvirtHand) Snapshot(_ context.Context, vm, name string) error {
	return h.with(vm, func(d *libvirt.Domain) error {
		s, err := d.CreateSnapshotXML("<domainsnapshot><name>"+name+"</name></domainsnapshot>", 0)
		if err != nil {
			return err
		}
		return s.Free()
	})
}

func (h LibvirtHand) Revert(_ context.Context, vm, name string) error {
	return h.with(vm, func(d *libvirt.Domain) error {
		s, err := d.SnapshotLookupByName(name, 0)
		if err != nil {
			return err
		}
		return errors.Join(s.RevertToSnapshot(0), s.Free())
	})
}

func (h LibvirtHand) Snapshots(_ context.Context, vm string) (names []string, err error) {
	err = h.with(vm, func(d *libvirt.Domain) error {
		names, err = d.SnapshotListNames(0)
		return err
	})
	return names, err
}
