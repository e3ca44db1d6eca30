//go:build cgo

package virt

import (
	"context"

	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
)

// XML returns the document that the VM has when it starts next: its saved
// definition, or the live one of a VM that has none. Secrets are left out.
func (c *Conn) XML(ctx context.Context, vm string) (string, error) {
	return onDomain(ctx, c, "read the document of", vm, reads, func(_ *link, d *libvirt.Domain) (string, error) {
		saved := runOf(d) == 0
		if !saved {
			var err error
			if saved, err = d.IsPersistent(); err != nil {
				return "", err
			}
		}
		return nextXML(d, saved, 0)
	})
}

// Definition is [Conn.Info] and [Conn.XML] with the secrets, such as a VNC
// password: what to edit when it is to be defined again. Keep it out of logs.
// [domain.ErrNotFound]: there is no such VM.
func (c *Conn) Definition(ctx context.Context, vm string) (domain.Definition, error) {
	return onDomain(ctx, c, "read the document of", vm, reads, func(_ *link, d *libvirt.Domain) (def domain.Definition, err error) {
		if def.Info, err = inspect(d); err == nil {
			def.XML, err = nextXML(d, def.Persistent, libvirt.DOMAIN_XML_SECURE)
		}
		return def, err
	})
}

// LiveXML returns the document of the VM as it runs, with the aliases and
// addresses that libvirt chose; of a stopped VM, the saved definition.
func (c *Conn) LiveXML(ctx context.Context, vm string) (string, error) {
	return onDomain(ctx, c, "read the document of", vm, reads, func(_ *link, d *libvirt.Domain) (string, error) {
		return d.GetXMLDesc(0)
	})
}

// MigratableXML returns the live document in the form that another host takes:
// to be adapted there, and given to a restore or a migration. It holds the
// secrets, because the other host needs them.
func (c *Conn) MigratableXML(ctx context.Context, vm string) (string, error) {
	return onDomain(ctx, c, "read the document of", vm, reads, func(_ *link, d *libvirt.Domain) (string, error) {
		return d.GetXMLDesc(libvirt.DOMAIN_XML_MIGRATABLE | libvirt.DOMAIN_XML_SECURE)
	})
}

// nextXML returns the saved definition, or the live document where that is all.
func nextXML(d *libvirt.Domain, saved bool, flags libvirt.DomainXMLFlags) (string, error) {
	if saved {
		flags |= libvirt.DOMAIN_XML_INACTIVE
	}
	return d.GetXMLDesc(flags)
}
