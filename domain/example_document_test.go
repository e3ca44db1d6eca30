package domain_test

import (
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/vgpukit/vgpukit/domain"
)

func parsed(text string) *domain.Document {
	doc, err := domain.Parse([]byte(text))
	if err != nil {
		panic(err)
	}
	return doc
}

// Each byte that no edit was asked for is kept, blanks and comments too.
func ExampleDocument_Bytes() {
	text := "<domain>\n\t<!-- ours -->\n\t<name >workstation</name>\n</domain >\n"
	fmt.Println(string(parsed(text).Bytes()) == text)
	// Output: true
}

func ExampleDocument_Name() {
	fmt.Println(parsed("<domain><name>workstation</name></domain>").Name())
	fmt.Println(parsed("<domain/>").Name() == "")
	// Output:
	// workstation
	// true
}

func ExampleDocument_Type() {
	fmt.Println(parsed("<domain type='kvm'/>").Type())
	// Output: kvm
}

// The machine is as it was written: libvirt makes a versioned one of an alias when
// it defines the domain.
func ExampleDocument_Machine() {
	fmt.Println(parsed("<domain><os><type machine='q35'>hvm</type></os></domain>").Machine())
	fmt.Println(parsed("<domain><os><type machine='pc-q35-9.2'>hvm</type></os></domain>").Machine())
	// Output:
	// q35
	// pc-q35-9.2
}

const withMetadata = `<domain>
  <name>workstation</name>
  <metadata>
    <vgpukit:vgpus xmlns:vgpukit="https://github.com/vgpukit/vgpukit/domain/1">
      <vgpukit:vgpu id="c2177883-f1bb-47f0-914d-32a22e3a8804" type="nvidia-22" parent="0000:05:00.0" lifetime="reserved">
        <vgpukit:param name="vgpu_params" value="frame_rate_limiter=0"/>
      </vgpukit:vgpu>
    </vgpukit:vgpus>
    <team xmlns="https://example.com/">rendering</team>
  </metadata>
</domain>
`

func ExampleDocument_Metadata() {
	metadata, ok, err := parsed(withMetadata).Metadata()
	fmt.Println(ok, err)
	for _, v := range metadata.VGPUs {
		fmt.Println(v.ID, v.Type, v.Parent, v.Lifetime, v.Params)
	}

	_, ok, err = parsed("<domain/>").Metadata()
	fmt.Println(ok, err)

	// What is ours and cannot be understood is an error, lest a vGPU be forgotten.
	_, _, err = parsed(`<domain><metadata><vgpus xmlns="https://github.com/vgpukit/vgpukit/domain/1"><vgpu/></vgpus></metadata></domain>`).Metadata()
	fmt.Println(errors.Is(err, domain.ErrInvalid))
	// Output:
	// true <nil>
	// c2177883-f1bb-47f0-914d-32a22e3a8804 nvidia-22 0000:05:00.0 reserved [{vgpu_params frame_rate_limiter=0}]
	// false <nil>
	// true
}

func ExampleDocument_WithoutMetadata() {
	doc, err := parsed(withMetadata).WithoutMetadata()
	fmt.Print(string(doc.Bytes()))
	fmt.Println(err)
	// Output:
	// <domain>
	//   <name>workstation</name>
	//   <metadata>
	//     <team xmlns="https://example.com/">rendering</team>
	//   </metadata>
	// </domain>
	// <nil>
}

func ExampleHostdev_ID() {
	fmt.Println(domain.Hostdev{UUID: uuid.MustParse("C2177883-F1BB-47F0-914D-32A22E3A8804")}.ID())
	fmt.Println(domain.Hostdev{VF: "0000:41:00.4"}.ID())
	// Output:
	// c2177883-f1bb-47f0-914d-32a22e3a8804
	// 0000:41:00.4
}

// A VM that is to move off its host is given vGPUs of the other one: what is this host's goes
// out of its document, and what its owner wrote stays.
func ExampleDocument_WithoutVGPUs() {
	before, err := domain.Parse([]byte("<domain type='kvm'><name>desk</name></domain>"))
	if err != nil {
		panic(err)
	}
	id := uuid.MustParse("c2177883-f1bb-47f0-914d-32a22e3a8804")
	doc, err := before.Add(domain.Hostdev{UUID: id})
	if err == nil {
		doc, err = doc.WithMetadata(domain.Metadata{VGPUs: []domain.VGPU{{ID: id.String(), Type: "nvidia-22"}}})
	}
	if err == nil {
		doc, err = doc.WithoutVGPUs()
	}
	fmt.Println(doc, err)
	// Output: <domain type='kvm'><name>desk</name></domain> <nil>
}

// A channel device of s390x is on no PCI bus: there is no address to plan for it.
func ExampleHostdev_OnPCI() {
	for _, model := range []string{domain.ModelPCI, domain.ModelCCW, domain.ModelAP} {
		fmt.Println(model, domain.Hostdev{Model: model}.OnPCI())
	}
	// Output:
	// vfio-pci true
	// vfio-ccw false
	// vfio-ap false
}
