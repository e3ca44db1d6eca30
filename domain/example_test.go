package domain_test

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
)

const document = `<domain type='kvm'>
  <name>workstation</name>
  <uuid>0f2c5a5e-6b1e-4a53-9d0b-6a8f4f5f1b11</uuid>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
  </os>
  <devices>
    <disk type='file'><source file='/a.qcow2'/><target dev='vda'/></disk> <!-- keep -->
    <graphics type='vnc'/>
    <video>
      <model type='none'/>
    </video>
  </devices>
</domain>
`

func ExampleParseID() {
	for _, text := range []string{"C2177883F1BB47F0914D32A22E3A8804", "41:00.4", "mtty"} {
		id, err := domain.ParseID(text)
		if err != nil {
			fmt.Println(err)
			continue
		}
		_, vf := id.VF()
		fmt.Println(id, vf)
	}
	// Output:
	// c2177883-f1bb-47f0-914d-32a22e3a8804 false
	// 0000:41:00.4 true
	// parse device "mtty": neither a UUID nor a PCI address
}

func Example() {
	doc, err := domain.Parse([]byte(document))
	if err != nil {
		fmt.Println(err)
		return
	}
	free, err := doc.Free(1, domain.AddressRequest{})
	if err != nil {
		fmt.Println(err)
		return
	}
	doc, err = doc.Add(domain.Hostdev{
		UUID:    uuid.MustParse("c2177883-f1bb-47f0-914d-32a22e3a8804"),
		Display: domain.SwitchOn, RAMFB: domain.SwitchOn,
		Address: &free[0],
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(string(doc.Bytes()))
	// Output:
	// <domain type='kvm'>
	//   <name>workstation</name>
	//   <uuid>0f2c5a5e-6b1e-4a53-9d0b-6a8f4f5f1b11</uuid>
	//   <os>
	//     <type arch='x86_64' machine='q35'>hvm</type>
	//   </os>
	//   <devices>
	//     <disk type='file'><source file='/a.qcow2'/><target dev='vda'/></disk> <!-- keep -->
	//     <graphics type='vnc'/>
	//     <video>
	//       <model type='none'/>
	//     </video>
	//     <hostdev mode='subsystem' type='mdev' model='vfio-pci' display='on' ramfb='on' managed='no'>
	//       <source>
	//         <address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/>
	//       </source>
	//       <address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='0x0'/>
	//     </hostdev>
	//   </devices>
	// </domain>
}

func ExampleParse() {
	doc, err := domain.Parse([]byte(document))
	fmt.Println(doc.Name(), doc.Type(), doc.Machine(), err)

	_, err = domain.Parse([]byte("<domain>\n  <name>x</nam>\n</domain>"))
	fmt.Println(err)
	// Output:
	// workstation kvm q35 <nil>
	// parse domain document, line 2, column 10: </nam> closes <name> of line 2, column 3
}

func ExampleDocument_UUID() {
	doc, _ := domain.Parse([]byte(document))
	fmt.Println(doc.UUID())
	// Output: 0f2c5a5e-6b1e-4a53-9d0b-6a8f4f5f1b11 true
}

// A virtual function that a vendor's VFIO driver has made into a vGPU, as on
// kernels without mediated devices.
func ExampleDocument_Add() {
	doc, _ := domain.Parse([]byte("<domain type='kvm'>\n  <devices/>\n</domain>\n"))
	doc, err := doc.Add(domain.Hostdev{VF: "0000:41:00.4", Alias: "ua-vgpu0"})
	fmt.Println(doc.Hostdevs()[0].ID(), err)

	_, err = doc.Add(domain.Hostdev{VF: "0000:41:00.4"})
	fmt.Println(err)
	fmt.Println(errors.Is(err, domain.ErrExists))
	var e *domain.Error
	if errors.As(err, &e) {
		fmt.Println(e.Hint())
	}
	// Output:
	// 0000:41:00.4 <nil>
	// add device 0000:41:00.4: Hostdev already exists in the domain configuration
	// true
	// remove the other, or take another device
}

func ExampleDocument_Remove() {
	doc, _ := domain.Parse([]byte(document))
	id := uuid.MustParse("c2177883-f1bb-47f0-914d-32a22e3a8804")
	added, err := doc.Add(domain.Hostdev{UUID: id})
	fmt.Println(len(added.Bytes()) > len(document), err)

	again, err := domain.Parse(added.Bytes())
	if err != nil {
		fmt.Println(err)
		return
	}
	removed, err := again.Remove(id.String())
	fmt.Println(string(removed.Bytes()) == document, err)
	_, err = removed.Remove(id.String())
	fmt.Println(errors.Is(err, domain.ErrNotFound))
	// Output:
	// true <nil>
	// true <nil>
	// true
}

func ExampleDocument_Hostdevs() {
	doc, _ := domain.Parse([]byte(`<domain><devices>
  <hostdev mode='subsystem' type='mdev' model='vfio-pci' display='on'>
    <source><address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source>
    <alias name='ua-vgpu0'/>
    <address type='pci' domain='0x0000' bus='0x00' slot='0x08' function='0x0'/>
  </hostdev>
  <hostdev mode='subsystem' type='pci' managed='no'>
    <source><address domain='0x0000' bus='0x41' slot='0x00' function='0x4'/></source>
  </hostdev>
</devices></domain>`))
	for _, h := range doc.Hostdevs() {
		fmt.Println(h.ID(), h.Model, h.Display, h.Alias, h.Address)
	}
	// Output:
	// c2177883-f1bb-47f0-914d-32a22e3a8804 vfio-pci on ua-vgpu0 0000:00:08.0
	// 0000:41:00.4 vfio-pci   <nil>
}

func ExampleDocument_Check() {
	doc, _ := domain.Parse([]byte(`<domain><devices>
  <hostdev mode='subsystem' type='mdev' model='vfio-pci' display='on'>
    <source><address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source>
    <address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/>
  </hostdev>
</devices></domain>`))
	fmt.Println(doc.Check())
	// Output:
	// check device c2177883-f1bb-47f0-914d-32a22e3a8804: graphics device is needed for attribute value 'display=on' in <hostdev>; use address 0000:05:00.0: bus 5 does not exist, the last is 0
}

func ExampleHostdev_CheckModel() {
	h := domain.Hostdev{UUID: uuid.MustParse("c2177883-f1bb-47f0-914d-32a22e3a8804")}
	fmt.Println(h.CheckModel("vfio-pci"))
	fmt.Println(h.CheckModel("vfio-ccw"))
	// Output:
	// <nil>
	// check device c2177883-f1bb-47f0-914d-32a22e3a8804: invalid device API 'vfio-pci' for device c2177883-f1bb-47f0-914d-32a22e3a8804: device only supports 'vfio-ccw'
}

func ExampleDocument_WithMetadata() {
	doc, _ := domain.Parse([]byte("<domain>\n  <name>workstation</name>\n</domain>\n"))
	with, err := doc.WithMetadata(domain.Metadata{VGPUs: []domain.VGPU{{
		ID: "c2177883-f1bb-47f0-914d-32a22e3a8804", Type: "nvidia-22", Parent: "0000:05:00.0",
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	metadata, ok, err := with.Metadata()
	fmt.Println(metadata.VGPUs[0].Type, ok, err)

	without, err := with.WithoutMetadata()
	fmt.Println(string(without.Bytes()) == string(doc.Bytes()), err)
	// Output:
	// nvidia-22 true <nil>
	// true <nil>
}

func ExampleDocument_QEMUArgs() {
	doc, _ := domain.Parse([]byte(document))
	doc, err := doc.Add(domain.Hostdev{
		UUID:    uuid.MustParse("c2177883-f1bb-47f0-914d-32a22e3a8804"),
		Address: &domain.Address{Slot: 8},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, options := range []domain.QEMUOptions{{}, {Classic: true}} {
		args, err := doc.QEMUArgs(options)
		fmt.Println(args[0], args[1], err)
		fmt.Println(args[2], args[3])
	}
	// Output:
	// -uuid 0f2c5a5e-6b1e-4a53-9d0b-6a8f4f5f1b11 <nil>
	// -device {"driver":"vfio-pci","id":"hostdev0","sysfsdev":"/sys/bus/mdev/devices/c2177883-f1bb-47f0-914d-32a22e3a8804","display":"off","bus":"pcie.0","addr":"0x8"}
	// -uuid 0f2c5a5e-6b1e-4a53-9d0b-6a8f4f5f1b11 <nil>
	// -device vfio-pci,id=hostdev0,sysfsdev=/sys/bus/mdev/devices/c2177883-f1bb-47f0-914d-32a22e3a8804,display=off,bus=pcie.0,addr=0x8
}

func ExampleParseAddress() {
	a, err := domain.ParseAddress("0000:00:1f.2")
	fmt.Println(a, a.Slot, a.Function, err)

	text, err := json.Marshal(map[string]domain.Address{"address": a})
	fmt.Println(string(text), err)

	_, err = domain.ParseAddress("0000:00:20.0")
	fmt.Println(err)
	// Output:
	// 0000:00:1f.2 31 2 <nil>
	// {"address":"0000:00:1f.2"} <nil>
	// parse PCI address "0000:00:20.0": it is not domain:bus:slot.function
}

func ExampleAddress_Compare() {
	a, b := domain.Address{Slot: 8}, domain.Address{Bus: 1}
	fmt.Println(a.Compare(b), b.Compare(a), a.Compare(a))
	// Output: -1 1 0
}

func ExampleState_Active() {
	fmt.Println(domain.StatePaused.Active(), domain.StateShutOff.Active())
	// Output: true false
}
