//go:build cgo

package virt

import (
	"testing"

	"github.com/stretchr/testify/require"
	"libvirt.org/go/libvirt"

	"github.com/vgpukit/vgpukit/domain"
)

// BenchmarkLife measures what contexts, lookups and hand-over between goroutines
// cost over libvirt's bare calls: one life of a VM on the test driver, and one
// question.
func BenchmarkLife(b *testing.B) {
	c := openTest(b)
	bare, err := libvirt.NewConnect(testURI(b))
	require.NoError(b, err)
	defer bare.Close()
	ctx := b.Context()
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	b.Run("life/virt", func(b *testing.B) {
		for b.Loop() {
			_, err := c.Define(ctx, document)
			check(err)
			check(c.Start(ctx, "web1"))
			check(c.Destroy(ctx, "web1"))
			check(c.Undefine(ctx, "web1", domain.UndefineOptions{}))
		}
	})
	b.Run("life/bare", func(b *testing.B) {
		for b.Loop() {
			d, err := bare.DomainDefineXML(document)
			check(err)
			check(d.Create())
			check(d.Destroy())
			check(d.Undefine())
			check(d.Free())
		}
	})
	b.Run("state/virt", func(b *testing.B) {
		for b.Loop() {
			_, err := c.Info(ctx, "one")
			check(err)
		}
	})
	b.Run("state/bare", func(b *testing.B) {
		for b.Loop() {
			d, err := bare.LookupDomainByName("one")
			check(err)
			_, _, err = d.GetState()
			check(err)
			check(d.Free())
		}
	})
	b.Run("domains/virt", func(b *testing.B) {
		for b.Loop() {
			_, err := c.Domains(ctx)
			check(err)
		}
	})
}
