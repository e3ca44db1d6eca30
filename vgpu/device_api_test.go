package vgpu

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vgpukit/vgpukit/domain"
)

// s390Document is a VM of s390x, whose devices have channel addresses.
func s390Document(name string) string {
	return strings.Replace(document(name), "arch='x86_64' machine='q35'", "arch='s390x' machine='s390-ccw-virtio-9.2'", 1)
}

// The hostdev's model is the type's device API, and only a device on PCI gets a PCI address;
// so it is once more when the hostdev is put back.
func TestTheModelIsTheDeviceAPI(t *testing.T) {
	r := newRig(t, "ap-matrix", "ccw")
	req := ProvisionRequest{Domain: s390Document("vm"), VGPUs: []Request{{Type: "vfio_ap-passthrough"}, {Type: "vfio_ccw-io"}}}
	plan, err := r.m.Plan(t.Context(), req)
	require.NoError(t, err)
	vm, err := r.m.Provision(t.Context(), req)
	require.NoError(t, err)
	text, err := r.xml("vm")
	require.NoError(t, err)
	for _, document := range []string{plan.Document, text} {
		models := map[string]bool{}
		doc, err := domain.Parse([]byte(document))
		require.NoError(t, err)
		for _, h := range doc.Hostdevs() {
			models[h.Model] = true
			assert.Nil(t, h.Address)
			assert.False(t, h.OnPCI())
		}
		assert.Equal(t, map[string]bool{domain.ModelAP: true, domain.ModelCCW: true}, models)
		require.NoError(t, doc.Check())
	}
	require.Len(t, vm.VGPUs, 2)
	r.removeHostdev("vm", 0)
	_, err = r.m.Update(t.Context(), "vm", UpdateOptions{})
	require.NoError(t, err)
	text, err = r.xml("vm")
	require.NoError(t, err)
	assert.Contains(t, text, "model='vfio-ap'")
	assert.NotContains(t, text, "vfio-pci")
}

// What libvirt or QEMU would refuse of the document with its vGPUs is told before anything is
// made for it, by Plan as by Provision.
func TestTheDocumentIsCheckedBeforeAnythingIsMade(t *testing.T) {
	r := newRig(t, "tesla-m60")
	req := request("vm", "nvidia-18", 1)
	req.Domain = strings.Replace(strings.Replace(req.Domain, "<domain ", "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' ", 1), "</domain>",
		"<qemu:commandline><qemu:arg value='-set'/><qemu:arg value='device.hostdev0.x-pci-vendor-id=0x10de'/></qemu:commandline></domain>", 1)
	before := r.world()
	_, planned := r.m.Plan(t.Context(), req)
	_, err := r.m.Provision(t.Context(), req)
	for _, err := range []error{planned, err} {
		require.ErrorIs(t, err, ErrInvalid)
		require.ErrorContains(t, err, `there is no device "hostdev0" defined for -set`)
	}
	assert.Equal(t, before, r.world())
}
