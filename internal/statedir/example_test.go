package statedir_test

import (
	"errors"
	"fmt"
	"os"

	"github.com/vgpukit/vgpukit/internal/statedir"
)

// owner is who has a device.
type owner struct{ Device, VM string }

func ExampleMarks() {
	path, err := os.MkdirTemp("", "state-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(path)
	dir, err := statedir.Open(path, "owners")
	if err != nil {
		fmt.Println(err)
		return
	}
	owners := statedir.MarksIn(dir, "owners", func(o owner) string { return o.Device })
	for _, vm := range []string{"web1", "web2"} {
		err := owners.Take(owner{"0000:05:00.4", vm})
		var taken *statedir.Taken[owner]
		switch {
		case err == nil:
			fmt.Println(vm, "has it")
		case errors.As(err, &taken) && taken.Err == nil:
			fmt.Println(vm, "does not:", taken.By.VM, "has it")
		default:
			fmt.Println(err)
		}
	}
	fmt.Println(dir.Syncs(), "syncs")
	// Output:
	// web1 has it
	// web2 does not: web1 has it
	// 0 syncs
}
