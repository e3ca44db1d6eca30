package libvirtid_test

import (
	"fmt"

	"github.com/vgpukit/vgpukit/internal/libvirtid"
)

func ExampleParse() {
	for _, uri := range []string{"qemu:///system", "qemu+ssh://root@localhost/system", "qemu+ssh://root@gpu1/system", "qemu:///session"} {
		id, err := libvirtid.Parse(uri)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(id.As("bob"), id.Local())
	}
	// Output:
	// qemu:///system true
	// qemu:///system true
	// qemu://gpu1/system false
	// qemu://bob@/session true
}
