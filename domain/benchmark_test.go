package domain

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"libvirt.org/go/libvirtxml"
)

// sized makes a domain document of about that many bytes, of disks in the way
// that libvirt writes them.
func sized(size int) []byte {
	var b strings.Builder
	b.WriteString("<domain type='kvm'>\n  <name>sized</name>\n  <memory unit='KiB'>1048576</memory>\n  <vcpu placement='static'>2</vcpu>\n" +
		"  <os>\n    <type arch='x86_64' machine='pc-q35-9.2'>hvm</type>\n  </os>\n  <devices>\n")
	for i := 0; b.Len() < size-100; i++ {
		fmt.Fprintf(&b, "    <disk type='file' device='disk'>\n      <driver name='qemu' type='qcow2' cache='none'/>\n"+
			"      <source file='/var/lib/libvirt/images/sized-%d.qcow2'/>\n      <target dev='sd%d' bus='scsi'/>\n"+
			"      <address type='drive' controller='0' bus='0' target='%d' unit='0'/>\n    </disk>\n", i, i, i)
	}
	return []byte(b.String() + "    <memballoon model='none'/>\n  </devices>\n</domain>\n")
}

var sizes = []int{5_000, 100_000, 1_000_000}

// BenchmarkAdd compares adding a vGPU at a chosen address, from bytes to bytes,
// with unmarshalling and marshalling the whole document.
func BenchmarkAdd(b *testing.B) {
	h := first()
	h.Address = &Address{Slot: 8}
	for _, size := range sizes {
		text := sized(size)
		b.Run(fmt.Sprintf("splice/%dkB", size/1000), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				d, err := Parse(text)
				require.NoError(b, err)
				d, err = d.Add(h)
				require.NoError(b, err)
				_ = d.Bytes()
			}
		})
		b.Run(fmt.Sprintf("libvirtxml/%dkB", size/1000), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				var d libvirtxml.Domain
				require.NoError(b, d.Unmarshal(string(text)))
				d.Devices.Hostdevs = append(d.Devices.Hostdevs, libvirtxml.DomainHostdev{
					Managed: "no",
					SubsysMDev: &libvirtxml.DomainHostdevSubsysMDev{
						Model:  ModelPCI,
						Source: &libvirtxml.DomainHostdevSubsysMDevSource{Address: &libvirtxml.DomainAddressMDev{UUID: firstID}},
					},
					Address: &libvirtxml.DomainAddress{PCI: h.Address.element()},
				})
				_, err := d.Marshal()
				require.NoError(b, err)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, size := range sizes {
		text := sized(size)
		b.Run(fmt.Sprintf("%dkB", size/1000), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				_, err := Parse(text)
				require.NoError(b, err)
			}
		})
	}
}

// Adding is faster than unmarshalling and marshalling by far, and its memory
// grows no faster than the document.
func TestAddAllocatesLittle(t *testing.T) {
	allocations := func(size int) float64 {
		text := sized(size)
		return testing.AllocsPerRun(3, func() {
			d, err := Parse(text)
			require.NoError(t, err)
			_, err = d.Add(first())
			require.NoError(t, err)
		})
	}
	small, large := allocations(5_000), allocations(1_000_000)
	require.Less(t, large, 200*small, "200 times the document")
	require.Less(t, small, 500.0)
}
