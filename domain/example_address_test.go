package domain_test

import (
	"errors"
	"fmt"

	"github.com/vgpukit/vgpukit/domain"
)

func exampleDocument() *domain.Document {
	doc, err := domain.Parse([]byte(`<domain type='kvm'>
  <name>workstation</name>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
  </os>
  <devices>
    <controller type='pci' index='0' model='pcie-root'/>
    <controller type='pci' index='1' model='pcie-root-port'>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='0x0'/>
    </controller>
    <interface type='network'>
      <mac address='52:54:00:6b:3c:58'/>
      <source network='default'/>
      <address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/>
    </interface>
  </devices>
</domain>
`))
	if err != nil {
		panic(err)
	}
	return doc
}

func ExampleDocument_Used() {
	for _, u := range exampleDocument().Used() {
		fmt.Println(u.Address, u.By, u.Implicit)
	}
	// Output:
	// 0000:00:00.0 q35 host bridge true
	// 0000:00:02.0 controller pci 1 pcie-root-port false
	// 0000:00:1f.0 q35 ISA bridge true
	// 0000:00:1f.2 q35 SATA controller true
	// 0000:00:1f.3 q35 SMBus true
	// 0000:01:00.0 interface 52:54:00:6b:3c:58 false
}

func ExampleDocument_CheckAddress() {
	doc := exampleDocument()
	for _, a := range []domain.Address{{Slot: 8}, {Bus: 1}, {Bus: 2}} {
		err := doc.CheckAddress(a)
		fmt.Println(a, err == nil, errors.Is(err, domain.ErrInUse))
		var e *domain.Error
		if errors.As(err, &e) {
			fmt.Println(" ", e)
		}
	}
	// Output:
	// 0000:00:08.0 true false
	// 0000:01:00.0 false true
	//   use address 0000:01:00.0: in use by interface 52:54:00:6b:3c:58
	// 0000:02:00.0 false false
	//   use address 0000:02:00.0: bus 2 does not exist, the last is 1
}

func ExampleDocument_Free() {
	free, err := exampleDocument().Free(2, domain.AddressRequest{})
	fmt.Println(free, err)
	// Output: [0000:00:03.0 0000:00:04.0] <nil>
}

func ExampleDocument_AddRootPort() {
	doc := exampleDocument()
	request := domain.AddressRequest{Hotplug: true}
	_, err := doc.Free(1, request)
	if errors.Is(err, domain.ErrNotFound) {
		var address domain.Address
		doc, address, err = doc.AddRootPort(request)
		fmt.Println(address, err, doc.CheckAddress(address))
	}
	// Output: 0000:02:00.0 <nil> <nil>
}

func ExampleDocument_AddRootPorts() {
	_, addresses, err := exampleDocument().AddRootPorts(3, domain.AddressRequest{})
	fmt.Println(addresses, err)
	// Output: [0000:02:00.0 0000:03:00.0 0000:04:00.0] <nil>
}

// A document that has fewer free addresses than are asked for shows those that it has.
func ExampleDocument_FreeUpTo() {
	doc := parsed(`<domain type='kvm'><os><type arch='x86_64' machine='q35'>hvm</type></os><devices>
	  <controller type='pci' model='pcie-root'/><controller type='pci' model='pcie-root-port'/>
	</devices></domain>`)
	free, err := doc.FreeUpTo(4, domain.AddressRequest{Hotplug: true})
	fmt.Println(free, err)
	// Output: [0000:01:00.0] <nil>
}
